"""One kind of constituent in Deep Sets: dense layers on each, then sum and maximum over those of a jet."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cal_ratio_trainer.network.activation import Activation
from cal_ratio_trainer.network.batch import BranchBatch
from cal_ratio_trainer.network.dense_chain import ChainPlan, dense_chain
from cal_ratio_trainer.network.device import on_device
from cal_ratio_trainer.network.dropout import DropoutSource
from cal_ratio_trainer.network.engine import Engine
from cal_ratio_trainer.network.layers import Dense


class DeepSetsBranch(nn.Module):
    """Constituents of one kind -> one vector per jet; see `encoders.base.Encoder.module`.

    Args:
        widths: of the input and of each layer.
        generator: of the initial weights.
    """

    def __init__(self, widths: Sequence[int], generator: torch.Generator) -> None:
        super().__init__()
        self.dense = nn.ModuleList(Dense(width, units, generator) for width, units in itertools.pairwise(widths))

    def forward(self, batch: BranchBatch, dropout: DropoutSource | None, engine: Engine) -> Tensor:
        """[jets, 2 * width of the last layer], in the batch's order; arguments as `lstm_branch.Branch.forward`."""
        layers = [layer for layer in self.dense if isinstance(layer, Dense)]
        is_dropping = dropout is not None and dropout.rate > 0
        rate = dropout.rate if dropout is not None else 0.0
        keys = [dropout.key() if dropout is not None and is_dropping and i else None for i in range(len(layers) - 1)]
        activations = tuple(Activation(rate, key, False, engine, batch.mask_rows) for key in keys)
        outputs = dense_chain(batch.values[:-1], layers, ChainPlan(activations)).relu()
        rows, lengths = (on_device(each, outputs.device) for each in batch.jet_by_jet())
        # One jet after the other, in one order: sums are the same in every run, on a GPU too.
        by_jet = outputs.index_select(0, rows)
        pooled = [
            torch.segment_reduce(by_jet, kind, lengths=lengths, axis=0, unsafe=True, initial=0)
            for kind in ("sum", "max")
        ]
        return torch.cat(pooled, dim=1).index_select(0, batch.inverse)
