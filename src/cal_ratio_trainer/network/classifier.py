"""The classifier: three branches, two hidden layers, three outputs [QCD, signal, BIB]."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cal_ratio_trainer.errors import ConfigError
from cal_ratio_trainer.jets.ragged import IndexArray
from cal_ratio_trainer.network.batch import Batch, BranchBatch, JetTensors
from cal_ratio_trainer.network.dense_chain import ChainPlan, dense_chain
from cal_ratio_trainer.network.dropout import DropoutSource, scale_of
from cal_ratio_trainer.network.encoders.base import encoder_named
from cal_ratio_trainer.network.engine import Engine, engine_for
from cal_ratio_trainer.network.layers import Activation, Dense, dropped
from cal_ratio_trainer.network.shape import OUTPUTS, NetworkShape
from cal_ratio_trainer.network.standardisation import Standardisation

JETS_AT_A_TIME = 8192
_AUXILIARY = "auxiliary."
"""Beginning of the names of parameters that are not the network's."""


class Classifier(nn.Module):
    """A jet -> three logits. Weights are named and laid out as `NetworkShape.weight_shapes` says.

    Auxiliary heads, one dense layer from the vector of each branch to three logits, belong to a training alone: they
    are in its checkpoints, but no weights of the network, under no penalty, and in no exported file.

    After `standardise`, the first layers read standardised constituents. `weights` and `set_weights` still hold the
    weights of the equivalent network that reads the constituents as they are.

    Args:
        shape: shape of the network.
        seed: of the initial weights (Keras' initialisers).
        engine: name of the engine that computes it; 'auto' takes the fastest that the encoder runs on.
        auxiliary_heads: add auxiliary heads.

    Raises:
        ConfigError: the encoder does not run on the engine.
    """

    def __init__(
        self, shape: NetworkShape, seed: int = 0, engine: str = "auto", *, auxiliary_heads: bool = False
    ) -> None:
        super().__init__()
        encoder = encoder_named(shape.encoder)
        self.engine = encoder.engine(engine)
        generator = torch.Generator().manual_seed(seed)
        self.shape = shape
        self._branch_names = [branch.name for branch in shape.branches]
        for branch in shape.branches:
            inputs = branch.inputs + shape.masses
            self.add_module(branch.name, encoder.module(branch, inputs, shape.lstm_layers, generator))
        widths = [shape.encoded_width + shape.jet_inputs, *shape.hidden]
        self.hidden = nn.ModuleList(Dense(inputs, units, generator) for inputs, units in itertools.pairwise(widths))
        self.output = Dense(widths[-1], OUTPUTS, generator)
        if auxiliary_heads:
            self.auxiliary = nn.ModuleList(Dense(encoder.width(each), OUTPUTS, generator) for each in shape.branches)
        self._input_layer = encoder.input_layer
        self.standardised = nn.ModuleDict()

    def standardise(self, jets: JetTensors, positions: IndexArray) -> None:
        """Standardises the constituents from now on, by their mean and spread in some jets; no parameter is changed.

        Args:
            jets: scaled jets.
            positions: of those to take, [n].

        Raises:
            ConfigError: the encoder does not name the layer that reads the constituents.
        """
        if self._input_layer is None:
            encoder = self.shape.encoder
            raise ConfigError([f"standardize_inputs is on, but encoder {encoder} names no input_layer: turn it off"])
        pieces = np.array_split(positions, -(-len(positions) // JETS_AT_A_TIME) or 1)
        batches = [batch.branches for batch in jets.batches(pieces)]
        for branch in self.shape.branches:
            values = [batch[branch.name].values[:-1, : branch.inputs].cpu().numpy() for batch in batches]
            self.standardised[branch.name] = Standardisation.of_values(np.concatenate(values), self.shape.masses)
        self.standardised.to(jets.device)

    def forward(self, batch: Batch, dropout: DropoutSource | None = None) -> Tensor:
        """Logits [jets, 3]; with a dropout source as in training, without as in use."""
        return self.logits(self.encoded(batch, dropout), batch, dropout)

    def encoded(self, batch: Batch, dropout: DropoutSource | None = None) -> list[Tensor]:
        """Vectors [jets, width] of each branch, after dropout; the first half of `forward`."""
        engine = engine_for(batch.jet.device, batch.jet.dtype, self.engine)
        scale, rows = scale_of(dropout), batch.mask_rows
        branches = [
            dropped(self._branch_vectors(name, batch.branches[name], dropout, engine), dropout, engine, rows)
            for name in self._branch_names
        ]
        return [branch * scale if scale != 1.0 else branch for branch in branches]

    def branch_vectors(self, name: str, batch: BranchBatch) -> Tensor:
        """Vectors [jets, width] of one branch as in use, without dropout: its part of what `encoded` gives."""
        return self._branch_vectors(name, batch, None, engine_for(batch.values.device, batch.values.dtype, self.engine))

    def _branch_vectors(self, name: str, batch: BranchBatch, dropout: DropoutSource | None, engine: Engine) -> Tensor:
        if name in self.standardised:
            batch = replace(batch, values=self.standardised[name](batch.values))
        vectors: Tensor = self.get_submodule(name)(batch, dropout, engine)
        return vectors

    def auxiliary_logits(self, encoded: Sequence[Tensor]) -> list[Tensor]:
        """Logits [jets, 3] of each auxiliary head, from what `encoded` gives."""
        return [head(vectors) for head, vectors in zip(self.auxiliary, encoded, strict=True)]

    def logits(self, encoded: Sequence[Tensor], batch: Batch, dropout: DropoutSource | None = None) -> Tensor:
        """Logits [jets, 3] from what `encoded` gives for the same arguments; the second half of `forward`."""
        x, activations = self._combined(encoded, batch, dropout)
        return dense_chain(x, [*self._hidden, self.output], ChainPlan(activations))

    def logits_and_hidden(
        self, encoded: Sequence[Tensor], batch: Batch, dropout: DropoutSource | None = None
    ) -> tuple[Tensor, Tensor]:
        """As `logits`, but for rounding, with the outputs [jets, units] of the last hidden layer."""
        x, activations = self._combined(encoded, batch, dropout)
        hidden = activations[-1].finished(dense_chain(x, self._hidden, ChainPlan(activations[:-1])))
        return self.output(hidden), hidden

    def _combined(
        self, encoded: Sequence[Tensor], batch: Batch, dropout: DropoutSource | None
    ) -> tuple[Tensor, tuple[Activation, ...]]:
        """Input [jets, inputs] of the first hidden layer, and what comes behind each hidden layer."""
        engine, rows = engine_for(batch.jet.device, batch.jet.dtype, self.engine), batch.mask_rows
        # The jet's own numbers have no dropout.
        x = torch.cat([*encoded, batch.jet], dim=1)
        rate = dropout.rate if dropout is not None else 0.0
        keys = [dropout.key() if dropout is not None and dropout.rate else None for _ in self.hidden]
        activations = tuple(Activation(rate, key, False, engine, rows) for key in keys)
        return x, activations

    @property
    def _hidden(self) -> list[Dense]:
        return [layer for layer in self.hidden if isinstance(layer, Dense)]

    def penalised_kernels(self) -> Iterator[nn.Parameter]:
        """The kernels under L1 and L2: constituent layers, LSTM inputs, hidden layers; no recurrent ones, no output."""
        for name, weight in self.named_parameters():
            if name.endswith(".kernel") and not name.startswith(("output.", _AUXILIARY)):
                yield weight

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """All weights of the network by name, without auxiliary heads; the standardisation is part of them."""
        weights = {
            name: weight.detach().cpu().numpy().copy()
            for name, weight in self.named_parameters()
            if not name.startswith(_AUXILIARY)
        }
        for kernel, bias, standardisation in self._standardised_layers():
            weights[kernel], weights[bias] = standardisation.taken_in(weights[kernel], weights[bias])
        return weights

    def _standardised_layers(self) -> Iterator[tuple[str, str, Standardisation]]:
        """Names of kernel and bias of the layers whose inputs are standardised."""
        for name, standardisation in self.standardised.items():
            assert isinstance(standardisation, Standardisation)
            yield f"{name}.{self._input_layer}.kernel", f"{name}.{self._input_layer}.bias", standardisation

    def set_weights(self, weights: Mapping[str, NDArray[np.float32]]) -> None:
        """Sets all weights by name, as `weights` returns them.

        Raises:
            ValueError: a weight is missing, left over or has another shape; names it.
        """
        expected = self.shape.weight_shapes()
        for name in expected.keys() | weights.keys():
            if name not in weights or name not in expected:
                raise ValueError(f"weight {name} is {'missing' if name in expected else 'unknown'}")
            if tuple(weights[name].shape) != expected[name]:
                raise ValueError(f"weight {name} has shape {weights[name].shape}, expected {expected[name]}")
        weights = {name: np.asarray(weight, dtype=np.float32) for name, weight in weights.items()}
        for kernel, bias, standardisation in self._standardised_layers():
            weights[kernel], weights[bias] = standardisation.taken_out(weights[kernel], weights[bias])
        with torch.no_grad():
            for name, weight in self.named_parameters():
                if name.startswith(_AUXILIARY):
                    continue
                weight.copy_(torch.from_numpy(weights[name]))


@torch.no_grad()
def logits_of(classifier: Classifier, jets: JetTensors, positions: IndexArray | None = None) -> Tensor:
    """Logits [jets, 3] without dropout, on the device.

    Args:
        classifier: on the device of the jets.
        jets: scaled jets.
        positions: their positions, [n]; None takes all in order.
    """
    chosen = np.arange(len(jets), dtype=np.int64) if positions is None else positions
    pieces = [chosen[start : start + JETS_AT_A_TIME] for start in range(0, len(chosen), JETS_AT_A_TIME)]
    logits = [classifier(batch) for batch in jets.batches(pieces)]
    return torch.cat(logits) if logits else jets.jet.new_zeros(0, 3)


def scores_of(classifier: Classifier, jets: JetTensors, positions: IndexArray | None = None) -> NDArray[np.float32]:
    """Scores [jets, 3] in the order QCD, signal, BIB; each row sums to 1."""
    scores: NDArray[np.float32] = logits_of(classifier, jets, positions).softmax(dim=1).cpu().numpy()
    return scores
