"""The encoder of the 2019 network: dense layers on each constituent, then a recurrence over the slots."""

from typing import TYPE_CHECKING

from cal_ratio_trainer.network.encoders.base import BranchShape, Encoder, register_encoder

if TYPE_CHECKING:
    import torch
    from torch import nn


class Lstm(Encoder):
    """See the module. Weights are in Keras' layout: kernels [in, out], gates of the LSTM in the order i f c o."""

    name = "lstm"
    formats = frozenset({"keras", "fdeep", "fdeep-keras3", "onnx"})

    def module(self, branch: BranchShape, inputs: int, layers: int, generator: "torch.Generator") -> "nn.Module":
        """See `Encoder.module`."""
        from cal_ratio_trainer.network.encoders.lstm_branch import Branch

        return Branch(branch, inputs, layers, generator)

    def weight_shapes(self, branch: BranchShape, inputs: int, layers: int) -> dict[str, tuple[int, ...]]:
        """Names: 'dense.0.kernel', 'dense.0.bias', 'lstm.0.kernel', 'lstm.0.recurrent_kernel', 'lstm.0.bias', ..."""
        shapes: dict[str, tuple[int, ...]] = {}
        width, gates = inputs, 4 * branch.lstm_units
        for i, units in enumerate(branch.dense):
            shapes |= {f"dense.{i}.kernel": (width, units), f"dense.{i}.bias": (units,)}
            width = units
        for i in range(layers):
            shapes[f"lstm.{i}.kernel"] = (width, gates)
            shapes[f"lstm.{i}.recurrent_kernel"] = (branch.lstm_units, gates)
            shapes[f"lstm.{i}.bias"] = (gates,)
            width = branch.lstm_units
        return shapes

    def masks(self, branch: BranchShape) -> int:
        """One behind each dense layer but the first."""
        return len(branch.dense) - 1


register_encoder(Lstm())
