"""Deep Sets: dense layers on each constituent, then sum and maximum over the jet's constituents.

Source: Zaheer et al. 2017 (arXiv:1703.06114), and Komiske, Metodiev and Thaler 2018 (arXiv:1810.05165) for jets.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cal_ratio_trainer.network.batch import BranchBatch
from cal_ratio_trainer.network.dense_chain import ChainPlan, dense_chain
from cal_ratio_trainer.network.dropout import DropoutSource
from cal_ratio_trainer.network.encoders.base import (
    ONE_MORE_SLOT,
    BranchShape,
    Encoder,
    GraphBuilder,
    register_encoder,
)
from cal_ratio_trainer.network.engine import Engine, on_device
from cal_ratio_trainer.network.layers import Activation, Dense


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
        """[jets, 2 * width of the last layer], in the batch's order; arguments as `lstm.Branch.forward`."""
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


class DeepSets(Encoder):
    """See the module. The sum comes first, then the maximum; both are 0 for a jet without constituents."""

    name = "deep_sets"
    input_layer = "dense.0"
    formats = frozenset({"keras", "onnx"})
    pytorch_only = True
    any_length = True

    def module(self, branch: BranchShape, inputs: int, layers: int, generator: torch.Generator) -> nn.Module:
        """See `Encoder.module`."""
        return DeepSetsBranch([inputs, *branch.dense], generator)

    def weight_shapes(self, branch: BranchShape, inputs: int, layers: int) -> dict[str, tuple[int, ...]]:
        """Names: 'dense.0.kernel', 'dense.0.bias', 'dense.1.kernel', ..."""
        shapes: dict[str, tuple[int, ...]] = {}
        for i, (width, units) in enumerate(itertools.pairwise([inputs, *branch.dense])):
            shapes |= {f"dense.{i}.kernel": (width, units), f"dense.{i}.bias": (units,)}
        return shapes

    def width(self, branch: BranchShape) -> int:
        """Sum and maximum of the last layer's outputs."""
        return 2 * branch.dense[-1]

    def masks(self, branch: BranchShape) -> int:
        """One behind each dense layer but the first and the last; the classifier drops behind the pooling."""
        return max(0, len(branch.dense) - 2)

    def step_floats(self, branch: BranchShape, inputs: int) -> tuple[float, float]:
        """See `Encoder.step_floats`."""
        # The last outputs are kept before and after their ReLU, and once more jet by jet.
        kept = inputs + sum(branch.dense) + 2 * branch.dense[-1]
        return kept, max(map(sum, itertools.pairwise([*branch.dense, branch.dense[-1]])))

    def add_to_onnx(
        self,
        graph: GraphBuilder,
        source: str,
        filled: str,
        weights: Mapping[str, np.ndarray[Any, Any]],
        branch: BranchShape,
    ) -> str:
        """See `Encoder.add_to_onnx`."""
        name, last = branch.name, source
        for i in range(len(branch.dense)):
            kernel, bias = (
                graph.constant(f"{name}.dense.{i}.{w}", weights[f"dense.{i}.{w}"]) for w in ("kernel", "bias")
            )
            product = graph.add("MatMul", [last, kernel], f"{name}/dense_{i}/product")
            last = graph.add("Relu", [graph.add("Add", [product, bias], f"{name}/dense_{i}/sum")], f"{name}/dense_{i}")
        # One more slot, of zeros: the maximum is never that of nothing. ReLU's outputs are not below it.
        one_more = graph.constant("one_more_slot", ONE_MORE_SLOT)
        outputs = graph.add("Pad", [graph.add("Mul", [last, filled], f"{name}/of_filled"), one_more], f"{name}/outputs")
        by_output = graph.add("Transpose", [outputs], f"{name}/by_output", perm=[0, 2, 1])
        weight = graph.add("Pad", [filled, one_more], f"{name}/weight")
        total = graph.add("MatMul", [by_output, weight], f"{name}/total")
        largest = graph.add("GlobalMaxPool", [by_output], f"{name}/largest")
        pooled = graph.add("Concat", [total, largest], f"{name}/pooled", axis=1)
        return graph.add("Reshape", [pooled, graph.constant(f"{name}/width", np.array([-1, self.width(branch)]))], name)


register_encoder(DeepSets())
