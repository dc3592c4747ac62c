"""Inputs of a network in words: each in order, with its unit and its preparation."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from cal_ratio_trainer.formats.layers import JET_INPUT, input_name
from cal_ratio_trainer.formats.onnx_graph import CONVERTED_JETS, Preprocessing, converted_input
from cal_ratio_trainer.jets.schema import GEV_A_TEV, Constituent, Feature
from cal_ratio_trainer.network.encoders.base import encoder_named
from cal_ratio_trainer.network.shape import NetworkShape


class InputNumber(NamedTuple):
    """One number of an input: its name and unit in files of jets, and what the network reads."""

    name: str
    unit: str
    reads: str


@dataclass(frozen=True)
class InputArray:
    """One input of a network.

    Attributes:
        name: name in the file.
        holds: clusters, tracks, muon_segments or jet.
        shape: shape for one jet.
        numbers: numbers of its last axis.
        order: order of the constituents; '' for the jet itself.
        empty_slot: content of an empty slot; None for the jet itself.
        any_length: empty slots may be left out.
    """

    name: str
    holds: str
    shape: tuple[int, ...]
    numbers: tuple[InputNumber, ...]
    order: str = ""
    empty_slot: tuple[float, ...] | None = None
    any_length: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Returns the input as plain JSON."""
        plain: dict[str, Any] = {"name": self.name, "holds": self.holds, "shape": list(self.shape)}
        if self.empty_slot is not None:
            plain |= {"order": self.order, "empty_slot": list(self.empty_slot)}
        if self.any_length:
            plain["empty_slots_may_be_left_out"] = True
        return plain | {"numbers": [number._asdict() for number in self.numbers]}


def input_arrays(
    shape: NetworkShape, preprocessing: Preprocessing, mass_names: tuple[str, ...], converted: bool
) -> tuple[InputArray, ...]:
    """The inputs of a network in order.

    Args:
        shape: shape of the network.
        preprocessing: preprocessing of converted jets.
        mass_names: masses that it reads, 'llp_mH' or 'llp_mS'; as many as in the shape.
        converted: the file does all of the preprocessing itself.
    """
    any_length = encoder_named(shape.encoder).any_length
    masses = [InputNumber(name, "GeV", name if converted else f"{name} / {GEV_A_TEV:g}") for name in mass_names]
    arrays = []
    for branch in shape.branches:
        kind = shape.schema.kind(branch.name)
        numbers = [
            InputNumber(column, feature.unit, column if converted else _read(kind, column, feature, preprocessing))
            for column, feature in ((kind.columns[i], kind.features[i]) for i in kind.inputs)
        ]
        name, padding = converted_input(branch), (0.0,) * branch.inputs
        if not converted:
            name, numbers = input_name(branch), numbers + masses
            padding = (*(float(value) for value in preprocessing.padding_of(branch)), *(0.0 for _ in masses))
        order = f"highest {kind.sorted_by} first" if kind.sorted_by else "as in the event"
        size = (branch.slots, len(numbers))
        arrays.append(InputArray(name, kind.name, size, tuple(numbers), order, padding, any_length))
    own = [
        InputNumber(each.name, each.unit, each.name if converted else _moved(each.name, each, preprocessing))
        for each in shape.schema.jet
        if each.network_input
    ]
    name = CONVERTED_JETS if converted else JET_INPUT
    return (*arrays, InputArray(name, "jet", (shape.jet_inputs,), (*own, *masses)))


def _read(kind: Constituent, column: str, feature: Feature, preprocessing: Preprocessing) -> str:
    """The formula of a feature of a constituent."""
    if feature.scaling == "side":
        prefix = kind.prefix
        summed = f"{prefix}_eta * {prefix}_pt over the (at most {kind.limit}) slots filled here, pt unscaled,"
        return f"{column}, negated where the sum of {summed} is negative"
    if feature.scaling == "fraction":
        return f"{column} / sum of the cluster's eight layers; 0 where that is not finite"
    if column == "MSeg_t0" and preprocessing.missing_t0 is not None:
        return f"{column}, {preprocessing.missing_t0:g} where it is {feature.not_measured:g} (not measured)"
    return _moved(column, feature, preprocessing)


def _moved(column: str, feature: Feature, preprocessing: Preprocessing) -> str:
    """The formula of a feature that is scaled by a shift and a unit."""
    shift, unit = preprocessing.scaling.shift_and_unit(feature)
    shifted = f"({column} - {shift:g})" if shift else column
    return shifted if unit == 1 else f"{shifted} / {unit:g}"
