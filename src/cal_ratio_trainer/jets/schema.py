"""The feature schema: the numbers of a jet and of its constituents, their order, units, limits, branches and scaling.

ROOT branches, Parquet columns, flat columns, scaling and network inputs are all derived from it. The default is the
packaged `schemas/calratio2019.yaml`; a user's schema file adds features to it.
"""

from collections.abc import Mapping
from importlib import resources
from typing import Any, Literal, Self

import pyarrow as pa
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from cal_ratio_trainer.errors import ConfigError, did_you_mean

UNITS_IN_GEV = {"GeV": 1.0, "MeV": 1000.0}
"""One GeV in each unit of energy."""

MEV_A_GEV = UNITS_IN_GEV["MeV"]
GEV_A_TEV = 1000.0

REQUIRED_SCALARS: dict[str, pa.DataType] = {
    "label": pa.int8(),
    "jet_pt": pa.float32(),
    "jet_eta": pa.float32(),
    "jet_phi": pa.float32(),
}
"""Scalar columns without which a table is no table of jets. jet_pt in GeV until built, then scaled to 0-1."""

EVENT_SCALARS: dict[str, pa.DataType] = {
    "eventNumber": pa.uint64(),
    "runNumber": pa.uint32(),
    "mcEventWeight": pa.float64(),
    "llp_mH": pa.float32(),
    "llp_mS": pa.float32(),
    "llp_pt": pa.float32(),
    "llp_eta": pa.float32(),
    "llp_phi": pa.float32(),
    "llp_Lxy": pa.float32(),
    "llp_Lz": pa.float32(),
}
"""Event and truth columns of every file; masses and llp_pt in GeV, llp_Lxy and llp_Lz in mm; null if not known."""

CONVERTED_SCALARS: dict[str, pa.DataType] = {"jet_isClean_LooseBadLLP": pa.int8()}
"""Kept by convert, dropped by build."""

ORIGIN_SCALARS: dict[str, pa.DataType] = {
    "source_file": pa.dictionary(pa.int32(), pa.string()),
    "source_entry": pa.int64(),
    "jet_index": pa.int16(),
    "mcChannelNumber": pa.uint32(),
}
"""Origin of a jet: file, entry of the tree, position in the event's jet list, simulation sample."""

SCALAR_TYPES: dict[str, pa.DataType] = REQUIRED_SCALARS | EVENT_SCALARS | CONVERTED_SCALARS | ORIGIN_SCALARS
"""Types on disk of all scalar columns we know; others travel with the type they have."""

ADDED_COLUMNS = frozenset({"jet_id", "weight", "evaluation_weight", "fold", "jet_nn_qcd", "jet_nn_sig", "jet_nn_bib"})
"""Columns that build and training add to the jets; they would replace features of these names."""

MASS_INPUTS = ("llp_mH", "llp_mS")
"""The masses that a parametrised network reads after the jet's own numbers, one or both, in order."""

MAX_LIMIT = 127
"""Largest number of constituents of one kind in a jet: batches are sorted by it as 8-bit numbers."""

MISSING_T0 = 99999.0
"""Value of MSeg_t0 if the time was not measured. [ns]"""

TRACK_Z0_UNIT_MM = 250.0
"""Unit of z0 of tracks in training files. [mm]"""

_MAY_CHANGE = ("network_input", "branch", "title")
_SCALINGS = ("pt_range", "fraction", "side")
_COLUMN = r"^[A-Za-z][A-Za-z0-9_]*$"


