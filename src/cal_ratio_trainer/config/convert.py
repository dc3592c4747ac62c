"""Settings of the commands that make ntuples and files of jets: `cr_trainer demo` and `convert divertanalysis`."""

import json
import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from cal_ratio_trainer.config.base import (
    MAX_PROCESSES,
    InputEntry,
    MaxJetPt,
    SchedulingSettings,
    SharedListSettings,
)
from cal_ratio_trainer.errors import UserError
from cal_ratio_trainer.jets.expressions import parse_condition
from cal_ratio_trainer.jets.labels import DataType

_MAX_JETS = 100_000_000
MAX_DEMO_SEED = 1_000_000
"""Larger ones would need event numbers above 64 bits."""
_MASSES = {"mH": "llp_mH", "mS": "llp_mS"}
_Mass = Annotated[float | None, Field(ge=0), AfterValidator(lambda mass: mass or None)]
"""Mass in GeV; in the earlier program's files 0 means none."""

_NO_UTF8 = re.compile("[\ud800-\udfff]")

Conditions = str | list[str] | dict[str, str] | None
"""Conditions that must all hold: one, several, or several by their names in the cutflow."""

_FIXED_BRANCHES = "the branches follow from the data type; keep_branches carries further ones through"


class ConversionInput(InputEntry):
    """One entry of `input_files`; what it leaves out is taken from the top of the settings."""

    aliases: ClassVar[dict[str, str]] = _MASSES

    input_file: str = Field(min_length=1, description="A file, a URL or a pattern of either.")
    data_type: DataType | None = Field(default=None, description="Type of the jets in these files.")
    output_dir: Path | None = Field(default=None, description="Folder below output_path for the results.")
    llp_mH: _Mass = Field(default=None, description="Mass of the mediator of this signal sample. [GeV]")
    llp_mS: _Mass = Field(default=None, description="Mass of the long-lived particle of this sample. [GeV]")

    @classmethod
    def of_word(cls, word: str) -> dict[str, Any]:
        """See `InputEntry`."""
        # A name of bytes that are no UTF-8 is no text for pydantic; in JSON's quotes it is, as in lists of files.
        return super().of_word(json.dumps(word) if _NO_UTF8.search(word) else word)


