"""Recognition of a CalRatio network in a graph from a file: its shape, its layers, its weights.

The graph is compared with the graph of a network of its shape, layer by layer from the output on. Names decide nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cal_ratio_trainer.formats.architecture import BadArchitecture
from cal_ratio_trainer.formats.graph import Graph
from cal_ratio_trainer.formats.layers import BRANCH_PREFIXES, OUTPUT_LAYER, Layer, classifier_layers
from cal_ratio_trainer.formats.stored_network import StoredNetwork, weights_by_name
from cal_ratio_trainer.jets.schema import CALRATIO_2019, CONSTITUENTS, MASS_INPUTS, Schema
from cal_ratio_trainer.network.encoders.base import BranchShape
from cal_ratio_trainer.network.shape import DEFAULT_SHAPE, NetworkShape, branch_shape

_MAY_BE_UNSAID = {
    *("strides", "padding", "data_format", "dilation_rate", "groups", "use_bias"),
    *("return_state", "go_backwards", "stateful", "dropout", "recurrent_dropout", "axis", "rate"),
}
"""Settings that a file may leave out: our networks have the defaults of Keras and frugally-deep there."""

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
    """Architecture in which a network was recognised.

    Attributes:
        shape: shape of the network.
        names: our name of each layer -> the name in the file.
        dropout_is_said: false if the file does not contain the dropout rate (0.2 then).
    """

    shape: NetworkShape
    names: Mapping[str, str]
    dropout_is_said: bool

    def network(self, graph: Graph) -> StoredNetwork:
        """The network with the weights of the graph; its `form` is left empty. Raises BadWeightsFile."""
        weights = weights_by_name(self.shape, self.names, graph.weights)
        return StoredNetwork(self.shape, weights, "", tuple(graph.layers), self.dropout_is_said)


def recognised(graph: Graph, schema: Schema = CALRATIO_2019) -> Recognised:
    """The network that an architecture describes.

    Args:
        graph: architecture of a file; its weights are not looked at.
        schema: features that it reads.

    Raises:
        BadArchitecture: it is no CalRatio network, or one that computes something else; names the layer.
    """
    for name in graph.layers:
        if name.startswith("adversary"):
            raise BadArchitecture(f"layer {name!r} is of an adversary; the network alone stands in final_model.keras")
    shape, dropout_is_said = _shape(graph, schema)
    expected = {layer.name: layer for layer in classifier_layers(shape)}
    names = dict(_pairs(expected, graph))
    if left_over := [name for name in graph.layers if name not in names.values()]:
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
    rates = [layer.settings.get("rate") for layer in architecture.layers.values() if layer.kind == "Dropout"]
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


def _chain(architecture: Graph, end: str, until: str | None = None) -> list[Layer]:
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


def _branch(chain: Sequence[Layer], name: str, masses: int, schema: Schema) -> BranchShape:
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


def _input_shape(layer: Layer, axes: tuple[str, ...]) -> tuple[int, ...]:
    said = layer.settings.get("batch_shape", layer.settings.get("batch_input_shape"))
    is_shape = isinstance(said, list) and len(said) == len(axes) + 1 and said[0] is None
    if layer.kind != "InputLayer" or not is_shape or any(type(length) is not int for length in said[1:]):
        raise BadArchitecture(f"layer {layer.name!r} is no input of shape [jets, {', '.join(axes)}]")
    return tuple(said[1:])


def _whole(layer: Layer, key: str) -> int:
    number = layer.settings.get(key)
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


def _check_settings(wanted: Layer, found: Layer) -> None:
    for name, value in wanted.settings.items():
        default = value if name in _MAY_BE_UNSAID else False if name == "return_sequences" else None
        said = _plain(found.settings.get(name, default))
        if name not in _CHANGE_NO_SCORE and (said != value or isinstance(said, bool) != isinstance(value, bool)):
            raise BadArchitecture(f"layer {found.name!r}: {name} is {said!r:.80}, expected {value!r}")
    if (dtype := _plain(found.settings.get("dtype", "float32"))) != "float32":
        raise BadArchitecture(f"layer {found.name!r} computes in {dtype!r:.80}, expected float32")
    for name in found.settings.keys() - wanted.settings.keys() - _NOTHING_COMPUTED - {"dtype"}:
        if found.settings[name] not in (None, False):
            said = found.settings[name]
            raise BadArchitecture(f"layer {found.name!r}: {name} is {said!r:.80}, which is not understood")


def _plain(value: Any) -> Any:
    """A setting without the object around it: Keras writes functions and policies in several ways."""
    if isinstance(value, dict) and value.get("class_name") == "function":
        return value.get("config")
    if isinstance(value, dict) and value.get("class_name") in ("DTypePolicy", "Policy"):
        policy = value.get("config")
        return policy.get("name") if isinstance(policy, dict) else None
    return value
