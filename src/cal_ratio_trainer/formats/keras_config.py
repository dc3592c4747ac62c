"""The graph of layers that a Keras config describes, in the form of Keras 2, of Keras 3 or of frugally-deep.

What the layers must be is not asked here.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from cal_ratio_trainer.errors import did_you_mean
from cal_ratio_trainer.formats.graph import WEIGHT_NAMES, Graph, GraphLayer
from cal_ratio_trainer.formats.stored_layers import BadNetworkFile, BadWeightsFile, StoredLayer

_MAX_LAYERS = 200
_MAX_NAME_CHARACTERS = 200
_KERAS = ("keras", "tf_keras", "tensorflow")
_HARMLESS_ARGUMENTS: tuple[Any, ...] = (None, False, {})


class BadArchitecture(BadNetworkFile):
    """A config is none of Keras', or describes another network; names the layer."""


def architecture_of(config: Any) -> Graph:
    """The graph in a config.

    Args:
        config: parsed JSON of a Keras config: {"class_name": "Functional", "config": {"layers": [...], ...}}.

    Raises:
        BadArchitecture: it is none, a layer reads one that is not there, or a layer is used more than once.
    """
    kind = _get(config, "class_name", str, "the config")
    if kind not in ("Functional", "Model"):
        raise BadArchitecture(f"describes a {kind!a:.80} model, expected a Functional one")
    content = _get(config, "config", dict, "the config")
    entries = _get(content, "layers", list, "the config")
    if len(entries) > _MAX_LAYERS:
        raise BadArchitecture(f"has {len(entries)} layers; networks of at most {_MAX_LAYERS} are read")
    layers: dict[str, GraphLayer] = {}
    for entry in entries:
        layer = _layer(entry)
        if layer.name in layers:
            raise BadArchitecture(f"has two layers named {layer.name!r}")
        layers[layer.name] = layer
    _check_sources(layers)
    inputs = tuple(_inputs(content, layers))
    return Graph(layers, inputs, _output(content, layers))


def with_weights(graph: Graph, stored: Mapping[str, StoredLayer]) -> Graph:
    """A graph with the weights of its layers, kernels [in, out].

    Args:
        graph: of a file.
        stored: the file's layers with weights, by name, as Keras keeps them.

    Raises:
        BadWeightsFile: a layer with weights lacks them, or has another number.
    """
    layers = {}
    for name, layer in graph.layers.items():
        parts = WEIGHT_NAMES.get(layer.kind, ())
        if parts and name not in stored:
            raise BadWeightsFile(f"the weights of layer {name!r} are missing")
        arrays = stored[name].arrays if parts else ()
        if len(arrays) != len(parts):
            raise BadWeightsFile(f"layer {name!r} has {len(arrays)} weights, expected {len(parts)}")
        # A kernel-1 convolution is a dense layer on rows; Keras gives its kernel one more axis, [1, in, out].
        plain = (array[0] if array.ndim == 3 and len(array) == 1 else array for array in arrays)
        layers[name] = replace(layer, weights=dict(zip(parts, plain, strict=True)))
    return replace(graph, layers=layers)


def _get(holder: Any, key: str, kind: type, where: str) -> Any:
    found = holder.get(key) if isinstance(holder, dict) else None
    if not isinstance(found, kind):
        raise BadArchitecture(f"{where} has no {key} that is a {kind.__name__}")
    return found


def _layer(entry: Any) -> GraphLayer:
    config = _get(entry, "config", dict, "a layer")
    name = _name(entry, config)
    where = f"layer {name!r}"
    kind, nodes = _kind(entry, where), _get(entry, "inbound_nodes", list, where)
    if len(nodes) > 1:
        raise BadArchitecture(f"{where} is used {len(nodes)} times, expected once")
    return GraphLayer(kind, name, tuple(_sources(nodes, where)), config)


