"""Settings of `cr_trainer build` and `resample`, which make training files; table of simulated samples."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator

from cal_ratio_trainer.config.base import (
    CacheFolder,
    FigureSettings,
    InputEntry,
    MaxJetPt,
    OutputFile,
    SchedulingSettings,
    Settings,
    one_or_several,
)
from cal_ratio_trainer.config.loading import mistakes_of, read_config
from cal_ratio_trainer.errors import InputFileError, did_you_mean
from cal_ratio_trainer.jets.labels import DataType

_NUMBER = "mcChannelNumber"
_Luminosity = Annotated[float, Field(gt=0)]
_Period = Annotated[str, Field(coerce_numbers_to_str=True)]
"""Name of a period; YAML reads a year as a number."""


class BuildInput(InputEntry):
    """A file, or the files that a pattern names, and the jets to take from them."""

    input_file: str = Field(description="Path, pattern or URL of files of jets.")
    num_events: int | None = Field(
        default=None, ge=0, description="Size of a random sample of the jets; null takes all. [jets]"
    )
    event_filter: str | None = Field(
        default=None, description="Take only jets that pass this condition, e.g. 'eventNumber % 2 == 1'."
    )
    data_type: DataType | None = Field(
        default=None, description="Type of the jets (sig, qcd, bib or data), for legacy frames that do not contain it."
    )
    channel: int | None = Field(
        default=None,
        gt=0,
        description="mcChannelNumber of the sample, for files that do not contain it: legacy frames, and empty files "
        "without others of their sample.",
    )


class SimulatedSample(Settings):
    """One simulated sample, e.g. a slice of jet pt."""

    cross_section_pb: float = Field(gt=0, description="Cross section. [pb]")
    filter_efficiency: float = Field(default=1.0, gt=0, le=1, description="Efficiency of the generator's filter. [1]")
    k_factor: float = Field(default=1.0, gt=0, description="Correction of the cross section to a higher order. [1]")
    initial_sum_of_weights: float | None = Field(
        default=None,
        gt=0,
        description="Sum of the weights of all simulated events, if the ntuples do not contain it. [1]",
    )

    @property
    def effective_pb(self) -> float:
        """Cross section times filter efficiency times k-factor [pb]."""
        return self.cross_section_pb * self.filter_efficiency * self.k_factor


class BuildSettings(FigureSettings, SchedulingSettings):
    """Settings of `cr_trainer build`."""

    aliases: ClassVar[dict[str, str]] = {"min_jet_pT": "min_jet_pt", "max_jet_pT": "max_jet_pt"}

    input_files: Annotated[list[BuildInput], BeforeValidator(one_or_several)] = Field(
        default=[],
        description="Files of jets: paths, patterns or URLs, or in a config file also mappings with input_file, "
        "num_events, event_filter and data_type.",
    )
    output_file: OutputFile = Field(description="File to write; the suffix .pkl makes a pickled flat frame.")
    kind: Literal["main", "control"] = Field(
        default="main",
        description="A main training file (signal, multijet, beam-induced background) or a control-region file "
        "(multijet simulation and data).",
    )
    min_jet_pt: float = Field(default=0.0, ge=0, description="Value of pt that is scaled to 0. [GeV]")
    max_jet_pt: MaxJetPt = Field(default=500.0, description="Value of jet and track pt that is scaled to 1. [GeV]")
    seed: int = Field(
        default=1, ge=0, description="Seed of sampling and shuffling; the same seed gives the same file. [1]"
    )
    shuffle: bool = Field(default=True, description="Shuffle the jets; otherwise they stay in the order of the inputs.")
    layout: Literal["ragged", "flat"] = Field(
        default="ragged", description="Lists of constituents (ragged) or the earlier program's 800 slot columns (flat)."
    )
    remove_branches: Annotated[list[str], BeforeValidator(one_or_several)] = Field(
        default=[],
        description="Further scalar columns to drop, by name or pattern; HLT_jet_* and others that no training reads "
        "are always dropped.",
    )
    samples: Path | dict[int, SimulatedSample] | None = Field(
        default=None,
        description="Normalisation of simulated multijets: cross_section_pb, filter_efficiency and k_factor of each "
        "sample by its mcChannelNumber; a mapping, or the name of a YAML file with it.",
    )
    period_luminosity_fb: _Luminosity | dict[_Period, _Luminosity] | None = Field(
        default=None,
        description="Luminosity to which samples are normalised; in YAML also one for each period (2015-2016, 2017, "
        "2018, or a runNumber of the simulation). Null: weights are cross sections in pb. [1/fb]",
    )
    normalise: Literal["samples", "none"] = Field(
        default="samples",
        description="Normalise multijets of several samples by the table of samples, or take mcEventWeight as it is.",
    )
    pileup_weight: bool = Field(
        default=False,
        description="Multiply the weights of simulated multijets by pileupWeight, a branch that convert keeps on "
        "request (keep_branches).",
    )
    reweight_mc: list[str] = Field(
        default=[],
        description="Reweight simulation in a control file to the distribution of the data in these columns, e.g. "
        "jet_pt,actualInteractionsPerCrossing.",
    )
    flatten: list[str] = Field(
        default=[],
        description="Reweight each class to a flat distribution in these columns, e.g. jet_pt,jet_eta.",
    )
    max_weight_share: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Largest weight of a jet as a share of the sum of its class; larger ones are reduced to it; null: "
        "no limit. [1]",
    )
    report: bool = Field(default=False, description="Write a report with tables and figures beside the output file.")
    cache_path: CacheFolder = None
    overwrite: bool = Field(default=False, description="Replace the output file if it exists.")

    @field_validator("input_files")
    @classmethod
    def _some_files(cls, given: list[BuildInput]) -> list[BuildInput]:
        if not given:
            raise ValueError("no files of jets are given")
        return given

    @model_validator(mode="after")
    def _weights_are_of_one_kind(self) -> Self:
        if self.normalise == "none" and (self.samples is not None or self.pileup_weight):
            given = "samples are given" if self.samples is not None else "pileup_weight is set"
            raise ValueError(f"{given}, but normalise is none: say normalise: samples to use it")
        if self.reweight_mc and self.kind != "control":
            raise ValueError("reweight_mc needs kind control: a main file has no data to weigh simulation to")
        return self


class ResampleSettings(Settings):
    """Settings of `cr_trainer resample`."""

    input_file: str = Field(description="File of jets of any format, or its URL.")
    output_file: OutputFile = Field(description="File to write; the suffix .pkl makes a pickled flat frame.")
    fraction: float = Field(gt=0, le=1, description="Share of the jets of each label that is taken. [1]")
    seed: int = Field(default=1, ge=0, description="Seed of the sampling; the same seed gives the same jets. [1]")
    overwrite: bool = Field(default=False, description="Replace the output file if it exists.")
    cache_path: CacheFolder = None


def read_samples(path: Path) -> dict[int, SimulatedSample]:
    """Reads the samples of a YAML file by mcChannelNumber.

    The file has a mapping of numbers to fields of `SimulatedSample`, or a list of rows with mcChannelNumber,
    either of them perhaps below the word `samples`. Rows without a cross section are left out, and so are further
    columns of a list.

    Raises:
        InputFileError: the file cannot be read or contains something else; names what is wrong.
    """
    content: Any = read_config(path)
    content = content.get("samples", content)
    if isinstance(content, list):
        content = _by_number(path, content)
    if not isinstance(content, Mapping) or not content:
        raise InputFileError(path, "should hold samples by their mcChannelNumber, each with its cross_section_pb")
    samples: dict[int, SimulatedSample] = {}
    for number, row in content.items():
        if not str(number).isdecimal():
            raise InputFileError(path, f"has {number!r:.60} where the mcChannelNumber of a sample was expected")
        try:
            samples[int(number)] = SimulatedSample.model_validate(row)
        except ValidationError as error:
            mistakes = "; ".join(mistakes_of(SimulatedSample, error))
            raise InputFileError(path, f"sample {number}: {mistakes}") from error
    return samples


def _by_number(path: Path, rows: list[Any]) -> dict[Any, Any]:
    columns, found = SimulatedSample.model_fields, dict[Any, Any]()
    for row in rows:
        if not isinstance(row, Mapping):
            raise InputFileError(path, f"should hold a list of samples with {_NUMBER}, but has {row!r:.60}")
        if row.get("cross_section_pb") is None:
            continue
        if row.get(_NUMBER) is None or row[_NUMBER] in found:
            what = "twice" if row.get(_NUMBER) in found else f"without {_NUMBER}"
            raise InputFileError(path, f"has a sample {what}: {dict(row)!r:.120}")
        for column in row:
            # A misspelled column is refused, other columns are left out.
            if column not in columns and (near := did_you_mean(column, columns)):
                raise InputFileError(path, f"has a column {column}{near}")
        found[row[_NUMBER]] = {name: value for name, value in row.items() if name in columns}
    return found
