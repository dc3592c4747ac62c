"""Names and values under which TensorBoard and MLflow show a training.

MLflow takes letters, digits, spaces and `_ - . /` in a name; all names here are made of these.
"""

import math
import re
import time
from collections.abc import Mapping

from cal_ratio_trainer.config.base import FigureSettings
from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.evaluation.summary import TestFigures
from cal_ratio_trainer.jets.labels import Label
from cal_ratio_trainer.runs.folder import RunFolder

_NAMES = {
    "original_lossf": "loss/training",
    "val_original_lossf": "loss/validation",
    "auxiliary_loss": "loss/auxiliary heads",
    "original_acc": "accuracy/training",
    "val_original_acc": "accuracy/validation",
    "auxiliary_acc": "accuracy/auxiliary heads",
    "val_auc": "AUC/validation",
    "val_auc_error": "AUC/validation error",
    "learning_rate": "optimiser/learning rate",
    "distance": "agreement/distance training",
    "val_distance": "agreement/distance validation",
    "joint_distance": "agreement/joint distance training",
    "val_joint_distance": "agreement/joint distance validation",
    "distance_ranges_passed_over": "agreement/distance ranges passed over",
    "reversal_loss": "reversal/loss",
    "reversal_acc": "reversal/accuracy",
    "reversal_factor": "reversal/factor",
    "adv_loss": "adversary/loss training",
    "adv_acc": "adversary/accuracy training",
    "val_adv_loss": "adversary/loss validation",
    "val_adv_acc": "adversary/accuracy validation",
    "original_adv_lossf": "adversary in main update/loss training",
    "original_adv_acc": "adversary in main update/accuracy training",
    "val_original_adv_lossf": "adversary in main update/loss validation",
    "val_original_adv_acc": "adversary in main update/accuracy validation",
}
"""Names of columns of the history; those of K-S and C2ST are composed by `metric_name`."""

_MERIT_NAMES = {
    "auc": "AUC",
    "auc_qcd": "AUC against QCD",
    "auc_bib": "AUC against BIB",
    "signal_efficiency_at_mistag": "signal efficiency at mistag",
    "bib_mistag": "BIB mistag",
}
_OUTPUTS = {label.output: "signal" if label == Label.SIGNAL else label.name for label in Label}
_FIGURES = {"auc": "AUC", "error": "standard error", "expected": "expected AUC"}

_PLACE_AND_OUTPUT = {
    *("model_name", "output_path", "cache_path", "tag", "note", "keep_weights", "threads", "device", "data_place"),
    *("epoch_plots", "epoch_plots_of", "plot_processes", "tensorboard", "mlflow"),
    *FigureSettings.model_fields,
}
HYPER_PARAMETERS = tuple(name for name in TrainSettings.model_fields if name not in _PLACE_AND_OUTPUT)
"""Settings that change the trained network; all others only say where a training runs and what it writes."""


def metric_name(column: str) -> str:
    """Name of a column of the history: its group, then its name within it.

    >>> metric_name("val_original_lossf"), metric_name("ks_bib_hist"), metric_name("ks_sig_low_expected")
    ('loss/validation', 'agreement/K-S BIB output', 'agreement low pT/K-S signal output expected')
    >>> metric_name("ks_low_mc"), metric_name("c2st_auc"), metric_name("cr_ttbar_c2st_excess")
    ('agreement low pT/effective MC jets', 'C2ST/AUC', 'region ttbar C2ST/excess')
    """
    if column in _NAMES:
        return _NAMES[column]
    if region := re.fullmatch(r"cr_(.+?)_((?:ks|c2st)_.+)", column):
        return f"region {region[1]} {metric_name(region[2])}"
    if ks := re.fullmatch(r"ks_(qcd|sig|bib)(?:_(low|mid|high))?(?:_(\w+))?", column):
        name = f"K-S {_OUTPUTS[ks[1]]} output {ks[3] if ks[3] not in (None, 'hist') else ''}".rstrip()
        return f"{_with_range('agreement', ks[2])}/{name}"
    if jets := re.fullmatch(r"ks_(low|mid|high)_(mc|data)", column):
        return f"{_with_range('agreement', jets[1])}/effective {'MC' if jets[2] == 'mc' else 'data'} jets"
    if c2st := re.fullmatch(r"c2st(?:_(low|mid|high))?_([a-z]+)", column):
        return f"{_with_range('C2ST', c2st[1])}/{_FIGURES.get(c2st[2], c2st[2])}"
    return f"other/{column}"


