"""Transformer: self-attention among a jet's constituents of one kind, then attention pooling.

Sources: Vaswani et al. 2017 (arXiv:1706.03762), with the layer norm before each sublayer as in Xiong et al. 2020
(arXiv:2002.04745). The pooling has one score for each constituent and a further one of 0 for nothing: a jet without
constituents gives 0.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from cal_ratio_trainer.errors import ConfigError
from cal_ratio_trainer.network.batch import BranchBatch
from cal_ratio_trainer.network.dropout import DropoutSource, MaskRows, scale_of
from cal_ratio_trainer.network.encoders.base import (
    LAYER_NORM_EPSILON,
    ONE_MORE_SLOT,
    BranchShape,
    Encoder,
    GraphBuilder,
    register_encoder,
)
from cal_ratio_trainer.network.engine import Engine, on_device
from cal_ratio_trainer.network.layers import Dense, dropped

_EXCLUDED = -1e9
"""Score of an empty slot: its exponential is 0 beside any other."""


class LayerNorm(nn.Module):
    """Rows with mean 0 and variance 1, times a scale, plus a bias. Source: Ba et al. 2016 (arXiv:1607.06450)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """[rows, width] -> the same."""
        return functional.layer_norm(x, self.scale.shape, self.scale, self.bias, LAYER_NORM_EPSILON)


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
        """[jets, width], in the batch's order; arguments as `lstm.Branch.forward`."""
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
            # The further slot, for nothing, has score 0 and value 0.
            shares = functional.pad(scores.view(jets, 1, length), (0, 1)).softmax(dim=-1)[:, :, :length]
            pooled.append((shares @ part.view(jets, length, x.shape[1]))[:, 0])
        return torch.cat(pooled).index_select(0, batch.inverse)


class Transformer(Encoder):
    """See the module. The order of the constituents does not matter."""

    name = "transformer"
    input_layer = "embedding"
    formats = frozenset({"keras", "onnx"})
    pytorch_only = True
    any_length = True
    options = {"width": 48, "layers": 2, "heads": 4, "hidden": 96}  # noqa: RUF012

    def checked_options(self, given: Sequence[str]) -> tuple[tuple[str, int], ...]:
        """See `Encoder.checked_options`; the heads must share the width evenly."""
        checked = super().checked_options(given)
        width, heads = dict(checked)["width"], dict(checked)["heads"]
        if width % heads:
            raise ConfigError([f"encoder_options: the width {width} cannot be shared evenly by {heads} heads"])
        return checked

    def module(self, branch: BranchShape, inputs: int, layers: int, generator: torch.Generator) -> nn.Module:
        """See `Encoder.module`."""
        return TransformerBranch(inputs, generator, **self._options(branch))

    def width(self, branch: BranchShape) -> int:
        """Width of the transformer."""
        return self._options(branch)["width"]

    def masks(self, branch: BranchShape) -> int:
        """One behind the attention and one behind the dense layers of each block."""
        return 2 * self._options(branch)["layers"]

    def step_floats(self, branch: BranchShape, inputs: int) -> tuple[float, float]:
        """See `Encoder.step_floats`."""
        options = self._options(branch)
        # A block keeps two norms, queries, keys and values with copies by head, outputs of the heads, two sums, the
        # hidden layer, two masks of a byte; and the attention of each head to the slots, of which half are filled.
        block = 11.5 * options["width"] + options["hidden"] + options["heads"] * branch.slots / 2
        return inputs + 2 * options["width"] + options["layers"] * block, 4 * options["width"] + options["hidden"]

    def _options(self, branch: BranchShape) -> dict[str, int]:
        return {**self.options, **dict(branch.options)}

    def add_to_onnx(
        self,
        graph: GraphBuilder,
        source: str,
        filled: str,
        weights: Mapping[str, np.ndarray[Any, Any]],
        branch: BranchShape,
    ) -> str:
        """See `Encoder.add_to_onnx`."""
        options = self._options(branch)
        sizes = options["width"], options["layers"], options["heads"]
        return _Nodes(graph, weights, branch.name, *sizes).add(source, filled)


