"""Settings of `cr_trainer analyze`."""

from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from cal_ratio_trainer.config.figures import FigureSettings
from cal_ratio_trainer.config.rule import Rule


class AnalyzeSettings(FigureSettings):
    """Which runs `cr_trainer analyze` looks at, and how."""

    aliases: ClassVar[dict[str, str]] = {"runs_path": "output_path"}

    runs_to_analyze: list[str] = Field(
        default=[],
        description="Runs as NAME/RUN; in a config file also mappings with name and run. Without any: all finished "
        "runs under output_path.",
    )
    main_training_file: str | None = Field(
        default=None,
        description="Signal, QCD and BIB jets to judge runs by that left no test jets, e.g. imported ones: a path, URL "
        "or 'demo'; null leaves these runs without such figures.",
    )
    cr_training_file: str | None = Field(
        default=None, description="Control-region jets for the same runs, likewise; both files or none."
    )
    output_report: Path = Field(
        default=Path("reports/analyze.md"),
        description="Markdown file to write; the HTML page and the figures stand beside it.",
    )
    output_path: Path = Field(
        default=Path("training_results"), description="Folder that holds all runs, by model name and run number."
    )
    rule: Rule = Field(
        default="auc-near-lowest-ks",
        description="Rule by which an epoch is recommended; all look at the validation part.",
    )
    best_of_each: int = Field(
        default=2,
        ge=1,
        description="How many epochs of a run are shortlisted by each criterion, the best first. [epochs]",
    )
    plotted_epochs: int = Field(
        default=12,
        ge=1,
        description="Score plots are shown of all shortlisted epochs up to so many, then of fewer a run. [epochs]",
    )
    replicas: int = Field(
        default=200,
        ge=0,
        le=10_000,
        description="Samples drawn anew for the errors of AUC and K-S; 0 for none. [samples]",
    )
    seed: int = Field(default=1, ge=0, lt=2**63, description="Seed of these samples. [1]")
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Where to score; auto takes a GPU where there is one."
    )

    @model_validator(mode="after")
    def _both_files(self) -> Self:
        if (self.main_training_file is None) != (self.cr_training_file is None):
            raise ValueError("main_training_file and cr_training_file go together: AUC is of one, K-S of the other")
        return self

    @field_validator("runs_to_analyze", mode="before")
    @classmethod
    def _in_one_word(cls, given: Any) -> Any:
        return [_run_name(each) for each in given] if isinstance(given, list | tuple) else given


def _run_name(given: Any) -> Any:
    if isinstance(given, dict):
        unknown = sorted(set(map(str, given)) - {"name", "run"})
        if unknown or "name" not in given or "run" not in given:
            raise ValueError(f"a run is given as NAME/RUN or with name and run, not with {', '.join(map(str, given))}")
        return f"{given['name']}/{given['run']}"
    return given