def merit_name(figure: str) -> str:
    """Name of a figure of merit of the test part, `TestFigures.numbers`.

    >>> merit_name("auc"), merit_name("rejection_qcd_50"), merit_name("auc_mH125.0")
    ('test/AUC', 'test/QCD rejection at 50 percent', 'test/AUC mH 125.0')
    >>> merit_name("cr_ttbar_c2st_auc"), merit_name("max_significance")
    ('test region ttbar C2ST/AUC', 'test/max significance')
    """
    if figure.startswith(("ks_", "c2st_", "cr_")):
        return f"test {metric_name(figure)}"
    if rejection := re.fullmatch(r"rejection_(?:(qcd|bib)_)?(\d+)", figure):
        background = rejection[1].upper() if rejection[1] else "background"
        return f"test/{background} rejection at {rejection[2]} percent"
    name = _MERIT_NAMES.get(figure) or figure.replace("auc_mH", "AUC mH ").replace("_", " ")
    return f"test/{name}"


def figure_name(plot: str) -> str:
    """Name of a figure of every epoch, a name of `EPOCH_FIGURES`.

    >>> figure_name("main_sig_predictions_linear"), figure_name("val_adversary_lowPt_qcd_predictions")
    ('main jets/signal output linear', 'control region low pT/QCD output')
    """
    found = re.fullmatch(r"(main|val_adversary)(?:_(low|mid|high)Pt)?_(qcd|sig|bib)_predictions(_linear)?", plot)
    if found is None:
        return f"figures/{plot}"
    group = _with_range("main jets" if found[1] == "main" else "control region", found[2])
    return f"{group}/{_OUTPUTS[found[3]]} output{' linear' if found[4] else ''}"


def epoch_metrics(row: Mapping[str, float]) -> dict[str, float]:
    """The finite values of a row of the history, by name."""
    return {metric_name(column): value for column, value in row.items() if math.isfinite(value)}


def merit_metrics(figures: TestFigures) -> dict[str, float]:
    """The finite figures of merit of the test part by name, without those of single pt ranges."""
    numbers = figures.numbers().items()
    whole = {name: value for name, value in numbers if not re.search("_(low|mid|high)(_|$)", name)}
    return {merit_name(name): value for name, value in whole.items() if math.isfinite(value)}


def hyper_parameters(settings: TrainSettings) -> dict[str, bool | int | float | str]:
    """Values of `HYPER_PARAMETERS`, lists and mappings as text; without those that are null.

    >>> found = hyper_parameters(TrainSettings.make(epochs=3, dropout=0.1))
    >>> found["epochs"], found["dropout"], found["cluster_filters"], "start_from" in found
    (3, 0.1, '64, 32, 32, 16', False)
    """
    content = settings.model_dump(mode="json", include=set(HYPER_PARAMETERS), exclude_none=True)
    return {name: _as_parameter(value) for name, value in content.items()}


def _as_parameter(value: object) -> bool | int | float | str:
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, dict):
        return ", ".join(f"{name}={each}" for name, each in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def end_of_epoch(run: RunFolder, epoch: int) -> float:
    """Time at which an epoch of a run ended; now where the run does not know. [s since 1970]"""
    try:
        return run.histograms_file(epoch).stat().st_mtime
    except OSError:
        return time.time()


def _with_range(group: str, pt_range: str | None) -> str:
    return group if pt_range is None else f"{group} {pt_range} pT"
