"""Metadata of a Parquet file of jets: origin, processing and units."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from cal_ratio_trainer.jets.labels import DataType, Label
from cal_ratio_trainer.jets.schema import CALRATIO_2019, UNITS_IN_GEV, Affine, Feature, Schema

FORMAT_VERSION = 1
METADATA_KEY = b"cal_ratio_trainer"

_LARGEST_PADDING = 1e6
_TRUTH_UNITS = {
    **{"llp_mH": "GeV", "llp_mS": "GeV", "llp_pt": "GeV"},
    **{"llp_eta": "1", "llp_phi": "rad", "llp_Lxy": "mm", "llp_Lz": "mm"},
}
_RUNS_OF_YEARS = {
    2015: (266_900, 284_490),
    2016: (296_900, 311_490),
    2017: (324_300, 341_700),
    2018: (348_100, 364_500),
    2022: (427_300, 440_700),
    2023: (450_200, 456_800),
    2024: (472_500, 490_300),
}
"""First and last runNumber of proton-proton data of ATLAS in each year, rounded outwards; years do not overlap."""

_RUNS_OF_SIMULATION = {284_500: 13.0, 300_000: 13.0, 310_000: 13.0, 410_000: 13.6, 450_000: 13.6}
"""Centre-of-mass energy in TeV by runNumber of the simulation, from mc16a to mc23d."""


class InputFile(BaseModel):
    """A file that the jets were made from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    size_bytes: int | None = None
    sha256: str | None = None


class Scaling(BaseModel):
    """The range in GeV that `build` mapped to 0-1."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_jet_pt: float
    max_jet_pt: float

    def shift_and_unit(self, feature: Feature) -> tuple[float, float]:
        """Shift and unit of a feature that becomes (value - shift) / unit; 0 and 1 if it is not scaled so."""
        if isinstance(feature.scaling, Affine):
            return feature.scaling.subtract, feature.scaling.divide_by
        if feature.scaling != "pt_range":
            return 0.0, 1.0
        return self.min_jet_pt, UNITS_IN_GEV[feature.unit] * (self.max_jet_pt - self.min_jet_pt)

    def __str__(self) -> str:
        return f"{self.min_jet_pt:g} to {self.max_jet_pt:g} GeV"


LEGACY_SCALING = Scaling(min_jet_pt=0, max_jet_pt=500)
"""Scaling by the earlier program, assumed if a file or a run does not name its own."""


class CutflowStep(BaseModel):
    """Number of events and jets after one step, with sums of weights if there are any."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: str
    events: int
    jets: int
    sum_of_weights: float | None = None


class Cuts(BaseModel):
    """Cuts on the jets, so that files with different cuts are not mixed.

    `event_selection` and `jet_selection` are conditions on branches of the ntuple by their names in the cutflow;
    `event_filter` is the filter of `build`, on columns of the file of jets. None: not known, or no such cut.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data_types: list[DataType] = Field(default_factory=list)
    min_jet_pt: float | None = None
    max_jet_pt: float | None = None
    max_abs_jet_eta: float | None = None
    event_selection: dict[str, str] = Field(default_factory=dict)
    jet_selection: dict[str, str] = Field(default_factory=dict)
    require_clean_jets: bool = False
    max_jets_per_event: int | None = None
    max_hlt_delta_r: float | None = None
    event_filter: str | None = None


class Normalisation(BaseModel):
    """Sums for a later normalisation of a simulated sample, over all input files (including empty ones).

    `event_count` has the bins of the ntuple's MetaData_EventCount by their labels.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    event_count: dict[str, float] = Field(default_factory=dict)
    events_read: int = 0
    sum_of_weights_read: float | None = None
    sum_of_weights_squared_read: float | None = None
    run_numbers: list[int] = Field(default_factory=list)
    channel_numbers: list[int] = Field(default_factory=list)


def padding_mistake(padding: Mapping[str, Sequence[float]], schema: Schema = CALRATIO_2019) -> str | None:
    """A sentence on impossible padding rows; None if all are zeros or scaled zeros."""
    for kind in schema.constituents:
        row = padding.get(kind.name, [0.0] * len(kind.features))
        if len(row) != len(kind.features):
            return f"the padding row of {kind.name} has {len(row)} numbers where {len(kind.features)} are expected"
        for name, value in zip(kind.columns, row, strict=True):
            if not abs(value) <= _LARGEST_PADDING:
                return f"the padding row of {kind.name} holds {value:g} for {name}, where 0 or a scaled 0 is expected"
    return None


