"""Runs Triton's kernels in its interpreter if there is no GPU; must be imported before any of them."""

import os
from typing import Any

import pytest
import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"

pytest.importorskip("triton", reason="Triton is not installed")

from triton import language
from triton.runtime import interpreter

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")

_patch_language = getattr(interpreter, "_patch_lang", None)


def _patch_once(function: Any) -> Any:
    """Replaces the functions of `triton.language`, unless the kernel that calls this function has done so.

    The interpreter does it again for each function that a kernel calls, which takes a third of its time.
    """
    assert _patch_language is not None
    modules = [each for each in function.__globals__.values() if each is language or each is language.core]
    if any(language.core.is_builtin(module.load) for module in modules):
        return _patch_language(function)
    return interpreter._LangPatchScope()


if _patch_language is not None and hasattr(interpreter, "_LangPatchScope"):
    interpreter._patch_lang = _patch_once
