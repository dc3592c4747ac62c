"""Architectures in the configs of Keras 2 and 3, as in Keras and frugally-deep files: the layers of a `Graph`.

The configs are untrusted: each message names the layer, and quotes at most some words of the file.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from cal_ratio_trainer.errors import did_you_mean
from cal_ratio_trainer.formats.graph import Graph
from cal_ratio_trainer.formats.layers import Layer
from cal_ratio_trainer.formats.stored_network import BadNetworkFile

_MAX_LAYERS = 1000
_MAX_NAME_CHARACTERS = 200
_KERAS = ("keras", "tf_keras", "tensorflow")
_HARMLESS_ARGUMENTS: tuple[Any, ...] = (None, False, {})


class BadArchitecture(BadNetworkFile):
    """A config is not one of Keras, or describes another network; names the layer."""


def architecture_of(config: Any) -> Graph:
    """The graph in a config, without weights.

    Args:
        config: parsed JSON of a Keras config: {"class_name": "Functional", "config": {"layers": [...], ...}}.

    Raises:
        BadArchitecture: the config is no architecture, a layer reads one that is missing, or is used more than once.
    """
    kind = _get(config, "class_name", str, "the config")
    if kind not in ("Functional", "Model"):
        raise BadArchitecture(f"describes a {kind!a:.80} model, expected a Functional one")
    content = _get(config, "config", dict, "the config")
    entries = _get(content, "layers", list, "the config")
    if len(entries) > _MAX_LAYERS:
        raise BadArchitecture(f"has {len(entries)} layers; networks of at most {_MAX_LAYERS} are read")
    layers: dict[str, Layer] = {}
    for entry in entries:
        layer = _layer(entry)
        if layer.name in layers:
            raise BadArchitecture(f"has two layers named {layer.name!r}")
        layers[layer.name] = layer
    for layer in layers.values():
        for source in layer.sources:
            if source not in layers:
                hint = did_you_mean(source, layers)
                raise BadArchitecture(f"layer {layer.name!r} reads {source!r:.80}, which is not there{hint}")
    inputs, outputs = (_connections(content, key) for key in ("input_layers", "output_layers"))
    there = [layer.name for layer in layers.values() if layer.kind == "InputLayer"]
    if sorted(inputs) != sorted(there):
        raise BadArchitecture(f"names the inputs {inputs!s:.400}, but its input layers are {there!s:.400}")
    if len(outputs) != 1 or outputs[0] not in layers:
        raise BadArchitecture(f"gives out the layers {outputs!s:.400}, expected one")
    return Graph(layers, tuple(inputs), outputs[0])


def _get(holder: Any, key: str, kind: type, where: str) -> Any:
    found = holder.get(key) if isinstance(holder, dict) else None
    if not isinstance(found, kind):
        raise BadArchitecture(f"{where} has no {key} that is a {kind.__name__}")
    return found


def _layer(entry: Any) -> Layer:
    config = _get(entry, "config", dict, "a layer")
    name = entry.get("name", config.get("name"))
    if not isinstance(name, str) or config.get("name", name) != name:
        raise BadArchitecture(f"has a layer that is called {name!r:.80} and {config.get('name')!r:.80}")
    if len(name) > _MAX_NAME_CHARACTERS:
        raise BadArchitecture(f"has a layer with a name of {len(name)} characters; {_MAX_NAME_CHARACTERS} are read")
    where = f"layer {name!r}"
    kind: str = _get(entry, "class_name", str, where)
    if len(kind) > _MAX_NAME_CHARACTERS or not kind.isidentifier():
        raise BadArchitecture(f"{where} is of a class {kind!r:.80}, which is no name of one")
    # A class of someone else's may compute anything under a name of Keras.
    module, registered = entry.get("module"), entry.get("registered_name")
    for origin, is_known in (
        (module, module is None or str(module).partition(".")[0] in _KERAS),
        (registered, registered in (None, kind)),
    ):
        if not is_known:
            raise BadArchitecture(f"{where} is of a class {kind} that is not Keras' own: {origin!r:.80}")
    nodes = _get(entry, "inbound_nodes", list, where)
    if len(nodes) > 1:
        raise BadArchitecture(f"{where} is used {len(nodes)} times, expected once")
    return Layer(kind, name, tuple(source for node in nodes for source in _sources(node, where)), settings=config)


def _sources(node: Any, where: str) -> Iterator[str]:
    if isinstance(node, list):  # Keras 2
        for connection in node:
            yield _source(connection, where)
    elif isinstance(node, dict):  # Keras 3
        if any(value not in _HARMLESS_ARGUMENTS for value in _get(node, "kwargs", dict, where).values()):
            raise BadArchitecture(f"{where} is called with {node['kwargs']!r:.80}, which is not understood")
        arguments = _get(node, "args", list, where)
        # A layer that joins others takes them as one argument, a list.
        joined = arguments[0] if len(arguments) == 1 and isinstance(arguments[0], list) else arguments
        for tensor in joined:
            yield _source(_get(_get(tensor, "config", dict, where), "keras_history", list, where), where)
    else:
        raise BadArchitecture(f"{where} has a connection that is not understood: {node!r:.80}")


def _source(connection: Any, where: str) -> str:
    # [name, node, tensor] and, in Keras 2, arguments of the call
    if not isinstance(connection, list) or len(connection) not in (3, 4) or not isinstance(connection[0], str):
        raise BadArchitecture(f"{where} has a connection that is not understood: {connection!r:.80}")
    if any(type(number) is not int or number for number in connection[1:3]) or connection[3:] not in ([], [{}]):
        raise BadArchitecture(f"{where} reads {connection!r:.80}, expected the first output of a layer")
    return connection[0]


def _connections(content: Mapping[str, Any], key: str) -> list[str]:
    """Keras 3 writes a single connection without the list around it."""
    said = _get(content, key, list, "the config")
    several = said if all(isinstance(each, list) for each in said) else [said]
    return [_source(connection, key) for connection in several]