class JetMetadata(BaseModel):
    """The metadata of one file of jets.

    Attributes:
        stage: 'converted' (GeV, MeV), 'built' (scaled), or 'unknown' (a legacy frame without metadata).
        kind: kind of a built file: 'main' or 'control'.
        data_type: type of the ntuples of a converted file.
        cuts: selection of jets, one entry for each different one among the inputs; pt in GeV. Empty: not known.
        simulation: simulation of the events if it is not the experiment's own, e.g. 'demo'.
        padding: the padding row of each kind of constituent.
        feature_schema: features of the jets; not written if it is the default, which is assumed for files without it.
        notes: notes for the reader, one sentence each.
        details: counts and tables of the step that made the file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int = FORMAT_VERSION
    stage: Literal["converted", "built", "unknown"]
    kind: Literal["main", "control"] | None = None
    data_type: DataType | None = None
    simulation: str | None = None
    package_version: str | None = None
    command: str | None = None
    options: dict[str, Any] = Field(default_factory=dict)
    inputs: list[InputFile] = Field(default_factory=list)
    units: dict[str, str] = Field(default_factory=dict)
    scaling: Scaling | None = None
    rows: int = 0
    padding: dict[str, list[float]] = Field(default_factory=dict)
    feature_schema: Schema = CALRATIO_2019
    cutflow: list[CutflowStep] = Field(default_factory=list)
    cuts: list[Cuts] = Field(default_factory=list)
    normalisation: Normalisation | None = None
    notes: list[str] = Field(default_factory=list)
    details: dict[str, Any] = Field(default_factory=dict)

    @model_serializer(mode="wrap")
    def _without_the_default_schema(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = serialize(self)
        if self.feature_schema == CALRATIO_2019:
            del content["feature_schema"]
        else:
            content["feature_schema"] = self.feature_schema.model_dump(mode="json", exclude_defaults=True)
        return content


@dataclass(frozen=True)
class DataTaking:
    """Origin of the jets of a file, as the file describes it; for the heading of figures.

    Attributes:
        simulation: simulation of the events if it is not the experiment's own, e.g. 'demo'.
        is_simulation: True if all jets are simulated; None if not known.
        years: years of data taking, rising; empty if a run of the data is not known.
        energies_tev: centre-of-mass energies, rising; empty if a run is not known. [TeV]
    """

    simulation: str | None = None
    is_simulation: bool | None = None
    years: tuple[int, ...] = ()
    energies_tev: tuple[float, ...] = ()

    @classmethod
    def of_runs(
        cls, data: Iterable[int], simulated: Iterable[int], simulation: str | None, all_simulated: bool
    ) -> Self:
        """Years and energies from run numbers of data and of simulation.

        >>> DataTaking.of_runs([348885, 278880], [310000], None, False)
        DataTaking(simulation=None, is_simulation=False, years=(2015, 2018), energies_tev=(13.0,))
        """
        years = {
            next((year for year, (first, last) in _RUNS_OF_YEARS.items() if first <= run <= last), None) for run in data
        }
        energies = {_RUNS_OF_SIMULATION.get(run) for run in simulated}
        known = sorted(year for year in years if year is not None)
        if None in years:
            return cls(simulation, all_simulated)
        energies |= {13.0 if year < 2022 else 13.6 for year in known}
        known_energies = () if None in energies else tuple(sorted(each for each in energies if each is not None))
        return cls(simulation, all_simulated, tuple(known), known_energies)

    @classmethod
    def of_jets(cls, labels: NDArray[Any], runs: NDArray[Any] | None, simulation: str | None) -> Self:
        """Years and energies from the jets of a training file.

        Args:
            labels: [jets]; `Label.BIB`, beam-induced background or control-region data, is data.
            runs: runNumber, [jets], NaN if not known; None if the file does not have it.
            simulation: simulation in the file's metadata.
        """
        is_data = labels == Label.BIB
        if runs is None:
            return cls(simulation, not bool(is_data.any()))
        of_data, of_simulation = (np.unique(np.nan_to_num(runs[some])).astype(int) for some in (is_data, ~is_data))
        return cls.of_runs(of_data.tolist(), of_simulation.tolist(), simulation, not bool(is_data.any()))

    @classmethod
    def of_metadata(cls, metadata: JetMetadata) -> Self:
        """Origin by the metadata alone: type and runs of a converted file, types of the inputs of a built one."""
        found = (
            {metadata.data_type} if metadata.data_type else {each for cut in metadata.cuts for each in cut.data_types}
        )
        if not found:
            return cls(metadata.simulation)
        runs = metadata.normalisation.run_numbers if metadata.normalisation and metadata.data_type else []
        all_simulated = all(each.is_simulation for each in found)
        if all_simulated:
            return cls.of_runs([], runs, metadata.simulation, True)
        return cls.of_runs(runs, [], metadata.simulation, False)

    @classmethod
    def of_record(cls, stored: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`, from the description of a file in a run's record; earlier versions know less."""
        told = stored.get("data_taking") or {}
        years, energies = told.get("years", ()), told.get("energies_tev", ())
        return cls(stored.get("simulation"), told.get("is_simulation"), tuple(years), tuple(energies))

    def to_dict(self) -> dict[str, Any]:
        """Entries 'simulation' and 'data_taking' of a file's description."""
        told = {"is_simulation": self.is_simulation, "years": list(self.years), "energies_tev": list(self.energies_tev)}
        return {"simulation": self.simulation, "data_taking": told}


def converted_units(schema: Schema = CALRATIO_2019) -> dict[str, str]:
    """Units of every column of a converted file, by column name."""
    units = {name: feature.unit for name, feature in schema.columns.items()}
    return {name: units[name] for name in schema.jet_columns} | _TRUTH_UNITS | units


def built_units(schema: Schema = CALRATIO_2019) -> dict[str, str]:
    """Units of every column of a training file, by column name."""
    return converted_units(schema) | {name: feature.built_unit for name, feature in schema.columns.items()}
