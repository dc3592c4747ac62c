"""The encoder of the 2019 network: dense layers on each constituent, then a recurrence over the slots."""

import itertools

import torch
from torch import Tensor, nn

from cal_ratio_trainer.network.batch import BranchBatch
from cal_ratio_trainer.network.dense_chain import ChainPlan, dense_chain
from cal_ratio_trainer.network.dropout import DropoutSource
from cal_ratio_trainer.network.encoders.base import BranchShape, Encoder, register_encoder
from cal_ratio_trainer.network.engine import Engine
from cal_ratio_trainer.network.layers import Activation, Dense, LstmWeights
from cal_ratio_trainer.network.recurrence import hidden_states
from cal_ratio_trainer.network.sequences import Sequences


class Branch(nn.Module):
    """Constituents of one kind -> one vector per jet; see `encoders.base.Encoder.module`."""

    def __init__(self, shape: BranchShape, inputs: int, lstm_layers: int, generator: torch.Generator) -> None:
        super().__init__()
        self.slots = shape.slots
        widths = [inputs, *shape.dense]
        self.dense = nn.ModuleList(Dense(width, units, generator) for width, units in itertools.pairwise(widths))
        read = [widths[-1], *[shape.lstm_units] * (lstm_layers - 1)]
        self.lstm = nn.ModuleList(LstmWeights(width, shape.lstm_units, generator) for width in read)

    def forward(self, batch: BranchBatch, dropout: DropoutSource | None, engine: Engine) -> Tensor:
        """[jets, lstm units], in the batch's order.

        Args:
            batch: the constituents.
            dropout: gives the masks between the dense layers; None drops nothing.
            engine: engine that computes it.
        """
        jets, layers = len(batch.inverse), [layer for layer in self.lstm if isinstance(layer, LstmWeights)]
        chain = [*(layer for layer in self.dense if isinstance(layer, Dense)), layers[0]]
        # There is dropout after every dense layer but the first.
        keys = [dropout.key() if dropout is not None and dropout.rate and i else None for i in range(len(self.dense))]
        rate = dropout.rate if dropout is not None else 0.0
        activations = tuple(Activation(rate, key, True, engine, batch.mask_rows) for key in keys)
        gates = dense_chain(batch.values, chain, ChainPlan(activations, transposed=True))
        sequences = Sequences(gates, batch.counts, jets, self.slots, batch.places)
        for deeper in layers[1:]:
            # A further layer reads a state at every slot: no slot is empty.
            states = hidden_states(sequences, layers[0].recurrent_kernel, every_slot=True, engine=engine)
            x = states.transpose(0, 1).reshape(states.shape[1], -1)
            # The last column is never read.
            x = torch.cat([x, x.new_zeros(len(x), 1)], dim=1)
            gates = torch.addmm(deeper.bias[:, None], deeper.kernel.t(), x)
            sequences = Sequences(gates, (jets,) * self.slots, jets, self.slots)
            layers = layers[1:]
        hidden = hidden_states(sequences, layers[0].recurrent_kernel, engine=engine)
        return hidden[-1].t().index_select(0, batch.inverse)


class Lstm(Encoder):
    """See the module. Weights are in Keras' layout: kernels [in, out], gates of the LSTM in the order i f c o."""

    name = "lstm"
    input_layer = "dense.0"
    formats = frozenset({"keras", "fdeep", "fdeep-keras3", "onnx"})

    def module(self, branch: BranchShape, inputs: int, layers: int, generator: torch.Generator) -> nn.Module:
        """See `Encoder.module`."""
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
