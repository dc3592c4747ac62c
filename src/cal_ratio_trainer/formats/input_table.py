"""What a network takes, in words: every input in order, with its unit and what has to be done to it before."""

from dataclasses import dataclass
from typing import Any

from cal_ratio_trainer.formats.layers import JET_INPUT, input_name
from cal_ratio_trainer.formats.onnx_preprocessing import (
    CONVERTED_JETS,
    Preprocessing,
    converted_input,
)
from cal_ratio_trainer.jets import CONSTITUENTS
from cal_ratio_trainer.jets.metadata import converted_units
from cal_ratio_trainer.jets.schema import (
    CLUSTER_LAYERS,
    CLUSTERS,
    GEV_A_TEV,
    JET_INPUTS,
    MEV_A_GEV,
    MISSING_T0,
    MUON_SEGMENTS,
    TRACK_Z0_UNIT_MM,
    TRACKS,
    Constituent,
)
from cal_ratio_trainer.network.encoders.base import BranchShape
from cal_ratio_trainer.network.shape import NetworkShape

_ORDER = {
    CLUSTERS.name: "highest pt first",
    TRACKS.name: "highest pt first",
    MUON_SEGMENTS.name: "as in the event",
}


@dataclass(frozen=True)
class InputNumber:
    """One number of an input: what it is called in files of jets, its unit there, and what the network reads."""

    name: str
    unit: str
    reads: str


@dataclass(frozen=True)
class InputArray:
    """One input of a network.

    Attributes:
        name: in the file.
        holds: clusters, tracks, muon_segments or jet.
        shape: for one jet.
        numbers: its last axis.
        order: how constituents are sorted; '' for the jet itself.
        empty_slot: what stands in a slot without a constituent; None for the jet itself.
    """

    name: str
    holds: str
    shape: tuple[int, ...]
    numbers: tuple[InputNumber, ...]
    order: str = ""
    empty_slot: tuple[float, ...] | None = None

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        plain: dict[str, Any] = {"name": self.name, "holds": self.holds, "shape": list(self.shape)}
        if self.empty_slot is not None:
            plain |= {"order": self.order, "empty_slot": list(self.empty_slot)}
        return plain | {"numbers": [vars(number) for number in self.numbers]}


def input_arrays(
    shape: NetworkShape, preprocessing: Preprocessing, mass_names: tuple[str, ...], converted: bool
) -> tuple[InputArray, ...]:
    """The inputs of a network in order.

    Args:
        shape: the network's shape.
        preprocessing: what it wants done to converted jets.
        mass_names: the masses that it reads, 'llp_mH' or 'llp_mS'; as many as the shape says.
        converted: whether the file does all of that itself.
    """
    kinds = {kind.name: kind for kind in CONSTITUENTS}
    branches = [
        _branch_array(kinds[branch.name], branch, preprocessing, mass_names, converted) for branch in shape.branches
    ]
    units = converted_units()
    own = [
        InputNumber(name, units[name], name if converted else _jet_number(name, preprocessing)) for name in JET_INPUTS
    ]
    own += [InputNumber(name, "GeV", name if converted else f"{name} / {GEV_A_TEV:g}") for name in mass_names]
    name = CONVERTED_JETS if converted else JET_INPUT
    return (*branches, InputArray(name, "jet", (shape.jet_inputs,), tuple(own)))


def _branch_array(
    kind: Constituent, branch: BranchShape, preprocessing: Preprocessing, mass_names: tuple[str, ...], converted: bool
) -> InputArray:
    columns, features = zip(*((kind.columns[i], kind.features[i]) for i in kind.inputs), strict=True)
    numbers = [
        InputNumber(
            column, feature.unit, column if converted else _constituent_number(kind, feature.name, preprocessing)
        )
        for column, feature in zip(columns, features, strict=True)
    ]
    padding = tuple(float(value) for value in preprocessing.padding_of(branch))
    if converted:
        name, padding = converted_input(branch), (0.0,) * branch.inputs
    else:
        name, padding = input_name(branch), padding + (0.0,) * len(mass_names)
        numbers += [InputNumber(mass, "GeV", f"{mass} / {GEV_A_TEV:g}") for mass in mass_names]
    return InputArray(name, kind.name, (branch.slots, len(numbers)), tuple(numbers), _ORDER[kind.name], padding)


def _jet_number(name: str, preprocessing: Preprocessing) -> str:
    return _in_range(name, 1, preprocessing) if name == "jet_pt" else name


def _constituent_number(kind: Constituent, feature: str, preprocessing: Preprocessing) -> str:
    column = kind.columns[kind.position(feature)]
    if feature == "pt":
        return _in_range(column, MEV_A_GEV if kind is CLUSTERS else 1, preprocessing)
    if feature == "eta":
        prefix = kind.prefix
        summed = f"{prefix}_eta * {prefix}_pt over the (at most {kind.limit}) slots filled here, pt unscaled,"
        return f"{column}, negated where the sum of {summed} is negative"
    if kind is CLUSTERS and feature in CLUSTER_LAYERS:
        return f"{column} / sum of the cluster's eight layers; 0 where that is not finite"
    if kind is TRACKS and feature == "z0":
        return f"{column} / {TRACK_Z0_UNIT_MM:g}"
    if feature == "t0" and preprocessing.missing_t0 is not None:
        return f"{column}, {preprocessing.missing_t0:g} where it is {MISSING_T0:g} (not measured)"
    return column


def _in_range(column: str, unit: float, preprocessing: Preprocessing) -> str:
    scaling = preprocessing.scaling
    width = (scaling.max_jet_pt - scaling.min_jet_pt) * unit
    return f"({column} - {scaling.min_jet_pt:g}) / {width:g}" if scaling.min_jet_pt else f"{column} / {width:g}"
