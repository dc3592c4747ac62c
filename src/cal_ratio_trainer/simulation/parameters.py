"""The numbers of the simulation, from the packaged `parameters.yaml`: the one place where each of them stands."""

from functools import cache
from importlib import resources
from typing import Any

import yaml


@cache
def parameters(section: str) -> dict[str, Any]:
    """One section of the parameters, e.g. 'clusters'; treat it as read-only.

    Raises:
        KeyError: there is no such section.
    """
    content: dict[str, Any] = _all()[section]
    return content


@cache
def _all() -> dict[str, Any]:
    text = resources.files("cal_ratio_trainer.simulation").joinpath("parameters.yaml").read_text("utf-8")
    content: dict[str, Any] = yaml.safe_load(text)
    return content
