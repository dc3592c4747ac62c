"""Recognition of a CalRatio network from a graph of layers, or from weights alone: its shape and its layers.

A graph is compared with the one that its shape would have, layer by layer from the output on. Names decide nothing.
Weights without architecture are matched by their order and shapes.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any

from cal_ratio_trainer.formats.graph import WEIGHT_NAMES, Graph, GraphLayer
from cal_ratio_trainer.formats.keras_file import BadArchitecture
from cal_ratio_trainer.formats.layers import BRANCH_PREFIXES, OUTPUT_LAYER, Layer, classifier_layers
from cal_ratio_trainer.formats.stored_layers import (
    BadWeightsFile,
    StoredLayer,
    Weights,
    check_number_of_weights,
    weights_of_layer,
)
from cal_ratio_trainer.jets.schema import CALRATIO_2019, CONSTITUENTS, JET_INPUTS, MASS_INPUTS, Schema
from cal_ratio_trainer.network.encoders.base import BranchShape
from cal_ratio_trainer.network.shape import DEFAULT_SHAPE, NetworkShape, branch_shape

_MAY_BE_UNSAID: dict[str, Any] = {
    "strides": [1],
    "padding": "valid",
    "data_format": "channels_last",
    "dilation_rate": [1],
    "groups": 1,
    "use_bias": True,
    "return_sequences": False,
    "return_state": False,
    "go_backwards": False,
    "stateful": False,
    "dropout": 0.0,
    "recurrent_dropout": 0.0,
    "axis": -1,
}
"""Settings that decide what is computed, with what Keras and frugally-deep take where they are not said."""

_CHANGE_NO_SCORE = {"unroll", "unit_forget_bias"}

_NOTHING_COMPUTED = {
    *("name", "trainable", "implementation", "seed", "use_cudnn", "optional", "batch_input_shape", "batch_shape"),
    *(f"{part}_{what}" for part in ("kernel", "recurrent", "bias") for what in ("initializer", "regularizer")),
    *(f"{part}_constraint" for part in ("kernel", "recurrent", "bias")),
    "activity_regularizer",
}
"""Settings that may be anything: once there are weights they change no score."""


@dataclass(frozen=True)
class Recognised:
    """Recognised architecture.

    Attributes:
        shape: of the network.
        names: our name of each layer -> the file's.
        dropout_is_said: false where the file leaves the dropout rate open (0.2 then).
    """

    shape: NetworkShape
    names: Mapping[str, str]
    dropout_is_said: bool


def recognised(architecture: Graph, schema: Schema = CALRATIO_2019) -> Recognised:
    """The network that an architecture describes.

    Args:
        architecture: of a file.
        schema: the features that it reads.

    Raises:
        BadArchitecture: it is no CalRatio network, or one that computes something else; names the layer.
    """
    for name in architecture.layers:
        if name.startswith("adversary"):
            raise BadArchitecture(f"layer {name!r} is of an adversary; the network alone stands in final_model.keras")
    shape, dropout_is_said = _shape(architecture, schema)
    expected = {layer.name: layer for layer in classifier_layers(shape)}
    names = dict(_pairs(expected, architecture))
    if left_over := [name for name in architecture.layers if name not in names.values()]:
        raise BadArchitecture(f"layer {left_over[0]!r} has no part in the scores")
    return Recognised(shape, names, dropout_is_said)


def _shape(architecture: Graph, schema: Schema) -> tuple[NetworkShape, bool]:
    joins = [layer for layer in architecture.layers.values() if layer.kind == "Concatenate"]
    if len(joins) != 1 or len(joins[0].sources) != len(CONSTITUENTS) + 1:
        raise BadArchitecture(f"has {len(joins)} Concatenate layers, expected one that joins 3 branches and the jet")
    *ends, jet = joins[0].sources
    (jet_inputs,) = _input_shape(architecture.layers[jet], ("inputs",))
    own = len(schema.jet_inputs)
    masses = jet_inputs - own
    if not 0 <= masses <= len(MASS_INPUTS):
        raise BadArchitecture(
            f"layer {jet!r} has {jet_inputs} inputs, expected {own} and up to {len(MASS_INPUTS)} masses"
        )
    chains = [_chain(architecture, end) for end in ends]
    tail = _chain(architecture, architecture.output, until=joins[0].name)
    rates = [layer.config.get("rate") for layer in architecture.layers.values() if layer.kind == "Dropout"]
    said = [rate for rate in rates if rate is not None]
    shape = NetworkShape(
        branches=tuple(
            _branch(chain, kind.name, masses, schema) for chain, kind in zip(chains, CONSTITUENTS, strict=True)
        ),
        hidden=tuple(_whole(layer, "units") for layer in tail if layer.kind == "Dense")[:-1],
        lstm_layers=sum(layer.kind == "LSTM" for layer in chains[0]),
        masses=masses,
        dropout=_rate(said[0]) if said else DEFAULT_SHAPE.dropout,
        schema=schema,
    )
    return shape, bool(said)


def _chain(architecture: Graph, end: str, until: str | None = None) -> list[GraphLayer]:
    """The layers from an input, or from behind `until`, to `end`; each of them reads one."""
    backwards = [architecture.layers[end]]
    while backwards[-1].kind != "InputLayer" and backwards[-1].name != until:
        here = backwards[-1]
        if len(here.sources) != 1 or len(backwards) > len(architecture.layers):
            reads = f"{list(here.sources)!s:.400}"
            raise BadArchitecture(f"layer {here.name!r} reads {reads}, expected one layer behind an input")
        backwards.append(architecture.layers[here.sources[0]])
    if until is not None and backwards[-1].name != until:
        raise BadArchitecture(f"layer {end!r} does not read what {until!r} joins")
    return backwards[::-1]


def _branch(chain: Sequence[GraphLayer], name: str, masses: int, schema: Schema) -> BranchShape:
    first, last = chain[0], chain[-1]
    dense = tuple(_whole(layer, "filters") for layer in chain if layer.kind == "Conv1D")
    units = [_whole(layer, "units") for layer in chain if layer.kind == "LSTM"]
    if not dense or not units:
        raise BadArchitecture(f"the branch from {first.name!r} to {last.name!r} lacks a Conv1D or an LSTM layer")
    branch = branch_shape(name, dense, units[-1], schema)
    expected, found = (branch.slots, branch.inputs + masses), _input_shape(first, ("slots", "inputs"))
    if found != expected:
        raise BadArchitecture(f"layer {first.name!r} takes {found} slots and inputs, expected {expected} of {name}")
    prefix = first.name.removesuffix("_input_cr")
    if prefix in BRANCH_PREFIXES.values() and prefix != BRANCH_PREFIXES[name]:
        raise BadArchitecture(f"layer {first.name!r} stands in the place of the {name}")
    return branch


def _input_shape(layer: GraphLayer, axes: tuple[str, ...]) -> tuple[int, ...]:
    said = layer.config.get("batch_shape", layer.config.get("batch_input_shape"))
    is_shape = isinstance(said, list) and len(said) == len(axes) + 1 and said[0] is None
    if layer.kind != "InputLayer" or not is_shape or any(type(length) is not int for length in said[1:]):
        raise BadArchitecture(f"layer {layer.name!r} is no input of shape [jets, {', '.join(axes)}]")
    return tuple(said[1:])


def _whole(layer: GraphLayer, key: str) -> int:
    number = layer.config.get(key)
    if type(number) is not int or not 1 <= number <= 1 << 16:
        raise BadArchitecture(f"layer {layer.name!r}: {key} is {number!r:.80}, expected a whole number from 1 to 65536")
    return number


def _rate(rate: Any) -> float:
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate < 1:
        raise BadArchitecture(f"a dropout rate is {rate!r:.80}, expected a share below 1")
    return float(rate)


def _pairs(expected: Mapping[str, Layer], architecture: Graph) -> Iterator[tuple[str, str]]:
    """Our name and the file's of every layer, walking back from the output through both graphs at once."""
    waiting = [(OUTPUT_LAYER, architecture.output)]
    while waiting:
        ours, theirs = waiting.pop()
        wanted, found = expected[ours], architecture.layers[theirs]
        if found.kind != wanted.kind:
            raise BadArchitecture(
                f"layer {theirs!r} is a {found.kind} layer where one of class {wanted.kind} was expected ({ours})"
            )
        if len(found.sources) != len(wanted.sources):
            raise BadArchitecture(f"layer {theirs!r} reads {len(found.sources)} layers, expected {len(wanted.sources)}")
        _check_settings(wanted, found)
        yield ours, theirs
        waiting += zip(wanted.sources, found.sources, strict=True)


