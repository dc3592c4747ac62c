"""Architectures that turn a jet's constituents of one kind into a vector of fixed width, chosen by name.

One file adds an architecture: a subclass of `Encoder` and `register_encoder(...)` of it. This module loads without
PyTorch, since shapes and names of weights are asked where no network runs.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from cal_ratio_trainer.errors import ConfigError, UserError, did_you_mean

if TYPE_CHECKING:
    import torch
    from torch import nn

DEFAULT_ENCODER = "lstm"
"""Architecture of the 2019 network, and of every network that does not name one."""

_MAX_OPTION = 1024
"""Limit on the options of an encoder, which are numbers of layers and widths; they may come from an untrusted file."""

_BUILT_IN = {
    "lstm": "cal_ratio_trainer.network.encoders.lstm",
    "deep_sets": "cal_ratio_trainer.network.encoders.deep_sets",
    "transformer": "cal_ratio_trainer.network.encoders.transformer",
}
"""The module that registers each encoder of this package."""

LAYER_NORM_EPSILON = 1e-5
"""Added to the variance in a layer norm, as PyTorch does."""

ONE_MORE_SLOT = np.array([0, 0, 0, 0, 1, 0], dtype=np.int64)
"""Argument of ONNX' Pad for a last slot of zeros in [jets, slots, features]."""


@dataclass(frozen=True)
class BranchShape:
    """One kind of constituent and the widths of its encoder.

    Attributes:
        name: of the kind, e.g. 'clusters'.
        slots: constituents beyond this many in a jet are not read.
        inputs: numbers of each constituent, without masses.
        dense: widths of the layers on each constituent.
        lstm_units: width of the LSTM; an encoder without one may take another width (`Encoder.width`).
        options: the encoder's own ones by name, all of them (`Encoder.checked_options`).
    """

    name: str
    slots: int
    inputs: int
    dense: tuple[int, ...]
    lstm_units: int
    options: tuple[tuple[str, int], ...] = ()


class UnknownEncoder(UserError):
    """No encoder of this name is registered."""

    def __init__(self, name: str) -> None:
        known = sorted(_BUILT_IN.keys() | _registered.keys())
        super().__init__(
            f"encoder {name!r:.80} is not known{did_you_mean(name, known)}; known are {', '.join(known)}. An encoder "
            "from another package is known once the module that registers it is imported"
        )


