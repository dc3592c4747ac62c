"""Settings of `cr_trainer build`."""

from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from cal_ratio_trainer.config.base import Settings
from cal_ratio_trainer.jets.labels import DataType


class BuildInput(Settings):
    """One file, or the files that a pattern names, and what is taken of them."""

    input_file: str = Field(description="Path, pattern or URL of files of jets.")
    num_events: int | None = Field(
        default=None, ge=0, description="Take a random sample of this many jets; all of them where not given. [jets]"
    )
    event_filter: str | None = Field(
        default=None, description="Take only jets that fulfil this condition, e.g. 'eventNumber % 2 == 1'."
    )
    data_type: DataType | None = Field(
        default=None, description="What the jets are (sig, qcd, bib or data), for legacy frames that do not say so."
    )


class BuildSettings(Settings):
    """What `cr_trainer build` makes, and of which files."""

    defaults_file: ClassVar[str | None] = "build"
    aliases: ClassVar[dict[str, str]] = {"min_jet_pT": "min_jet_pt", "max_jet_pT": "max_jet_pt"}

    input_files: list[BuildInput] = Field(
        description="Files of jets: paths, patterns or URLs, or in a config file also mappings with input_file, "
        "num_events, event_filter and data_type."
    )
    output_file: Path = Field(description="File to write; .pkl makes a pickled flat frame.")
    kind: Literal["main", "control"] = Field(
        description="A main training file (signal, multijet, beam-induced background) or a control-region file "
        "(multijet simulation and data)."
    )
    min_jet_pt: float = Field(ge=0, description="What becomes 0 when pt is scaled. [GeV]")
    max_jet_pt: float = Field(description="What becomes 1 when jet and track pt are scaled. [GeV]")
    seed: int = Field(ge=0, description="Seed of sampling and shuffling; the same seed gives the same file. [1]")
    shuffle: bool = Field(description="Put the jets into random order; otherwise they stay in the order of the inputs.")
    layout: Literal["ragged", "flat"] = Field(
        description="Lists of constituents (ragged) or the earlier program's 800 slot columns (flat)."
    )
    remove_branches: list[str] = Field(
        description="Further scalar columns to leave out, by name or pattern; HLT_jet_* and others that no training "
        "reads are left out always."
    )
    cache_path: Path | None = Field(description="Folder for copies of remote inputs; the user's cache folder if null.")
    overwrite: bool = Field(description="Replace the output file where it exists.")

    @field_validator("input_files", mode="before")
    @classmethod
    def _plain_paths(cls, given: Any) -> Any:
        if isinstance(given, str | Path):
            given = [given]
        if not isinstance(given, list):
            return given
        if not given:
            raise ValueError("no files of jets are given")
        return [{"input_file": str(item)} if isinstance(item, str | Path) else item for item in given]

    @field_validator("remove_branches", mode="before")
    @classmethod
    def _no_branches(cls, given: Any) -> Any:
        return [] if given is None else given

    @model_validator(mode="after")
    def _range_is_one(self) -> Self:
        if self.max_jet_pt <= self.min_jet_pt:
            raise ValueError(f"max_jet_pt ({self.max_jet_pt:g} GeV) must be above min_jet_pt ({self.min_jet_pt:g} GeV)")
        return self
