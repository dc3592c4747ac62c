"""One kind of constituent: dense layers on each, then the recurrence over the slots."""

import itertools

import torch
from torch import Tensor, nn

from cal_ratio_trainer.network.batch import BranchBatch
from cal_ratio_trainer.network.dropout import DropoutSource, dropped, relu_dropout, scale_of
from cal_ratio_trainer.network.layers import Dense, LstmWeights
from cal_ratio_trainer.network.recurrence import Sequences, hidden_states
from cal_ratio_trainer.network.shape import BranchShape


class Branch(nn.Module):
    """Constituents of one kind -> one vector a jet."""

    def __init__(self, shape: BranchShape, masses: int, lstm_layers: int, generator: torch.Generator) -> None:
        super().__init__()
        self.slots = shape.slots
        widths = [shape.inputs + masses, *shape.dense]
        self.dense = nn.ModuleList(Dense(inputs, units, generator) for inputs, units in itertools.pairwise(widths))
        inputs = [widths[-1], *[shape.lstm_units] * (lstm_layers - 1)]
        self.lstm = nn.ModuleList(LstmWeights(width, shape.lstm_units, generator) for width in inputs)

    def forward(self, batch: BranchBatch, dropout: DropoutSource | None) -> Tensor:
        """[jets, lstm units], in the batch's order, with dropout but without its factor (see `dropout`)."""
        sequences = self._first_gates(batch, dropout)
        hidden = hidden_states(sequences, self._lstm(0).recurrent_kernel)
        for layer in range(1, len(self.lstm)):
            # A deeper layer reads a state at every slot: nothing is empty any more.
            weights = self._lstm(layer)
            states = hidden.transpose(1, 2).reshape(-1, hidden.shape[1])
            counts = (sequences.jets,) * self.slots
            deeper = Sequences(weights.gates(states), weights.bias, counts, sequences.jets, self.slots)
            hidden = hidden_states(deeper, weights.recurrent_kernel)
        last = hidden[-1].t().index_select(0, batch.inverse)
        return dropped(last, dropout)

    def _first_gates(self, batch: BranchBatch, dropout: DropoutSource | None) -> Sequences:
        x, scale = self._dense_layers(batch.values, dropout)
        empty, _ = self._dense_layers(batch.padding[None, :], None)
        first = self._lstm(0)
        jets = len(batch.inverse)
        return Sequences(first.gates(x, scale), first.gates(empty)[:, 0], batch.counts, jets, self.slots)

    def _lstm(self, layer: int) -> LstmWeights:
        weights = self.lstm[layer]
        assert isinstance(weights, LstmWeights)
        return weights

    def _dense_layers(self, x: Tensor, dropout: DropoutSource | None) -> tuple[Tensor, float]:
        scale = 1.0
        for i, layer in enumerate(self.dense):
            x = relu_dropout(layer(x, scale), dropout if i else None)
            scale = scale_of(dropout) if i else 1.0
        return x, scale