class GraphBuilder(Protocol):
    """An ONNX graph that takes nodes and constants."""

    def add(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Adds a node with one output; returns the output's name."""

    def constant(self, name: str, values: np.ndarray[Any, Any] | np.floating[Any]) -> str:
        """Adds a constant; returns its name."""


class Encoder(ABC):
    """An architecture: (packed constituents of one branch, settings) -> [jets, width].

    Attributes:
        name: in settings, networks and exports.
        formats: names of the network formats that can hold it, besides safetensors, which holds every one.
        pytorch_only: it runs on PyTorch's operations alone, which `auto` then chooses.
        any_length: its ONNX nodes take any number of slots, 0 included, so that empty ones need not be fed.
        input_layer: name of the one dense layer, with `kernel` and `bias`, that reads the constituents; None where
            there is no such layer, and the inputs cannot be standardised.
        options: its own settings (`encoder_options`) with their defaults, all at least 1.
    """

    name: ClassVar[str]
    formats: ClassVar[frozenset[str]] = frozenset()
    pytorch_only: ClassVar[bool] = False
    any_length: ClassVar[bool] = False
    input_layer: ClassVar[str | None] = None
    options: ClassVar[Mapping[str, int]] = {}

    @abstractmethod
    def module(self, branch: BranchShape, inputs: int, layers: int, generator: "torch.Generator") -> "nn.Module":
        """A module with initial weights.

        Its `forward(batch, dropout, engine)` takes a `network.batch.BranchBatch`, a `DropoutSource` or None, and the
        `Engine`; it returns [jets, `width(branch)`] in the batch's order. The classifier applies the dropout behind
        it. Weights called `kernel` are under the L1 and L2 penalty.

        Args:
            branch: the kind of constituent and the widths.
            inputs: numbers of each constituent, masses included.
            layers: number of stacked layers (`lstm_layers`).
            generator: of the initial weights.
        """

    def weight_shapes(self, branch: BranchShape, inputs: int, layers: int) -> dict[str, tuple[int, ...]]:
        """Every weight of the module by name; arguments as `module`."""
        import torch

        # Without memory for the weights: their widths may come from an untrusted file.
        with torch.device("meta"):
            module = self.module(branch, inputs, layers, torch.Generator())
        return {name: tuple(weight.shape) for name, weight in module.named_parameters()}

    def width(self, branch: BranchShape) -> int:
        """Width of the vector that a jet's constituents of one kind become."""
        return branch.lstm_units

    def masks(self, branch: BranchShape) -> int:
        """Number of dropout masks that `forward` draws for a kind of constituent."""
        return 0

    def step_floats(self, branch: BranchShape, inputs: int) -> tuple[float, float] | None:
        """Numbers of one constituent at the peak of a step: kept for the gradient, and computed beside it.

        None predicts the memory of the LSTM.
        """
        return None

    def engine(self, wanted: str) -> str:
        """The setting `engine` for this encoder. Raises ConfigError where it cannot run on the one that is wanted."""
        if not self.pytorch_only or wanted == "torch":
            return wanted
        if wanted != "auto":
            raise ConfigError(
                [f"engine is {wanted}, but encoder {self.name} runs on PyTorch's operations alone: give torch or auto"]
            )
        return "torch"

    def checked_options(self, given: Sequence[str]) -> tuple[tuple[str, int], ...]:
        """All options, those that are not given with their defaults.

        Args:
            given: NAME=NUMBER each.

        Raises:
            ConfigError: a name is unknown, or a value is no whole number from 1 to 1024.
        """
        options = dict(self.options)
        for word in given:
            name, _, number = word.partition("=")
            if name not in options:
                known = ", ".join(options) if options else "none"
                raise ConfigError(
                    [f"encoder {self.name} has no option {name!r}{did_you_mean(name, options)}; its options: {known}"]
                )
            if not re.fullmatch(r"0*[1-9][0-9]{0,3}", number) or int(number) > _MAX_OPTION:
                raise ConfigError([f"encoder_options has {word!r:.80}, expected {name}=NUMBER from 1 to {_MAX_OPTION}"])
            options[name] = int(number)
        return tuple(options.items())

    def add_to_onnx(
        self,
        graph: GraphBuilder,
        source: str,
        filled: str,
        weights: Mapping[str, np.ndarray[Any, Any]],
        branch: BranchShape,
    ) -> str:
        """Adds the module's nodes to an ONNX graph, if `formats` contains ONNX.

        Args:
            graph: takes nodes; names begin with the branch's.
            source: float32 [jets, slots, inputs], padded: an empty slot holds the padding row.
            filled: float32 [jets, slots, 1], 1 in a slot with a constituent and 0 in an empty one.
            weights: of the module by name, float32.
            branch: see `module`.

        Returns:
            The tensor [jets, `width(branch)`].
        """
        raise NotImplementedError(f"encoder {self.name} has no ONNX nodes")


_registered: dict[str, Encoder] = {}


def register_encoder(encoder: Encoder) -> Encoder:
    """Registers an encoder by its name; returns it."""
    _registered[encoder.name] = encoder
    return encoder


def encoder_named(name: str) -> Encoder:
    """The encoder of a name. Raises UnknownEncoder, which names those that are known."""
    if name not in _registered and name in _BUILT_IN:
        import_module(_BUILT_IN[name])
    if name not in _registered:
        raise UnknownEncoder(name)
    return _registered[name]
