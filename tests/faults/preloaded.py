"""Imports all that commands import when they run, which would take half of their time; before they are forked."""

import importlib
import pkgutil

import numba

import cal_ratio_trainer

_OWN = [each.name for each in pkgutil.walk_packages(cal_ratio_trainer.__path__, "cal_ratio_trainer.")]
_LIBRARIES = (
    *("jinja2", "markdown_it", "matplotlib.backends.backend_agg", "matplotlib.font_manager", "mplhep", "onnx"),
    *("onnxruntime", "pandas", "scipy.stats", "sklearn.linear_model", "torch._dynamo"),
    *("tensorboard.plugins.hparams.summary_v2", "tensorboard.summary.writer.event_file_writer"),
)
for _name in (*_LIBRARIES, *_OWN):
    if ".gpu" not in _name and not _name.endswith("__main__"):
        importlib.import_module(_name)
# Numba loads the rest of itself with the first function that it compiles.
numba.njit(lambda number: number)(1.0)