class ConvertSettings(SharedListSettings):
    """Settings of `cr_trainer convert divertanalysis`."""

    aliases: ClassVar[dict[str, str]] = {**_MASSES, "schema": "schema_file"}
    ignored: ClassVar[dict[str, str]] = {
        "signal_branches": _FIXED_BRANCHES,
        "bib_branches": _FIXED_BRANCHES,
        "qcd_branches": _FIXED_BRANCHES,
        "rename_branches": "the names of the columns are fixed",
    }

    input_files: list[ConversionInput] = Field(
        default=[],
        description="Files, URLs or patterns; in YAML also entries with their own data_type, output_dir and masses.",
    )
    data_type: DataType | None = Field(
        default=None,
        description="Type of the jets: signal, multijet simulation, beam-induced background, or control-region data. "
        "In YAML each entry of the list can have its own.",
    )
    llp_mH: _Mass = Field(default=None, description="Mass of the mediator, needed for signal. [GeV]")
    llp_mS: _Mass = Field(default=None, description="Mass of the long-lived particle, needed for signal. [GeV]")
    min_jet_pt: float = Field(default=40.0, ge=0, description="Smallest jet pt that is kept. [GeV]")
    max_jet_pt: MaxJetPt = Field(
        default=500.0, gt=0, allow_inf_nan=True, description="Jets of this pt and above are dropped. [GeV]"
    )
    max_hlt_delta_r: float | None = Field(
        default=None,
        gt=0,
        description="Largest distance (Delta R) from a tagged trigger jet to its jet in BIB; null: no limit. [1]",
    )
    event_selection: Conditions = Field(
        default=None,
        description="Keep only events that pass this condition on branches of the tree, e.g. 'jet_pT[0] > 60'; in YAML "
        "also a list of conditions, or a mapping of names to conditions.",
    )
    jet_selection: Conditions = Field(
        default=None,
        description="Keep only jets that pass this condition on branches of the tree, e.g. 'jet_jvt > 0.5'; in YAML "
        "also a list of conditions, or a mapping of names to conditions.",
    )
    require_clean_jets: bool = Field(default=False, description="Keep only jets whose jet_isClean_LooseBadLLP is 1.")
    max_jets_per_event: int | None = Field(
        default=None,
        ge=1,
        description="Largest number of jets kept in an event, those of highest pt; null keeps all. [jets]",
    )
    output_path: Path = Field(
        default=Path("converted"), description="Folder for the results; it is created if it does not exist."
    )
    layout: Literal["ragged", "flat"] = Field(
        default="ragged",
        description="Lists of constituents (ragged), or the flat columns of the earlier program, clus_pt_0 and so on "
        "(flat).",
    )
    flat_format: Literal["parquet", "pkl"] = Field(default="parquet", description="File format of the flat layout.")
    keep_branches: list[str] = Field(
        default=[], description="Further branches to keep, with one number per event or one per jet."
    )
    schema_file: Path | None = Field(
        default=None,
        description="YAML file with further features of jets and constituents for the network to read; null: those of "
        "2019 only.",
    )
    max_events: int | None = Field(
        default=None, ge=1, description="Number of events to read from each file; null reads all. [events]"
    )
    chunk_events: int = Field(
        default=4000,
        ge=1,
        description="Number of events in memory at a time; of an RNTuple, complete clusters. [events]",
    )
    overwrite: bool = Field(default=False, description="Convert files again that are already converted.")
    cache_path: Path | None = Field(
        default=None,
        description="Folder for copies of remote files; null reads them without a copy.",
    )

    @field_validator("event_selection", "jet_selection", mode="after")
    @classmethod
    def _can_be_read(cls, given: Conditions) -> Conditions:
        for condition in named_conditions(given).values():
            try:
                parse_condition(condition, positions=True)
            except UserError as error:
                raise ValueError(str(error)) from error
        return given

    @model_validator(mode="after")
    def _room_for_branches(self) -> Self:
        for name in ("keep_branches", "schema_file"):
            if getattr(self, name) and self.layout == "flat":
                raise ValueError(f"{name} needs the ragged layout; the flat one has fixed columns")
        return self


def named_conditions(given: Conditions) -> dict[str, str]:
    """Returns conditions by name, in order; the name of one without a name is its text."""
    if isinstance(given, dict):
        return given
    texts = [given] if isinstance(given, str) else given or []
    return {" ".join(text.split()): text for text in texts}


class DemoSettings(SchedulingSettings):
    """Settings of `cr_trainer demo`."""

    output_path: Path = Field(
        default=Path("demo_ntuples"), description="Folder for the ntuples; it is created if it does not exist."
    )
    jets: int = Field(
        default=20000,
        ge=1,
        le=_MAX_JETS,
        description="Number of jets of each class (signal, QCD, BIB) that convert will keep, exactly. [jets]",
    )
    control_jets: int | None = Field(
        default=None,
        ge=1,
        le=_MAX_JETS,
        description="Number of jets of control-region simulation, and of data, that convert will keep; null: as many "
        "as jets. [jets]",
    )
    mismodelling: float = Field(
        default=1.0,
        ge=0,
        le=10,
        description="Factor on the difference between data and simulation in the control region: 0 for none, 1 for "
        "the measured one, 2 for twice that. [1]",
    )
    seed: int = Field(
        default=1,
        ge=0,
        le=MAX_DEMO_SEED,
        description="Seed of all random numbers; the same seed gives the same content, different seeds share no event "
        "numbers. [1]",
    )
    workers: int = Field(
        default=2, ge=1, le=MAX_PROCESSES, description="Number of processes with scheduler 'local'. [processes]"
    )