class Affine(BaseModel):
    """Scaling to (value - subtract) / divide_by."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    subtract: float = 0.0
    divide_by: float = 1.0

    @model_validator(mode="after")
    def _does_not_divide_by_zero(self) -> Self:
        if self.divide_by == 0:
            raise ValueError("divide_by must not be 0")
        return self


class Feature(BaseModel):
    """One number of a jet or of a constituent.

    Attributes:
        name: name of the column; for a constituent without the prefix of its kind.
        unit: unit in converted files.
        network_input: the network reads it; otherwise it is stored only.
        branch: name in the ntuple; None for the name of the column.
        title: name in plots, in matplotlib's text; empty for the column's name.
        scaling: scaling by `build`; see `schemas/calratio2019.yaml`. None keeps the number unchanged.
        angle: 'eta' or 'phi' of a constituent that `convert` makes relative to the origin of its kind.
        not_measured: number that stands for "not measured".
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str = Field(pattern=_COLUMN, max_length=60)
    unit: str = Field(max_length=60)
    network_input: bool = True
    branch: str | None = Field(default=None, min_length=1)
    title: str = ""
    scaling: Literal["pt_range", "fraction", "side"] | Affine | None = None
    angle: Literal["eta", "phi"] | None = None
    not_measured: float | None = None

    @field_validator("scaling", mode="before")
    @classmethod
    def _scaling_is_known(cls, given: Any) -> Any:
        if isinstance(given, dict):
            try:
                return Affine.model_validate(given)
            except ValidationError as error:
                raise ValueError(_reason(error.errors()[0]["msg"])) from error
        if given is None or given in _SCALINGS or isinstance(given, Affine):
            return given
        raise ValueError(f"should be {', '.join(_SCALINGS)} or {{subtract: a, divide_by: b}}, got {given!r:.40}")

    @model_validator(mode="after")
    def _has_a_unit_to_scale(self) -> Self:
        if self.scaling == "pt_range" and self.unit not in UNITS_IN_GEV:
            raise ValueError(f"scaling pt_range needs the unit GeV or MeV, got {self.unit!r}")
        return self

    @property
    def built_unit(self) -> str:
        """Unit in a training file."""
        if isinstance(self.scaling, Affine):
            shift = f" after {self.scaling.subtract:g} {self.unit} were subtracted" if self.scaling.subtract else ""
            return f"{self.scaling.divide_by:g} {self.unit}{shift}"
        return {"pt_range": "scaled to 0-1", "fraction": "fraction of the cluster"}.get(str(self.scaling), self.unit)


class Constituent(BaseModel):
    """One kind of constituent.

    Attributes:
        name: name of the kind, e.g. 'clusters'.
        prefix: prefix of the columns.
        limit: number of constituents that a jet keeps at most.
        index_branch: branch with the jets that each constituent belongs to.
        sorted_by: feature by which the constituents of a jet fall; None for the order of the ntuple.
        origin: origin of the angles: the axis of the jet, or the first constituent.
        features: features of a constituent, in order.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    prefix: str = Field(pattern=_COLUMN)
    limit: int = Field(ge=1, le=MAX_LIMIT)
    index_branch: str = Field(min_length=1)
    sorted_by: str | None = None
    origin: Literal["jet", "leading"] = "jet"
    features: tuple[Feature, ...]

    @model_validator(mode="after")
    def _features_fit(self) -> Self:
        names = [feature.name for feature in self.features]
        if self.sorted_by is not None and self.sorted_by not in names:
            raise ValueError(f"sorted_by names no feature: {self.sorted_by!r}{did_you_mean(self.sorted_by, names)}")
        if any(feature.scaling == "side" for feature in self.features) and not {"pt", "eta"} <= set(names):
            raise ValueError("scaling side needs features pt and eta")
        if not self.inputs:
            raise ValueError("network_input must be true for at least one feature")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        """Parquet column names, in feature order, e.g. 'clus_pt'."""
        return tuple(f"{self.prefix}_{feature.name}" for feature in self.features)

    @property
    def branches(self) -> tuple[str, ...]:
        """ROOT branch names, in feature order, e.g. 'track_pT'."""
        return tuple(f.branch or column for f, column in zip(self.features, self.columns, strict=True))

    @property
    def inputs(self) -> tuple[int, ...]:
        """Positions of the features that the network reads, in order."""
        return tuple(i for i, feature in enumerate(self.features) if feature.network_input)

    def position(self, feature_name: str) -> int:
        """Position of a feature among the features of this kind."""
        return [feature.name for feature in self.features].index(feature_name)

    def flat_columns(self, slot: int) -> tuple[str, ...]:
        """Column names of one slot in the earlier program's flat layout, e.g. 'clus_pt_0'."""
        return tuple(f"{column}_{slot}" for column in self.columns)


def _packaged() -> dict[str, Any]:
    """Content of the packaged schema file, its kinds as a list."""
    text = resources.files("cal_ratio_trainer.jets").joinpath("schemas", "calratio2019.yaml").read_text("utf-8")
    content: dict[str, Any] = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    kinds = [{"name": name, **kind} for name, kind in content["constituents"].items()]
    return {**content, "constituents": kinds}


