"""Another process compiles the loops, and this one finds them on disk."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cal_ratio_trainer.network.kernels.cpu import recurrence
from cal_ratio_trainer.network.kernels.cpu.recurrence import compiling_beside
from cal_ratio_trainer.workers.executor import Done

SIGNATURES = """
import torch
from cal_ratio_trainer.network.engine import Engine
from cal_ratio_trainer.network.kernels.cpu import recurrence as loops
from cal_ratio_trainer.network.recurrence import hidden_states
from cal_ratio_trainer.network.sequences import Sequences
loops.compile_kernels()
weights = torch.rand(3, 12, requires_grad=True)
for every_slot in (False, True):
    sequences = Sequences(torch.rand(12, 8, requires_grad=True), (4, 2, 1), 5, 6)
    hidden_states(sequences, weights, every_slot=every_slot, engine=Engine.NUMBA).sum().backward()
print(len(loops.recurrence_forward.signatures), len(loops.recurrence_backward.signatures))
"""


def test_kernels_are_compiled_for_what_the_network_gives_them() -> None:
    done = subprocess.run([sys.executable, "-c", SIGNATURES], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "1"]


@pytest.mark.parametrize(("cores", "kept"), [(1, False), (2, True)])
def test_no_process_is_started_where_it_would_not_help(cores: int, kept: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recurrence, "available_cores", lambda: cores)
    monkeypatch.setattr(recurrence, "_is_cached", lambda: kept)
    with compiling_beside() as child:
        assert child is None


def test_the_process_compiles_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recurrence, "available_cores", lambda: 2)
    monkeypatch.setattr(recurrence, "_is_cached", lambda: False)
    with compiling_beside() as child:
        assert child is not None
        assert child.receive(120) == Done((0, 0))
    with compiling_beside() as child:
        assert child is not None
    assert child._process.poll() is not None


def test_what_is_kept_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stats = type("Stats", (), {"cache_path": str(tmp_path)})
    monkeypatch.setattr(recurrence, "recurrence_backward", type("Kernel", (), {"stats": stats}))
    assert not recurrence._is_cached()
    (tmp_path / "dense.chain_forward-1.py311.nbi").touch()
    assert not recurrence._is_cached()
    kept = tmp_path / "recurrence.recurrence_forward-1.py311.nbi"
    kept.touch()
    assert recurrence._is_cached()
    os.utime(kept, (0, 0))
    assert not recurrence._is_cached()
    stats.cache_path = None  # type: ignore[attr-defined]
    assert recurrence._is_cached()
