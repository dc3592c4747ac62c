"""History of a run: one row of figures per epoch, as history.json and the loss files hold it."""

import json
import math
from collections.abc import Mapping, Sequence

from cal_ratio_trainer.files.atomic import write_text
from cal_ratio_trainer.runs.directory import RunDirectory

HistoryRow = dict[str, float]

HISTORY_NAMES = (
    "ks_qcd_hist",
    "ks_sig_hist",
    "ks_bib_hist",
    "adv_loss",
    "adv_acc",
    "val_adv_loss",
    "val_adv_acc",
    "original_lossf",
    "original_acc",
    "val_original_lossf",
    "val_original_acc",
    "original_adv_lossf",
    "original_adv_acc",
    "val_original_adv_lossf",
    "val_original_adv_acc",
)
"""The figures of the earlier program's history, in its order; ours stand behind them."""


def write_history(run: RunDirectory, history: list[HistoryRow]) -> None:
    """history.json, its copy in keras/, and the two loss files."""
    text = history_text(history)
    write_text(run.history_file, text)
    write_text(run.path / "keras" / "history_checkpoint.json", text)
    write_text(run.path / "train_loss.txt", "".join(f"{row['original_lossf']!r}\n" for row in history))
    write_text(run.path / "test_loss.txt", "".join(f"{row['val_original_lossf']!r}\n" for row in history))


def history_text(history: Sequence[HistoryRow]) -> str:
    """The content of history.json: a list of rows; what is not a number is null."""
    rows = [
        {"epoch": number} | {name: value if math.isfinite(value) else None for name, value in row.items()}
        for number, row in enumerate(history)
    ]
    return json.dumps(rows, indent=1) + "\n"


def mean_history(histories: Sequence[Sequence[Mapping[str, float]]]) -> list[dict[str, float]]:
    """Row by row the mean over the folds, as far as all have come."""
    return [mean_row(rows) for rows in zip(*histories, strict=False)]


def mean_row(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of every figure that all rows have; NaN where it is not known of one."""
    common = [name for name in rows[0] if all(name in row for row in rows)]
    return {name: math.fsum(row[name] for row in rows) / len(rows) for name in common}
