"""An encoder from outside the package: one dense layer on each constituent, then the sum over the jet."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from cal_ratio_trainer.network.batch import BranchBatch
from cal_ratio_trainer.network.dropout import DropoutSource
from cal_ratio_trainer.network.encoders.base import BranchShape, Encoder, GraphBuilder, register_encoder
from cal_ratio_trainer.network.engine import Engine


class SumOfConstituents(nn.Module):
    """ReLU(x kernel) of each constituent, summed; an empty slot of zeros adds nothing."""

    def __init__(self, inputs: int, units: int, generator: torch.Generator) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.empty(inputs, units).normal_(0, 0.1, generator=generator))

    def forward(self, batch: BranchBatch, dropout: DropoutSource | None, engine: Engine) -> Tensor:
        """[jets, units]."""
        rows = torch.relu(batch.values[:-1] @ self.kernel)
        sums = rows.new_zeros(len(batch.inverse) + 1, rows.shape[1])
        return sums.index_add(0, batch.owners(), rows)[:-1]


class SumPooling(Encoder):
    """See the module."""

    name = "sum_pooling"
    formats = frozenset({"onnx"})

    def module(self, branch: BranchShape, inputs: int, layers: int, generator: torch.Generator) -> nn.Module:
        """See `Encoder.module`."""
        return SumOfConstituents(inputs, branch.lstm_units, generator)

    def add_to_onnx(
        self, graph: GraphBuilder, source: str, filled: str, weights: Mapping[str, np.ndarray], branch: BranchShape
    ) -> str:
        """See `Encoder.add_to_onnx`."""
        kernel = graph.constant(f"{branch.name}/kernel", weights["kernel"])
        product = graph.add("MatMul", [source, kernel], f"{branch.name}/product")
        relu = graph.add("Relu", [product], f"{branch.name}/relu")
        ones = graph.constant(f"{branch.name}/each_slot", np.ones((1, branch.slots), np.float32))
        sums = graph.add("MatMul", [ones, relu], f"{branch.name}/sums")
        shape = graph.constant(f"{branch.name}/shape", np.array([-1, branch.lstm_units]))
        return graph.add("Reshape", [sums, shape], f"{branch.name}/sum")


register_encoder(SumPooling())
