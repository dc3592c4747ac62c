"""Deep Sets: dense layers on each constituent, then sum and maximum over the jet's constituents.

Source: Zaheer et al. 2017 (arXiv:1703.06114), and Komiske, Metodiev and Thaler 2018 (arXiv:1810.05165) for jets.
"""

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from cal_ratio_trainer.network.encoders.base import (
    ONE_MORE_SLOT,
    BranchShape,
    Encoder,
    GraphBuilder,
    register_encoder,
)

if TYPE_CHECKING:
    import torch
    from torch import nn


class DeepSets(Encoder):
    """See the module. The sum comes first, then the maximum; both are 0 for a jet without constituents."""

    name = "deep_sets"
    formats = frozenset({"onnx"})
    pytorch_only = True
    any_length = True

    def module(self, branch: BranchShape, inputs: int, layers: int, generator: "torch.Generator") -> "nn.Module":
        """See `Encoder.module`."""
        from cal_ratio_trainer.network.encoders.deep_sets_branch import DeepSetsBranch

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