class _Nodes:
    """The nodes of one kind of constituent; operators have the same meaning in every opset from 11 on."""

    def __init__(
        self,
        graph: GraphBuilder,
        weights: Mapping[str, np.ndarray[Any, Any]],
        name: str,
        width: int,
        layers: int,
        heads: int,
    ) -> None:
        self._graph, self._weights, self._name = graph, weights, name
        self._width, self._layers, self._heads = width, layers, heads

    def add(self, source: str, filled: str) -> str:
        """The tensor [jets, width]; arguments as `Encoder.add_to_onnx`."""
        one_more = self._graph.constant("one_more_slot", ONE_MORE_SLOT)
        # One more slot, an empty one: runtimes need not compute with none.
        slots = self._node("Pad", "slots", source, one_more)
        bias = self._node(
            "Mul",
            "empty",
            self._node("Sub", "is_empty", self._node("Pad", "is_filled", filled, one_more), self._number("one", 1)),
            self._number("excluded", -_EXCLUDED),
        )
        by_key = self._reshaped("empty_keys", bias, (0, 1, 1, -1))
        x = self._node("Relu", "embedded", self._dense("embedding", slots))
        for i in range(self._layers):
            block = f"blocks.{i}"
            attended = self._attention(block, self._norm(f"{block}.attention_norm", x), by_key)
            x = self._node("Add", f"{block}/attended", x, self._dense(f"{block}.joined", attended))
            hidden = self._dense(f"{block}.expanded", self._norm(f"{block}.dense_norm", x))
            dense = self._dense(f"{block}.contracted", self._node("Relu", f"{block}/hidden", hidden))
            x = self._node("Add", f"{block}/sum", x, dense)
        x = self._norm("norm", x)
        # The slot that is added here is the one for nothing: its score is 0, and so are its values.
        scores = self._node("Add", "scores", self._dense("pooling", x), bias)
        by_slot = self._reshaped("scores_by_slot", self._node("Pad", "all_scores", scores, one_more), (0, 1, -1))
        shares = self._node("Softmax", "shares", by_slot, axis=2)
        pooled = self._node("MatMul", "pooled", shares, self._node("Pad", "pooled_slots", x, one_more))
        return self._reshaped("vector", pooled, (-1, self._width))

    def _attention(self, block: str, x: str, by_key: str) -> str:
        """Joined outputs of all heads, [jets, slots, width]."""
        per_head = self._width // self._heads
        kernel, bias = (self._weights[f"{block}.projection.{part}"] for part in ("kernel", "bias"))
        parts = []
        for part, (rows, shift) in enumerate(zip(np.split(kernel, 3, axis=1), np.split(bias, 3), strict=True)):
            name = f"{block}/{('query', 'key', 'value')[part]}"
            product = self._node("MatMul", f"{name}/product", x, self._constant(f"{name}/kernel", rows))
            total = self._node("Add", f"{name}/sum", product, self._constant(f"{name}/bias", shift))
            split = self._reshaped(f"{name}/split", total, (0, 0, self._heads, per_head))
            # Keys are laid out for the product with the queries, by head and transposed.
            order = [0, 2, 3, 1] if part == 1 else [0, 2, 1, 3]
            parts.append(self._node("Transpose", name, split, perm=order))
        query, key, value = parts
        products = self._node("MatMul", f"{block}/products", query, key)
        scaled = self._node("Mul", f"{block}/scaled", products, self._number("per_head", per_head**-0.5))
        shares = self._node("Softmax", f"{block}/shares", self._node("Add", f"{block}/scores", scaled, by_key), axis=3)
        outputs = self._node("MatMul", f"{block}/by_head", shares, value)
        by_slot = self._node("Transpose", f"{block}/by_slot", outputs, perm=[0, 2, 1, 3])
        return self._reshaped(f"{block}/joined_heads", by_slot, (0, 0, self._width))

    def _norm(self, name: str, x: str) -> str:
        # A mean is a product: the operator for it changed with opset 18.
        mean = self._constant("mean", np.full((self._width, 1), 1 / self._width, np.float32))
        centred = self._node("Sub", f"{name}/centred", x, self._node("MatMul", f"{name}/mean", x, mean))
        squares = self._node("Mul", f"{name}/squares", centred, centred)
        variance = self._node("MatMul", f"{name}/variance", squares, mean)
        above_0 = self._node("Add", f"{name}/above_0", variance, self._number("epsilon", LAYER_NORM_EPSILON))
        spread = self._node("Sqrt", f"{name}/spread", above_0)
        scaled = self._node(
            "Mul", f"{name}/scaled", self._node("Div", f"{name}/normed", centred, spread), self._weight(f"{name}.scale")
        )
        return self._node("Add", f"{name}/norm", scaled, self._weight(f"{name}.bias"))

    def _dense(self, name: str, x: str) -> str:
        product = self._node("MatMul", f"{name}/product", x, self._weight(f"{name}.kernel"))
        return self._node("Add", f"{name}/sum", product, self._weight(f"{name}.bias"))

    def _node(self, operator: str, output: str, *inputs: str, **attributes: Any) -> str:
        return self._graph.add(operator, inputs, f"{self._name}/{output}", **attributes)

    def _reshaped(self, output: str, source: str, shape: tuple[int, ...]) -> str:
        return self._node("Reshape", output, source, self._constant(f"{output}/shape", np.array(shape, np.int64)))

    def _constant(self, name: str, values: np.ndarray[Any, Any]) -> str:
        return self._graph.constant(f"{self._name}/{name}", values)

    def _number(self, name: str, value: float) -> str:
        return self._constant(name, np.array(value, np.float32))

    def _weight(self, name: str) -> str:
        return self._graph.constant(f"{self._name}.{name}", self._weights[name])


register_encoder(Transformer())