def _check_settings(wanted: Layer, found: GraphLayer) -> None:
    for name, value in wanted.settings.items():
        unsaid = wanted.settings["rate"] if name == "rate" else _MAY_BE_UNSAID.get(name)
        said = _plain(found.config.get(name, unsaid))
        if name not in _CHANGE_NO_SCORE and (said != value or isinstance(said, bool) != isinstance(value, bool)):
            raise BadArchitecture(f"layer {found.name!r}: {name} is {said!r:.80}, expected {value!r}")
    if (dtype := _plain(found.config.get("dtype", "float32"))) != "float32":
        raise BadArchitecture(f"layer {found.name!r} computes in {dtype!r:.80}, expected float32")
    for name in found.config.keys() - wanted.settings.keys() - _NOTHING_COMPUTED - {"dtype"}:
        if found.config[name] not in (None, False):
            said = found.config[name]
            raise BadArchitecture(f"layer {found.name!r}: {name} is {said!r:.80}, which is not understood")


def _plain(value: Any) -> Any:
    """A setting without the object around it: Keras writes functions and policies in several ways."""
    if isinstance(value, dict) and value.get("class_name") == "function":
        return value.get("config")
    if isinstance(value, dict) and value.get("class_name") in ("DTypePolicy", "Policy"):
        policy = value.get("config")
        return policy.get("name") if isinstance(policy, dict) else None
    return value


