"""What fixes a network apart from its weights: branches, widths, layers; and the names and shapes of its weights."""

from dataclasses import dataclass

from cal_ratio_trainer.jets.schema import CALRATIO_2019, Schema

OUTPUTS = 3
HIDDEN_WIDTHS = (512, 64)
"""Widths of the two hidden layers at hidden_layer_fraction 1."""


@dataclass(frozen=True)
class BranchShape:
    """One kind of constituent: `slots` of `inputs` numbers, dense layers a slot, then a recurrence over the slots."""

    name: str
    slots: int
    inputs: int
    dense: tuple[int, ...]
    lstm_units: int


@dataclass(frozen=True)
class NetworkShape:
    """The whole classifier. Masses (0, 1 or 2 parametrised ones) are appended to every constituent and to the jet.

    The schema says which features it reads, in which order.
    """

    branches: tuple[BranchShape, ...]
    hidden: tuple[int, ...] = HIDDEN_WIDTHS
    lstm_layers: int = 1
    masses: int = 0
    dropout: float = 0.2
    schema: Schema = CALRATIO_2019

    @property
    def jet_inputs(self) -> int:
        """How many numbers of the jet itself the network reads."""
        return len(self.schema.jet_inputs) + self.masses

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Every weight of the classifier by name, in Keras' layout: kernels [in, out], LSTM gates in the order i f c o.

        Names: 'clusters.dense.0.kernel', 'clusters.lstm.0.recurrent_kernel', 'hidden.1.bias', 'output.kernel', ...
        """
        shapes: dict[str, tuple[int, ...]] = {}
        for branch in self.branches:
            width = branch.inputs + self.masses
            for i, units in enumerate(branch.dense):
                shapes |= _dense(f"{branch.name}.dense.{i}", width, units)
                width = units
            for i in range(self.lstm_layers):
                gates = 4 * branch.lstm_units
                shapes[f"{branch.name}.lstm.{i}.kernel"] = (width, gates)
                shapes[f"{branch.name}.lstm.{i}.recurrent_kernel"] = (branch.lstm_units, gates)
                shapes[f"{branch.name}.lstm.{i}.bias"] = (gates,)
                width = branch.lstm_units
        width = sum(branch.lstm_units for branch in self.branches) + self.jet_inputs
        for i, units in enumerate(self.hidden):
            shapes |= _dense(f"hidden.{i}", width, units)
            width = units
        return shapes | _dense("output", width, OUTPUTS)


def _dense(name: str, inputs: int, units: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.kernel": (inputs, units), f"{name}.bias": (units,)}


def branch_shape(name: str, dense: tuple[int, ...], lstm_units: int, schema: Schema = CALRATIO_2019) -> BranchShape:
    """The branch of one kind of constituent, with slots and inputs from the schema."""
    kind = schema.kind(name)
    return BranchShape(name, kind.limit, len(kind.inputs), dense, lstm_units)


DEFAULT_SHAPE = NetworkShape(
    branches=(
        branch_shape("clusters", (64, 32, 32, 16), 10),
        branch_shape("tracks", (64, 32, 32, 16), 10),
        branch_shape("muon_segments", (32, 16, 8), 5),
    )
)
"""The 2019 network: 60,067 parameters."""
