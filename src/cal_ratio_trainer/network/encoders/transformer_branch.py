"""One kind of constituent in the transformer: self-attention among those of a jet, then attention pooling.

Jets with equally many constituents are computed together, so nothing is padded. All operations give the same bits in
every run.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from cal_ratio_trainer.network.activation import dropped
from cal_ratio_trainer.network.batch import BranchBatch
from cal_ratio_trainer.network.device import on_device
from cal_ratio_trainer.network.dropout import DropoutSource, MaskRows, scale_of
from cal_ratio_trainer.network.engine import Engine
from cal_ratio_trainer.network.layers import Dense


class LayerNorm(nn.Module):
    """Rows with mean 0 and variance 1, times a scale, plus a bias. Source: Ba et al. 2016 (arXiv:1607.06450)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """[rows, width] -> the same."""
        return functional.layer_norm(x, self.scale.shape, self.scale, self.bias)


class Block(nn.Module):
    """Self-attention among the constituents of a jet, then two dense layers on each; both are added to their input."""

    def __init__(self, width: int, heads: int, hidden: int, generator: torch.Generator) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm, self.dense_norm = LayerNorm(width), LayerNorm(width)
        self.projection = Dense(width, 3 * width, generator)
        self.joined = Dense(width, width, generator)
        self.expanded = Dense(width, hidden, generator)
        self.contracted = Dense(hidden, width, generator)

    def forward(self, x: Tensor, groups: Sequence[tuple[int, int]], drop: Callable[[Tensor], Tensor]) -> Tensor:
        """[constituents, width] -> the same.

        Args:
            x: constituents jet by jet.
            groups: (jets, constituents of each) of jets with equally many.
            drop: dropout, with its factor.
        """
        projected = torch.split(self.projection(self.attention_norm(x)), [jets * length for jets, length in groups])
        attended = [
            _attention(part.view(jets, length, 3, self.heads, x.shape[1] // self.heads))
            for (jets, length), part in zip(groups, projected, strict=True)
        ]
        x = x + drop(self.joined(torch.cat(attended)))
        return x + drop(self.contracted(self.expanded(self.dense_norm(x)).relu()))


def _attention(projected: Tensor) -> Tensor:
    """Queries, keys and values [jets, constituents, 3, heads, width] -> outputs [jets * constituents, all widths]."""
    query, key, value = projected.permute(2, 0, 3, 1, 4)
    shares = torch.softmax(query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5, dim=-1)
    outputs: Tensor = (shares @ value).transpose(1, 2).flatten(2).flatten(0, 1)
    return outputs


class TransformerBranch(nn.Module):
    """Constituents of one kind -> one vector per jet; see `encoders.base.Encoder.module`.

    Args:
        inputs: numbers of each constituent.
        generator: of the initial weights.
        width: of the vectors.
        layers: number of blocks.
        heads: of each attention; they share the width.
        hidden: width of the hidden layer of each block.
    """

    def __init__(
        self, inputs: int, generator: torch.Generator, *, width: int, layers: int, heads: int, hidden: int
    ) -> None:
        super().__init__()
        self.embedding = Dense(inputs, width, generator)
        self.blocks = nn.ModuleList(Block(width, heads, hidden, generator) for _ in range(layers))
        self.norm, self.pooling = LayerNorm(width), Dense(width, 1, generator)

    def forward(self, batch: BranchBatch, dropout: DropoutSource | None, engine: Engine) -> Tensor:
        """[jets, width], in the batch's order; arguments as `lstm_branch.Branch.forward`."""
        rows, lengths = batch.jet_by_jet()
        falling, jets_of = np.unique(-lengths, return_counts=True)
        groups = [(int(jets), int(-length)) for jets, length in zip(jets_of, falling, strict=True)]
        order, whole = on_device(rows, batch.values.device), batch.mask_rows
        masks = MaskRows(order, len(rows)) if whole is None else MaskRows(whole.numbers[order], whole.whole)
        scale = scale_of(dropout)

        def drop(x: Tensor) -> Tensor:
            return x if scale == 1.0 else dropped(x, dropout, engine, masks) * scale

        x = self.embedding(batch.values.index_select(0, order)).relu()
        for block in self.blocks:
            x = block(x, groups, drop)
        x = self.norm(x)
        sizes, pooled = [jets * length for jets, length in groups], []
        parts = zip(groups, torch.split(x, sizes), torch.split(self.pooling(x), sizes), strict=True)
        for (jets, length), part, scores in parts:
            # The score of nothing is 0, and so is its value.
            shares = functional.pad(scores.view(jets, 1, length), (0, 1)).softmax(dim=-1)[:, :, :length]
            pooled.append((shares @ part.view(jets, length, x.shape[1]))[:, 0])
        return torch.cat(pooled).index_select(0, batch.inverse)
