"""Settings of `cr_trainer runs`."""

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from cal_ratio_trainer.config.base import Settings
from cal_ratio_trainer.config.rule import Rule

Status = Literal[
    "finished", "running", "interrupted", "killed", "failed", "diverged", "imported", "incomplete", "unknown"
]


class RunsSettings(Settings):
    """Which runs `cr_trainer runs` lists, and how."""

    aliases: ClassVar[dict[str, str]] = {"runs_path": "output_path"}

    output_path: Path = Field(
        default=Path("training_results"), description="Folder that holds all runs, by model name and run number."
    )
    sort: str = Field(
        default="started",
        min_length=1,
        description="Column to sort by, rising; with a minus before it falling, e.g. -test_auc.",
    )
    status: list[Status] = Field(default=[], description="Only runs of these states; all if none is given.")
    tag: list[str] = Field(default=[], description="Only runs with one of these tags; all if none is given.")
    rule: Rule = Field(
        default="auc-near-lowest-ks",
        description="Rule by which the best epoch of a run is chosen, on its validation part.",
    )
    folds: bool = Field(default=False, description="List the networks of fold sets too, a line each below their set.")
    csv: str | None = Field(
        default=None, description="Write the whole table as CSV to this file, or to standard output for -."
    )