_PACKAGED = _packaged()
_FIRST_OF_JET = tuple(Feature.model_validate(each) for each in _PACKAGED["jet"])
_KINDS = tuple(Constituent.model_validate(each) for each in _PACKAGED["constituents"])


class Schema(BaseModel):
    """All features of a jet. The features of 2019 come first in each kind, so that their positions are the same.

    Attributes:
        jet: numbers of the jet itself; the first three are its pt, eta and phi.
        constituents: clusters, tracks and muon segments.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    jet: tuple[Feature, ...]
    constituents: tuple[Constituent, ...]

    @model_validator(mode="after")
    def _features_fit(self) -> Self:
        for feature in self.jet:
            if feature.angle is not None or feature.scaling in ("fraction", "side"):
                raise ValueError(f"{feature.name}: angle and the scalings fraction and side are for constituents")
        if not self.jet_inputs:
            raise ValueError("jet: network_input must be true for at least one feature")
        columns = [*self.jet_columns, *(column for kind in self.constituents for column in kind.columns)]
        if [(kind.name, kind.prefix, kind.origin) for kind in self.constituents] != [
            (kind.name, kind.prefix, kind.origin) for kind in _KINDS
        ]:
            raise ValueError(
                f"name, prefix and origin of the kinds {', '.join(kind.name for kind in _KINDS)} are fixed"
            )
        _refuse_changed("jet", self.jet, _FIRST_OF_JET)
        for kind, first in zip(self.constituents, _KINDS, strict=True):
            _refuse_changed(kind.name, kind.features, first.features)
        further = (SCALAR_TYPES.keys() - REQUIRED_SCALARS.keys()) | {"label"} | ADDED_COLUMNS
        taken = sorted({name for name in columns if columns.count(name) > 1 or name in further})
        if taken:
            raise ValueError(f"several columns would be called {', '.join(taken)}")
        return self

    @property
    def jet_columns(self) -> tuple[str, ...]:
        """Columns of the jet's own features, in order; they are the features' names."""
        return tuple(feature.name for feature in self.jet)

    @property
    def jet_branches(self) -> tuple[str, ...]:
        """ROOT branch names of the jet's own features, in order."""
        return tuple(feature.branch or feature.name for feature in self.jet)

    @property
    def jet_inputs(self) -> tuple[str, ...]:
        """Columns of the jet itself that the network reads, in order."""
        return tuple(feature.name for feature in self.jet if feature.network_input)

    @property
    def list_columns(self) -> frozenset[str]:
        """Columns of the constituents."""
        return frozenset(column for kind in self.constituents for column in kind.columns)

    @property
    def columns(self) -> dict[str, Feature]:
        """All features by column, first the features of the jet."""
        of_jet = zip(self.jet_columns, self.jet, strict=True)
        return dict(of_jet) | {
            column: feature
            for kind in self.constituents
            for column, feature in zip(kind.columns, kind.features, strict=True)
        }

    @property
    def inputs(self) -> tuple[str, ...]:
        """Columns of all features that the network reads."""
        return tuple(column for column, feature in self.columns.items() if feature.network_input)

    def joined(self, other: Self) -> Self:
        """The features of both, for jets that two networks read.

        Raises:
            ConfigError: a feature of one name differs.
        """
        kinds = [
            kind.model_copy(
                update={
                    "features": _joined(kind.features, more.features),
                    "limit": max(kind.limit, more.limit),
                }
            )
            for kind, more in zip(self.constituents, other.constituents, strict=True)
        ]
        return type(self)(jet=_joined(self.jet, other.jet), constituents=tuple(kinds))

    def kind(self, name: str) -> Constituent:
        """The kind of constituent of a name."""
        return next(kind for kind in self.constituents if kind.name == name)


def _joined(features: tuple[Feature, ...], others: tuple[Feature, ...]) -> tuple[Feature, ...]:
    known = {feature.name: feature for feature in features}
    for other in others:
        facts = [(each.unit, each.scaling, each.angle) for each in (known.get(other.name, other), other)]
        if facts[0] != facts[1]:
            # One number cannot be scaled in two ways.
            raise ConfigError([f"{other.name} has another unit or scaling for one network than for the other"])
    return (*features, *(other for other in others if other.name not in known))