_MAX_LAYERS_PER_CLASS = 40
_NUMBERED = re.compile(r"(conv1d|lstm|dense|dropout|concatenate)(?:_(\d{1,6}))?")


def network_from_weights(stored: Sequence[StoredLayer], by_class: bool = False) -> tuple[NetworkShape, Weights]:
    """The network of weights in the order of Keras' layers.

    All depths that the branches can have are tried; the order of the layers follows from them, the widths from the
    weights. Where several depths fit, those of the 2019 network are taken.

    Args:
        stored: all layers of a file; those of one class in Keras' order.
        by_class: the layers of one class come after another, classes in alphabetical order, as the newer form has them;
            else they come in the network's order.

    Returns:
        The shape, with the default dropout, and the weights by name.

    Raises:
        BadWeightsFile: no network fits, or several do; names the layer where the 2019 network comes nearest.
    """
    fitting: list[tuple[NetworkShape, Weights]] = []
    refusal = ""
    for skeleton in _skeletons(stored):
        try:
            fitting.append(_filled(skeleton, stored, by_class))
        except BadWeightsFile as error:
            refusal = str(error) if not refusal or _has_known_depths(skeleton) else refusal
    known = [found for found in fitting if _has_known_depths(found[0])]
    chosen = known or fitting
    if len(chosen) != 1:
        depths = "; ".join(str([len(branch.dense) for branch in shape.branches]) for shape, _ in chosen)
        raise BadWeightsFile(f"several networks fit, with {depths} layers in the branches" if chosen else refusal)
    return chosen[0]


def _skeletons(stored: Sequence[StoredLayer]) -> Iterator[NetworkShape]:
    """A network of width 1 for every way in which the convolutions can be shared out among the branches."""
    kinds = [layer.kind for layer in stored]
    convolutions, lstms, dense = (kinds.count(kind) for kind in ("Conv1D", "LSTM", "Dense"))
    branches = len(CONSTITUENTS)
    if lstms < branches or lstms % branches or convolutions < branches or not dense:
        raise BadWeightsFile(
            f"holds weights of {convolutions} Conv1D, {lstms} LSTM and {dense} Dense layers, which make no network of "
            f"{branches} branches"
        )
    if max(convolutions, lstms, dense) > _MAX_LAYERS_PER_CLASS:
        raise BadWeightsFile(f"holds weights of {len(stored)} layers; the networks read here have fewer")
    for first in range(1, convolutions - branches + 2):
        for second in range(1, convolutions - first - branches + 3):
            depths = (first, second, convolutions - first - second)
            yield NetworkShape(
                branches=tuple(
                    branch_shape(kind.name, (1,) * depth, 1) for kind, depth in zip(CONSTITUENTS, depths, strict=True)
                ),
                hidden=(1,) * (dense - 1),
                lstm_layers=lstms // branches,
                dropout=DEFAULT_SHAPE.dropout,
            )