def _name(entry: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    name = entry.get("name", config.get("name"))
    if not isinstance(name, str) or config.get("name", name) != name:
        raise BadArchitecture(f"has a layer that is called {name!r:.80} and {config.get('name')!r:.80}")
    if len(name) > _MAX_NAME_CHARACTERS:
        raise BadArchitecture(f"has a layer with a name of {len(name)} characters; {_MAX_NAME_CHARACTERS} are read")
    return name


def _kind(entry: Mapping[str, Any], where: str) -> str:
    kind: str = _get(entry, "class_name", str, where)
    if len(kind) > _MAX_NAME_CHARACTERS or not kind.isidentifier():
        raise BadArchitecture(f"{where} is of a class {kind!r:.80}, which is no name of one")
    if made_elsewhere := _foreign_origin(entry, kind):
        raise BadArchitecture(f"{where} is of a class {kind} that is not Keras' own: {made_elsewhere!r:.80}")
    return kind


def _foreign_origin(entry: Mapping[str, Any], kind: str) -> Any:
    """Origin of a custom class, which may compute anything under a name of Keras; None for Keras' own classes."""
    module, registered = entry.get("module"), entry.get("registered_name")
    if module is not None and str(module).partition(".")[0] not in _KERAS:
        return module
    return registered if registered not in (None, kind) else None


def _sources(nodes: Sequence[Any], where: str) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, dict):
            if any(value not in _HARMLESS_ARGUMENTS for value in _get(node, "kwargs", dict, where).values()):
                raise BadArchitecture(f"{where} is called with {node['kwargs']!r:.80}, which is not understood")
            yield from _keras_3_sources(_get(node, "args", list, where), where)
        elif isinstance(node, list):
            for connection in node:
                yield _keras_2_source(connection, where)
        else:
            raise BadArchitecture(f"{where} has a connection that is not understood: {node!r:.80}")


def _keras_3_sources(arguments: Sequence[Any], where: str) -> Iterator[str]:
    # A layer that joins others takes them as one argument, a list.
    joined = arguments[0] if len(arguments) == 1 and isinstance(arguments[0], list) else arguments
    for tensor in joined:
        history = _get(_get(tensor, "config", dict, where), "keras_history", list, where)
        yield _keras_2_source(history, where)


def _keras_2_source(connection: Any, where: str) -> str:
    # [name, node, tensor] and, in Keras 2, arguments of the call
    if not isinstance(connection, list) or len(connection) not in (3, 4) or not isinstance(connection[0], str):
        raise BadArchitecture(f"{where} has a connection that is not understood: {connection!r:.80}")
    if any(type(number) is not int or number for number in connection[1:3]) or connection[3:] not in ([], [{}]):
        raise BadArchitecture(f"{where} reads {connection!r:.80}, expected the first output of a layer")
    return connection[0]


def _check_sources(layers: Mapping[str, GraphLayer]) -> None:
    for layer in layers.values():
        for source in layer.sources:
            if source not in layers:
                raise BadArchitecture(
                    f"layer {layer.name!r} reads {source!r:.80}, which is not there{did_you_mean(source, layers)}"
                )


def _inputs(content: Mapping[str, Any], layers: Mapping[str, GraphLayer]) -> list[str]:
    said = _connections(content, "input_layers")
    there = [layer.name for layer in layers.values() if layer.kind == "InputLayer"]
    if sorted(said) != sorted(there):
        raise BadArchitecture(f"names the inputs {said!s:.400}, but its input layers are {there!s:.400}")
    return said


def _output(content: Mapping[str, Any], layers: Mapping[str, GraphLayer]) -> str:
    said = _connections(content, "output_layers")
    if len(said) != 1 or said[0] not in layers:
        raise BadArchitecture(f"gives out the layers {said!s:.400}, expected one")
    return said[0]


def _connections(content: Mapping[str, Any], key: str) -> list[str]:
    """Keras 3 writes a single connection without the list around it."""
    said = _get(content, key, list, "the config")
    several = said if all(isinstance(each, list) for each in said) else [said]
    return [_keras_2_source(connection, key) for connection in several]