def _refuse_changed(place: str, features: tuple[Feature, ...], first: tuple[Feature, ...]) -> None:
    """Raises ValueError unless the features begin with the features of 2019, of which little can change."""
    if added := [feature.name for feature in features[len(first) :] if feature.scaling == "fraction"]:
        raise ValueError(f"{place}: scaling fraction of {added[0]} would change the fractions of the layers of 2019")
    for number, known in enumerate(first):
        may_differ = {name: getattr(known, name) for name in _MAY_CHANGE}
        if len(features) <= number or features[number].model_copy(update=may_differ) != known:
            raise ValueError(
                f"{place}: {known.name} should be feature {number + 1} as in calratio2019; "
                f"only its {', '.join(_MAY_CHANGE)} can change"
            )


def extended_schema(source: str, content: Mapping[str, Any]) -> Schema:
    """The 2019 schema with what a schema file adds and changes.

    Args:
        source: name of the file, for messages.
        content: content of the file: `jet`, a list of features, and `constituents`, a mapping of kinds to their
            changes. A feature of a new name is added behind the others; `network_input`, `branch` and `title` of a
            known feature can be changed, and `limit`, `index_branch` and `sorted_by` of a kind.

    Raises:
        ConfigError: names all mistakes.
    """
    mistakes: list[str] = []
    mistakes += [f"{key} is unknown{did_you_mean(key, _PACKAGED)}" for key in content if key not in _PACKAGED]
    jet = _with_features(_PACKAGED["jet"], content.get("jet", []), "jet", mistakes)
    kinds = {kind["name"]: kind for kind in _PACKAGED["constituents"]}
    changes = content.get("constituents", {})
    if not isinstance(changes, dict) or not all(isinstance(each, dict) for each in changes.values()):
        mistakes.append("constituents should be a mapping of kinds to mappings")
        changes = {}
    for name, changed in changes.items():
        place = f"constituents.{name}"
        if name not in kinds:
            mistakes.append(f"{place} is unknown; the kinds are {', '.join(kinds)}")
            continue
        features = _with_features(kinds[name]["features"], changed.get("features", []), f"{place}.features", mistakes)
        kinds[name] = {**kinds[name], **changed, "features": features}
    merged = {"jet": jet, "constituents": list(kinds.values())}
    if not mistakes:
        try:
            return Schema.model_validate(merged)
        except ValidationError as error:
            mistakes = [f"{_place(merged, each['loc'])}{_reason(each['msg'])}" for each in error.errors()]
    raise ConfigError([f"{source}: {mistake}" for mistake in dict.fromkeys(mistakes)])


def _with_features(known: list[dict[str, Any]], given: Any, place: str, mistakes: list[str]) -> list[dict[str, Any]]:
    """Known features, changed and extended by the features of a schema file."""
    if not isinstance(given, list) or not all(isinstance(each, dict) and "name" in each for each in given):
        mistakes.append(f"{place} should be a list of features, each with a name")
        return known
    features = {feature["name"]: feature for feature in known}
    names = [str(each["name"]) for each in given]
    for name, each in zip(names, given, strict=True):
        if names.count(name) > 1:
            mistakes.append(f"{place}.{name} is given twice")
        features[name] = features.get(name, {}) | each
    return list(features.values())


def _place(merged: Any, location: tuple[int | str, ...]) -> str:
    """Place of a mistake with names in place of numbers, 'constituents.tracks.features.dEdx.unit: '."""
    named: list[str] = []
    here: Any = merged
    for step in location:
        # A key of a mapping may be a number too.
        in_list = isinstance(here, list)
        here = here[step] if in_list else here.get(step) if isinstance(here, dict) else None
        named.append(str(here["name"] if in_list else step))
    return f"{'.'.join(named)}: " if named else ""


def _reason(message: str) -> str:
    message = message.removeprefix("Value error, ")
    return message[:1].lower() + message[1:]


CALRATIO_2019 = Schema(jet=_FIRST_OF_JET, constituents=_KINDS)
"""The packaged schema, the default."""

CONSTITUENTS = CLUSTERS, TRACKS, MUON_SEGMENTS = CALRATIO_2019.constituents
JET_INPUTS = CALRATIO_2019.jet_inputs

CLUSTER_LAYERS = tuple(feature.name for feature in CLUSTERS.features if feature.scaling == "fraction")