def _has_known_depths(shape: NetworkShape) -> bool:
    return [len(branch.dense) for branch in shape.branches] == [len(branch.dense) for branch in DEFAULT_SHAPE.branches]


def _filled(skeleton: NetworkShape, stored: Sequence[StoredLayer], by_class: bool) -> tuple[NetworkShape, Weights]:
    """A skeleton with the widths that the weights say, and the weights, if they fit."""
    layers = [layer for layer in classifier_layers(skeleton) if layer.weights]
    queues = {kind: iter([each for each in stored if each.kind == kind]) for kind in ("Conv1D", "LSTM", "Dense")}
    pairs = [(layer, next(queues[layer.kind])) for layer in layers]
    all_layers = classifier_layers(skeleton)
    _check_layers(sorted(all_layers, key=lambda layer: layer.kind.lower()) if by_class else all_layers, stored)
    for layer, each in pairs:
        check_number_of_weights(layer, each)
    # The bias of a dense layer has its width, that of an LSTM four times its units.
    widths = {layer.weights[0]: each.arrays[-1].size // (4 if layer.kind == "LSTM" else 1) for layer, each in pairs}
    top = skeleton.lstm_layers - 1
    branches = tuple(
        branch_shape(
            branch.name,
            tuple(widths[f"{branch.name}.dense.{i}.kernel"] for i in range(len(branch.dense))),
            widths[f"{branch.name}.lstm.{top}.kernel"],
        )
        for branch in skeleton.branches
    )
    hidden = tuple(widths[f"hidden.{i}.kernel"] for i in range(len(skeleton.hidden)))
    shape = replace(skeleton, branches=branches, hidden=hidden)
    shape = replace(shape, masses=_masses(shape, pairs))
    shapes = shape.weight_shapes()
    weights: Weights = {}
    for layer, each in pairs:
        weights |= weights_of_layer(layer, each, shapes)
    return shape, weights


def _masses(shape: NetworkShape, pairs: Sequence[tuple[Layer, StoredLayer]]) -> int:
    """Number of masses in the jet's inputs, from the first layer after the branches."""
    layer, first = next((layer, each) for layer, each in pairs if layer.kind == "Dense")
    inputs = int(first.arrays[0].shape[0]) if first.arrays[0].ndim else 0
    masses = inputs - sum(branch.lstm_units for branch in shape.branches) - len(JET_INPUTS)
    if not 0 <= masses <= len(MASS_INPUTS):
        raise BadWeightsFile(
            f"layer {first.name or layer.name!r} ({first.place}): kernel has shape {first.arrays[0].shape}; with these "
            f"LSTM layers that is {masses} masses, expected 0 to {len(MASS_INPUTS)}"
        )
    return masses


def _check_layers(layers: Sequence[Layer], stored: Sequence[StoredLayer]) -> None:
    """All layers, those without weights too, must be those of the network, as far as the file tells of them."""
    if all(each.name for each in stored):
        ours = _without_start([layer.name for layer in layers])
        theirs = _without_start([each.name or "" for each in stored])
        for position, (our_name, their_name) in enumerate(zip_longest(ours, theirs)):
            if our_name != their_name:
                wanted = layers[position].name if position < len(layers) else None
                found = stored[position].name if position < len(stored) else None
                raise BadWeightsFile(f"layer {found!r} stands where {wanted!r} was expected")
    for kind in {layer.kind for layer in layers} | {each.kind for each in stored if each.kind}:
        wanted_count = sum(layer.kind == kind for layer in layers)
        found_count = sum(each.kind == kind for each in stored)
        is_known = kind in WEIGHT_NAMES or not any(each.name for each in stored)
        if wanted_count != found_count and is_known:
            raise BadWeightsFile(f"holds {found_count} layers of class {kind}, expected {wanted_count}")


def _without_start(names: Sequence[str]) -> list[tuple[str, int]]:
    """Names with the numbers that Keras gives replaced by their rank among those of the same stem.

    Where Keras began to count depends on what else a program had built.
    """
    parsed = [_NUMBERED.fullmatch(name) for name in names]
    numbers: dict[str, list[int]] = {}
    for match in parsed:
        if match:
            numbers.setdefault(match[1], []).append(int(match[2] or 0))
    return [
        (match[1], sorted(numbers[match[1]]).index(int(match[2] or 0))) if match else (name, -1)
        for match, name in zip(parsed, names, strict=True)
    ]
