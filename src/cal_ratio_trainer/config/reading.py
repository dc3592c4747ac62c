"""Settings of every command that scores jets: where the networks are, and how files are read."""

from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from cal_ratio_trainer.config.figures import FigureSettings
from cal_ratio_trainer.config.rule import Rule
from cal_ratio_trainer.jets.labels import DataType


class ReadingSettings(FigureSettings):
    """How a command that scores jets finds its networks and reads its files."""

    aliases: ClassVar[dict[str, str]] = {"runs_path": "output_path"}

    output_path: Path = Field(
        default=Path("training_results"), description="Folder that holds all runs, by model name and run number."
    )
    rule: Rule = Field(default="auc-near-lowest-ks", description="By which rule the epoch 'best' is chosen.")
    data_type: DataType | None = Field(
        default=None,
        description="What ntuples hold; null keeps every jet in range, without a label. Other files say it themselves.",
    )
    kind: Literal["main", "control"] | None = Field(
        default=None,
        description="Whether label 2 is beam-induced background (main) or data (control), for files that do not say "
        "so.",
    )
    llp_mH: float | None = Field(
        default=None,
        gt=0,
        description="Mediator mass: of signal ntuples, and the one that a parametrised network assumes. [GeV]",
    )
    llp_mS: float | None = Field(
        default=None,
        gt=0,
        description="Long-lived particle's mass: of signal ntuples, and the one that a parametrised network assumes. "
        "[GeV]",
    )
    min_jet_pt: float = Field(default=40.0, ge=0, description="Of ntuples: smallest jet pt that is kept. [GeV]")
    max_jet_pt: float = Field(
        default=500.0, gt=0, description="Of ntuples: jets of this pt and above are dropped. [GeV]"
    )
    max_hlt_delta_r: float | None = Field(
        default=None,
        gt=0,
        description="Of BIB ntuples: largest distance (Delta R) from trigger jet to jet; null takes any. [1]",
    )
    chunk_events: int = Field(
        default=4000, ge=1, description="Of ntuples: how many events are in memory at a time. [events]"
    )
    keep_columns: list[str] = Field(
        default=[], description="Further columns (branches, of ntuples) to carry into the result."
    )
    cache_path: Path | None = Field(
        default=None, description="Folder for copies of remote files; null takes the user's cache folder."
    )
    blind_above: float | None = Field(
        default=None,
        ge=0,
        lt=1,
        description="Hide the scores of jets of data with a signal output above this, unless they come from a declared "
        "control region (--kind control, or a control file); null hides nothing. [1]",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Where the network runs; auto takes a GPU if there is one."
    )
    threads: int | None = Field(default=None, ge=1, description="CPU threads; null takes all cores. [threads]")

    @model_validator(mode="after")
    def _range_of_pt(self) -> Self:
        if self.min_jet_pt >= self.max_jet_pt:
            raise ValueError(f"min_jet_pt ({self.min_jet_pt:g}) must be below max_jet_pt ({self.max_jet_pt:g})")
        return self
