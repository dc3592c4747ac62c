"""Trains the ATLAS CalRatio jet network, from DiVertAnalysis ntuples to files that run in the experiment's software.

Every command of `cr_trainer` is a function here, e.g. `train(epochs=20)`; they are loaded when they are first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from cal_ratio_trainer import errors as errors
    from cal_ratio_trainer.api.commands import analyze as analyze
    from cal_ratio_trainer.api.commands import build as build
    from cal_ratio_trainer.api.commands import compare as compare
    from cal_ratio_trainer.api.commands import convert as convert
    from cal_ratio_trainer.api.commands import demo as demo
    from cal_ratio_trainer.api.commands import describe_network as describe_network
    from cal_ratio_trainer.api.commands import doctor as doctor
    from cal_ratio_trainer.api.commands import export as export
    from cal_ratio_trainer.api.commands import import_run as import_run
    from cal_ratio_trainer.api.commands import list_runs as list_runs
    from cal_ratio_trainer.api.commands import open_run as open_run
    from cal_ratio_trainer.api.commands import plot as plot
    from cal_ratio_trainer.api.commands import read_jets as read_jets
    from cal_ratio_trainer.api.commands import resample as resample
    from cal_ratio_trainer.api.commands import score as score
    from cal_ratio_trainer.api.commands import train as train
    from cal_ratio_trainer.errors import UserError as UserError

_FUNCTIONS = (
    *("demo", "convert", "build", "resample", "train", "score", "compare", "analyze", "plot", "export"),
    *("import_run", "list_runs", "describe_network", "doctor", "read_jets", "open_run"),
)
_HOMES = {
    **dict.fromkeys(_FUNCTIONS, "cal_ratio_trainer.api.commands"),
    "UserError": "cal_ratio_trainer.errors",
}

__all__ = ["UserError", "__version__", "errors", *_FUNCTIONS]


def __getattr__(name: str) -> Any:
    if name == "errors":
        return importlib.import_module("cal_ratio_trainer.errors")
    if name not in _HOMES:
        raise AttributeError(f"module 'cal_ratio_trainer' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
