"""Metadata of a Parquet file of jets: origin, processing and units."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from cal_ratio_trainer.jets.labels import DataType
from cal_ratio_trainer.jets.schema import CALRATIO_2019, UNITS_IN_GEV, Affine, Feature, Schema

FORMAT_VERSION = 1
METADATA_KEY = b"cal_ratio_trainer"


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
        """Shift and unit of a feature that becomes (value - shift) / unit; 0 and 1 where it is not scaled so."""
        if isinstance(feature.scaling, Affine):
            return feature.scaling.subtract, feature.scaling.divide_by
        if feature.scaling != "pt_range":
            return 0.0, 1.0
        return self.min_jet_pt, UNITS_IN_GEV[feature.unit] * (self.max_jet_pt - self.min_jet_pt)

    def __str__(self) -> str:
        return f"{self.min_jet_pt:g} to {self.max_jet_pt:g} GeV"


LEGACY_SCALING = Scaling(min_jet_pt=0, max_jet_pt=500)
"""That of the earlier program, taken wherever a file or a run does not say its own."""


class CutflowStep(BaseModel):
    """Number of events and jets after one step, with sums of weights if there are any."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: str
    events: int
    jets: int
    sum_of_weights: float | None = None


class Cuts(BaseModel):
    """Cuts on the jets, so that files with different cuts are not mixed.

    `event_selection` and `jet_selection` hold conditions on branches of the ntuple by their names in the cutflow;
    `event_filter` is that of `build`, on columns of the file of jets. None: not known, or no such cut.
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

    `event_count` holds the bins of the ntuple's MetaData_EventCount by their labels.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    event_count: dict[str, float] = Field(default_factory=dict)
    events_read: int = 0
    sum_of_weights_read: float | None = None
    sum_of_weights_squared_read: float | None = None
    run_numbers: list[int] = Field(default_factory=list)
    channel_numbers: list[int] = Field(default_factory=list)


_LARGEST_PADDING = 1e6


def padding_mistake(padding: Mapping[str, Sequence[float]], schema: Schema = CALRATIO_2019) -> str | None:
    """A sentence on padding rows that cannot be, None where they can: zeros, or what scaling made of zeros."""
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
        stage: 'converted' (GeV, MeV), 'built' (scaled), or 'unknown' (a legacy frame says nothing of itself).
        kind: of a built file: 'main' or 'control'.
        data_type: of a converted file.
        cuts: selection of jets, one entry for each different one among the inputs; pt in GeV. Empty: not known.
        simulation: simulation of the events if it is not the experiment's own, e.g. 'demo'.
        padding: the padding row of each kind of constituent.
        feature_schema: the features of the jets; not written where it is the default, which files without it have.
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


_TRUTH_UNITS = {
    **{"llp_mH": "GeV", "llp_mS": "GeV", "llp_pt": "GeV"},
    **{"llp_eta": "1", "llp_phi": "rad", "llp_Lxy": "mm", "llp_Lz": "mm"},
}


def converted_units(schema: Schema = CALRATIO_2019) -> dict[str, str]:
    """Units of every column of a converted file, by column name."""
    units = {name: feature.unit for name, feature in schema.columns.items()}
    return {name: units[name] for name in schema.jet_columns} | _TRUTH_UNITS | units


def built_units(schema: Schema = CALRATIO_2019) -> dict[str, str]:
    """Units of every column of a training file, by column name."""
    return converted_units(schema) | {name: feature.built_unit for name, feature in schema.columns.items()}
