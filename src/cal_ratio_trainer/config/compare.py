"""Settings of `cr_trainer compare`."""

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from cal_ratio_trainer.config.reading import ReadingSettings


class CompareSettings(ReadingSettings):
    """What `cr_trainer compare` holds against what, on which jets."""

    first: str | None = Field(
        default=None, description="The first network: NAME/RUN/EPOCH or a .keras file; in place of word one."
    )
    second: str | None = Field(
        default=None,
        description="The second network; null where scores in the files are compared with, or it is word two.",
    )
    input_files: list[str] = Field(
        default=[], description="Files of jets or ntuples; without any the test samples of the first network's run."
    )
    column: str | None = Field(
        default=None,
        description="Scores in the files to compare with, in place of a second network: their columns' name with {} "
        "where qcd, sig and bib stand, e.g. jet_nn_calRatio_main_{}_lowMass_v3Adv.",
    )
    output_report: Path = Field(
        default=Path("compare_report/report.md"),
        description="Markdown file to write; the HTML page, the figures and the scores of both stand beside it.",
    )
    all_jets: bool = Field(
        default=False, description="Take jets too that one of the networks was trained on or chosen by."
    )
    replicas: int = Field(
        default=200, ge=2, description="How many samples are drawn anew for the errors of differences. [samples]"
    )
    seed: int = Field(default=1, ge=0, description="Seed of these draws. [1]")
    disagreements: int = Field(default=20, ge=0, description="How many of the jets that differ most are listed. [jets]")
    explain: bool = Field(
        default=True,
        description="Where a network and scores in the files differ, try which change of the inputs makes them agree.",
    )

    @model_validator(mode="after")
    def _one_second(self) -> Self:
        if self.second is not None and self.column is not None:
            raise ValueError("give either a second network or --column, not both")
        if self.column is not None and self.column.count("{}") != 1:
            raise ValueError(f"column must hold {{}} once, where qcd, sig and bib stand, got {self.column}")
        return self
