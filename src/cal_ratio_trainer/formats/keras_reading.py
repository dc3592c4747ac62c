"""A `.keras` file read into a graph the way Keras 3 finds its parts, for a check of what was just written.

Files of users are read by `keras_file.read_keras`, which is careful with what may be in them; this knows no such care.
"""

import io
import json
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import h5py

from cal_ratio_trainer.formats.graph import WEIGHT_NAMES, Graph, GraphLayer


def read_keras_graph(content: bytes) -> Graph:
    """The network in a `.keras` file.

    The weights of a layer lie under the name of its class, with a number that counts the layers of that class in the
    order of the config. A kernel of a convolution, [1, in, out], comes as [in, out].

    Raises:
        KeyError, ValueError, OSError: the file is damaged or has another layout.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        config = json.loads(archive.read("config.json"))["config"]
        weights = archive.read("model.weights.h5")
    with h5py.File(io.BytesIO(weights), "r") as file:
        layers = {layer.name: layer for layer in _layers(config["layers"], file)}
    ((output, _, _),) = config["output_layers"]
    return Graph(layers, tuple(name for name, _, _ in config["input_layers"]), output)


def _layers(entries: list[dict[str, Any]], file: h5py.File) -> Iterator[GraphLayer]:
    met: Counter[str] = Counter()
    for entry in entries:
        kind, name = entry["class_name"], entry["config"]["name"]
        stem = kind.lower()
        group = f"layers/{stem}_{met[stem]}" if met[stem] else f"layers/{stem}"
        met[stem] += 1
        place = f"{group}/cell/vars" if kind == "LSTM" else f"{group}/vars"
        weights = {part: file[place][str(i)][()] for i, part in enumerate(WEIGHT_NAMES.get(kind, ()))}
        if kind == "Conv1D":
            (weights["kernel"],) = weights["kernel"]
        yield GraphLayer(kind, name, tuple(_sources(entry["inbound_nodes"])), entry["config"], weights)


def _sources(nodes: list[Mapping[str, Any]]) -> Iterator[str]:
    for node in nodes:
        (argument,) = node["args"]
        for tensor in argument if isinstance(argument, list) else [argument]:
            yield tensor["config"]["keras_history"][0]
