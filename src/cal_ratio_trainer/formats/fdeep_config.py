"""The two flavours of frugally-deep's JSON: which version reads which, and the layers as each wants them described."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from cal_ratio_trainer.formats.keras_config import MODEL_NAME, functional_config
from cal_ratio_trainer.formats.layers import OUTPUT_LAYER, Layer, classifier_layers, input_names
from cal_ratio_trainer.network.shape import NetworkShape


class Flavour(StrEnum):
    """Which versions of the library read a file. Those from 0.16 to 0.19 know no LSTM and read neither."""

    KERAS_2 = "fdeep"
    """0.15, the version that DiVertAnalysis uses."""
    KERAS_3 = "fdeep-keras3"
    """0.20 and later."""

    @property
    def default_recurrent_activation(self) -> str:
        """What the library takes where an LSTM's recurrent activation is not said."""
        return "hard_sigmoid" if self is Flavour.KERAS_2 else "sigmoid"

    @property
    def shape_key(self) -> str:
        """How an input layer's config calls its shape."""
        return "batch_input_shape" if self is Flavour.KERAS_2 else "batch_shape"


def architecture(shape: NetworkShape, flavour: Flavour) -> dict[str, Any]:
    """The network without its weights: the config of a functional model of Keras 2 or 3.

    Initialisers, penalties and constraints, which mean nothing any more once there are weights, are left out.
    """
    layers = classifier_layers(shape)
    if flavour is Flavour.KERAS_3:
        return functional_config(layers, input_names(shape), OUTPUT_LAYER)
    return {
        "class_name": "Functional",
        "config": {
            "name": MODEL_NAME,
            "trainable": True,
            "layers": [_keras_2_entry(layer) for layer in layers],
            "input_layers": _connections(input_names(shape)),
            "output_layers": _connections([OUTPUT_LAYER]),
        },
    }


def _keras_2_entry(layer: Layer) -> dict[str, Any]:
    if layer.kind == "InputLayer":
        own: dict[str, Any] = {"batch_input_shape": [None, *layer.output], "dtype": "float32", "sparse": False}
        own["ragged"] = False
    else:
        own = {"trainable": True, "dtype": "float32", **layer.settings}
    nodes = [[[source, 0, 0, {}] for source in layer.sources]]
    return {
        "module": "keras.layers",
        "class_name": layer.kind,
        "config": {"name": layer.name, **own},
        "registered_name": None,
        "name": layer.name,
        "inbound_nodes": nodes if layer.sources else [],
    }


def _connections(names: Sequence[str]) -> list[list[str | int]]:
    return [[name, 0, 0] for name in names]
