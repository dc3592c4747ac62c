"""A network as it was read from a file."""

from collections.abc import Mapping
from dataclasses import dataclass

from cal_ratio_trainer.formats.stored_layers import FloatArray
from cal_ratio_trainer.network.shape import NetworkShape


@dataclass(frozen=True)
class EarlierNetwork:
    """What a file holds.

    Attributes:
        shape: of the network.
        weights: float32 by name, as `shape.weight_shapes` says.
        form: what kind of file it is, e.g. 'HDF5 of Keras 2.11.0, with architecture'.
        layer_names: names of all layers in the file, in its order; empty where it has none.
        dropout_is_said: false where the file does not tell the dropout rate; the shape then has the default.
        notes: what a user should know, a sentence each.
    """

    shape: NetworkShape
    weights: Mapping[str, FloatArray]
    form: str
    layer_names: tuple[str, ...] = ()
    dropout_is_said: bool = True
    notes: tuple[str, ...] = ()
