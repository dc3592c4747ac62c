"""Settings of `cr_trainer score`."""

from pathlib import Path
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from cal_ratio_trainer.config.network_name import in_one_word
from cal_ratio_trainer.config.reading import ReadingSettings
from cal_ratio_trainer.config.scheduling import SharedListSettings


class ScoreSettings(ReadingSettings, SharedListSettings):
    """What `cr_trainer score` scores, with which network."""

    input_files: list[str] = Field(default=[], description="Files of jets or ntuples: paths, patterns or URLs.")
    training: str | None = Field(
        default=None,
        description="The network: NAME/RUN/EPOCH (best and last are epochs too) or a .keras file; in place of the last "
        "word.",
    )
    output_report: Path = Field(
        default=Path("score_report/report.md"),
        description="Markdown file to write; the HTML page, the figures and the scores stand beside it.",
    )
    cuts: list[float] = Field(
        default=[0.5, 0.8, 0.9, 0.99], description="Cuts on the signal output whose shares the report tells. [1]"
    )

    @classmethod
    def with_new_names(cls, given: dict[str, Any]) -> dict[str, Any]:
        """As for all settings; in the earlier program `output_path` was the report."""
        path = given.get("output_path")
        if isinstance(path, str | Path) and Path(path).suffix == ".md":
            given = {"output_report" if name == "output_path" else name: value for name, value in given.items()}
        return super().with_new_names(given)

    @field_validator("training", mode="before")
    @classmethod
    def _in_one_word(cls, given: Any) -> Any:
        return in_one_word(given)

    @model_validator(mode="after")
    def _cuts_of_scores(self) -> Self:
        if any(not 0 <= cut < 1 for cut in self.cuts):
            raise ValueError(f"cuts must be from 0 to below 1, got {self.cuts}")
        return self
