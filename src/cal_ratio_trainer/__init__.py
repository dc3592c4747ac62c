"""Trains the ATLAS CalRatio jet network, from DiVertAnalysis ntuples to files that run in the experiment's software.

Every command of `cr_trainer` is a function here, e.g. `train(epochs=20)`; they are loaded when they are first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

from cal_ratio_trainer.version import __version__

if TYPE_CHECKING:
    from cal_ratio_trainer import errors
    from cal_ratio_trainer.api.commands import (
        analyze,
        build,
        compare,
        convert,
        demo,
        describe_network,
        doctor,
        export,
        import_run,
        list_runs,
        open_run,
        plot,
        read_jets,
        resample,
        score,
        watch,
    )
    from cal_ratio_trainer.api.training import train, tune
    from cal_ratio_trainer.errors import UserError

__all__ = [
    "UserError",
    "__version__",
    "analyze",
    "build",
    "compare",
    "convert",
    "demo",
    "describe_network",
    "doctor",
    "errors",
    "export",
    "import_run",
    "list_runs",
    "open_run",
    "plot",
    "read_jets",
    "resample",
    "score",
    "train",
    "tune",
    "watch",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'cal_ratio_trainer' has no attribute {name!r}")
    if name in ("errors", "UserError"):
        errors = importlib.import_module("cal_ratio_trainer.errors")
        return errors if name == "errors" else errors.UserError
    module = "training" if name in ("train", "tune") else "commands"
    return getattr(importlib.import_module(f"cal_ratio_trainer.api.{module}"), name)


def __dir__() -> list[str]:
    return __all__
