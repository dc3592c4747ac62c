"""The config.json of a Keras 3 model: written from a list of layers, and read back to the shape of a network.

Only what Keras 3.0 knew already is written, so that every later version opens it; initialisers and penalties mean
nothing any more once there are weights, and are left out.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cal_ratio_trainer.errors import did_you_mean
from cal_ratio_trainer.formats.layers import BRANCH_PREFIXES, Layer, classifier_layers
from cal_ratio_trainer.jets.schema import CALRATIO_2019, MASS_INPUTS, Schema
from cal_ratio_trainer.network.encoders.base import BranchShape
from cal_ratio_trainer.network.shape import NetworkShape, branch_shape

MODEL_NAME = "model"

_MAX_LAYERS = 500
_MAX_NAME = 200
_MAX_UNITS = 1 << 16


class NotOurNetwork(ValueError):
    """A config.json does not describe a network of this program; says which layer and what about it."""


def functional_config(layers: Sequence[Layer], inputs: Sequence[str], output: str) -> dict[str, Any]:
    """The content of config.json, ready for json.dumps.

    Args:
        layers: all layers, in Keras' order.
        inputs: names of the input layers, in the order in which the model takes its inputs.
        output: name of the last layer.
    """
    by_name = {layer.name: layer for layer in layers}
    return {
        "module": "keras.src.models.functional",
        "class_name": "Functional",
        "config": {
            "name": MODEL_NAME,
            "trainable": True,
            "layers": [_layer_entry(layer, by_name) for layer in layers],
            "input_layers": [[name, 0, 0] for name in inputs],
            "output_layers": [[output, 0, 0]],
        },
        "registered_name": "Functional",
        "build_config": {"input_shape": None},
        "compile_config": None,
    }


def network_shape(config: Any, schema: Schema = CALRATIO_2019) -> NetworkShape:
    """The shape of the classifier that a config.json describes, which reads the features of a schema.

    Settings that change nothing of what is computed (initialisers, ids of objects) may differ from what we write;
    Keras itself may thus have saved the file again.

    Raises:
        NotOurNetwork: it is no classifier of this program, or a layer of it computes something else.
    """
    try:
        entries = _entries(config["config"]["layers"])
        shape = _shape_in(entries, schema)
        output_layers = config["config"]["output_layers"]
        expected = classifier_layers(shape)
        if output_layers not in ([[expected[-1].name, 0, 0]], [expected[-1].name, 0, 0]):
            raise NotOurNetwork(f"gives out {output_layers!r:.80}, expected the layer {expected[-1].name}")
        _check_same_layers(expected, entries)
    except (KeyError, TypeError, IndexError, AttributeError, StopIteration, RecursionError) as error:
        raise NotOurNetwork(f"describes no network of this program ({error!r:.200})") from error
    return shape


def _entries(layers: Sequence[Any]) -> dict[str, Any]:
    """The layer entries of a config by name.

    Raises:
        NotOurNetwork: there are too many, or a name is repeated, too long or given in two ways.
    """
    if len(layers) > _MAX_LAYERS:
        raise NotOurNetwork(f"has {len(layers)} layers; networks of at most {_MAX_LAYERS} are read")
    entries: dict[str, Any] = {}
    for entry in layers:
        name = entry["config"]["name"]
        if not isinstance(name, str) or len(name) > _MAX_NAME or entry.get("name", name) != name:
            raise NotOurNetwork(f"has a layer that is called {name!r:.80} and {entry.get('name')!r:.80}")
        if name in entries:
            raise NotOurNetwork(f"has two layers named {name!r}")
        entries[name] = entry
    return entries


def _layer_entry(layer: Layer, by_name: Mapping[str, Layer]) -> dict[str, Any]:
    if layer.kind == "InputLayer":
        own: dict[str, Any] = {"batch_shape": [None, *layer.output], "dtype": "float32", "sparse": False}
    else:
        own = {"trainable": True, "dtype": "float32", **layer.settings}
    entry: dict[str, Any] = {
        "module": "keras.layers",
        "class_name": layer.kind,
        "config": {"name": layer.name, **own},
        "registered_name": None,
        "name": layer.name,
        "inbound_nodes": [],
    }
    if layer.sources:
        tensors = [_tensor(by_name[source]) for source in layer.sources]
        entry["inbound_nodes"] = [{"args": [tensors] if layer.kind == "Concatenate" else tensors, "kwargs": {}}]
    if layer.weights:
        entry["build_config"] = {"input_shape": [None, *by_name[layer.sources[0]].output]}
    return entry


def _tensor(layer: Layer) -> dict[str, Any]:
    return {
        "class_name": "__keras_tensor__",
        "config": {"shape": [None, *layer.output], "dtype": "float32", "keras_history": [layer.name, 0, 0]},
    }


def _shape_in(entries: Mapping[str, Any], schema: Schema) -> NetworkShape:
    join = next(entry for entry in entries.values() if entry["class_name"] == "Concatenate")
    *ends, jet = _sources(join)
    chains = [list(_chain(entries, end)) for end in ends]
    _, jet_inputs = entries[jet]["config"]["batch_shape"]
    own = len(schema.jet_inputs)
    masses = _whole(jet_inputs, at_least=own) - own
    if masses > len(MASS_INPUTS):
        expected = f"{own} and up to {len(MASS_INPUTS)} masses"
        raise NotOurNetwork(f"layer {jet!r} has {jet_inputs} inputs, expected {expected}")
    dense = [entry for entry in entries.values() if entry["class_name"] == "Dense"]
    return NetworkShape(
        branches=tuple(_branch_in(chain, masses, schema) for chain in chains),
        hidden=tuple(_whole(entry["config"]["units"]) for entry in dense[:-1]),
        lstm_layers=sum(entry["class_name"] == "LSTM" for entry in chains[0]),
        masses=masses,
        dropout=_rate(chains[0][-1]["config"]["rate"]),
        schema=schema,
    )


def _whole(number: Any, at_least: int = 1) -> int:
    if type(number) is not int or not at_least <= number <= _MAX_UNITS:
        raise NotOurNetwork(
            f"describes no network of this program: {number!r:.40} is no whole number from {at_least} to {_MAX_UNITS}"
        )
    return number


def _rate(rate: Any) -> float:
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate < 1:
        raise NotOurNetwork(f"a dropout rate is {rate!r:.40}, expected a share below 1")
    return float(rate)


def _chain(entries: Mapping[str, Any], end: str) -> Iterator[Any]:
    """The layers of a branch, from its input to `end`."""
    backwards = [entries[end]]
    while sources := _sources(backwards[-1]):
        if len(backwards) > len(entries):
            raise NotOurNetwork("has layers that go round in a circle")
        backwards.append(entries[sources[0]])
    yield from reversed(backwards)


def _branch_in(chain: Sequence[Any], masses: int, schema: Schema) -> BranchShape:
    first = chain[0]["config"]["name"]
    kinds = {f"{prefix}_input_cr": name for name, prefix in BRANCH_PREFIXES.items()}
    if first not in kinds:
        raise NotOurNetwork(f"has a branch that begins with {first!r}, expected one of {', '.join(kinds)}")
    dense = tuple(_whole(entry["config"]["filters"]) for entry in chain if entry["class_name"] == "Conv1D")
    units = [_whole(entry["config"]["units"]) for entry in chain if entry["class_name"] == "LSTM"]
    branch = branch_shape(kinds[first], dense, units[-1], schema)
    found, expected = chain[0]["config"]["batch_shape"], [None, branch.slots, branch.inputs + masses]
    if found != expected:
        raise NotOurNetwork(f"layer {first!r}: batch_shape is {found!r:.80}, expected {expected}")
    return branch


def _sources(entry: Mapping[str, Any]) -> list[str]:
    nodes = entry["inbound_nodes"]
    return [name for node in nodes for name in _histories(node["args"])]


def _histories(argument: Any) -> Iterator[str]:
    if isinstance(argument, list):
        for part in argument:
            yield from _histories(part)
    elif isinstance(argument, dict) and argument.get("class_name") == "__keras_tensor__":
        yield str(argument["config"]["keras_history"][0])


def _check_same_layers(expected: Sequence[Layer], entries: Mapping[str, Any]) -> None:
    names = [layer.name for layer in expected]
    for name in entries.keys() - set(names):
        raise NotOurNetwork(f"has a layer {name!r} that the network lacks{did_you_mean(name, names)}")
    for layer in expected:
        if layer.name not in entries:
            raise NotOurNetwork(f"lacks the layer {layer.name!r}{did_you_mean(layer.name, entries)}")
        _check_same_layer(layer, entries[layer.name])


def _check_same_layer(layer: Layer, entry: Mapping[str, Any]) -> None:
    wanted = {"class": layer.kind, "sources": list(layer.sources), **layer.settings}
    found = {"class": entry["class_name"], "sources": _sources(entry)}
    found |= {name: entry["config"].get(name) for name in layer.settings}
    if layer.kind == "InputLayer":
        wanted["batch_shape"], found["batch_shape"] = [None, *layer.output], entry["config"].get("batch_shape")
    for name, value in wanted.items():
        if found[name] != value or isinstance(found[name], bool) != isinstance(value, bool):
            raise NotOurNetwork(f"layer {layer.name!r}: {name} is {found[name]!r:.80}, expected {value!r}")
