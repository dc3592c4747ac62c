"""Shape of a network: branches, widths, layers; and the names and shapes of its weights."""

from dataclasses import dataclass

from cal_ratio_trainer.jets.schema import CALRATIO_2019, Schema
from cal_ratio_trainer.network.encoders.base import DEFAULT_ENCODER, BranchShape, encoder_named

OUTPUTS = 3
HIDDEN_WIDTHS = (512, 64)
"""Widths of the two hidden layers at hidden_layer_fraction 1."""


@dataclass(frozen=True)
class NetworkShape:
    """The whole classifier. Masses (0, 1 or 2 parametrised ones) are appended to every constituent and to the jet.

    The schema says which features it reads, in which order; `encoder` names the architecture of the branches, and
    `lstm_layers` is the number of its layers.
    """

    branches: tuple[BranchShape, ...]
    hidden: tuple[int, ...] = HIDDEN_WIDTHS
    lstm_layers: int = 1
    masses: int = 0
    dropout: float = 0.2
    schema: Schema = CALRATIO_2019
    encoder: str = DEFAULT_ENCODER

    @property
    def jet_inputs(self) -> int:
        """Number of inputs of the jet itself."""
        return len(self.schema.jet_inputs) + self.masses

    @property
    def encoded_width(self) -> int:
        """Width of the vectors of all branches side by side."""
        return sum(map(encoder_named(self.encoder).width, self.branches))

    @property
    def dropout_masks(self) -> int:
        """Number of masks of one pass: those of the encoders, and one after each branch and each hidden layer."""
        encoder = encoder_named(self.encoder)
        return sum(encoder.masks(branch) + 1 for branch in self.branches) + len(self.hidden)

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Every weight of the classifier by name, kernels [in, out]; those of the branches as their encoder says.

        Names: 'clusters.dense.0.kernel', 'clusters.lstm.0.recurrent_kernel', 'hidden.1.bias', 'output.kernel', ...
        """
        shapes: dict[str, tuple[int, ...]] = {}
        encoder = encoder_named(self.encoder)
        for branch in self.branches:
            of_branch = encoder.weight_shapes(branch, branch.inputs + self.masses, self.lstm_layers)
            shapes |= {f"{branch.name}.{name}": shape for name, shape in of_branch.items()}
        width = self.encoded_width + self.jet_inputs
        for i, units in enumerate(self.hidden):
            shapes |= _dense(f"hidden.{i}", width, units)
            width = units
        return shapes | _dense("output", width, OUTPUTS)


def _dense(name: str, inputs: int, units: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.kernel": (inputs, units), f"{name}.bias": (units,)}


def branch_shape(
    name: str,
    dense: tuple[int, ...],
    lstm_units: int,
    schema: Schema = CALRATIO_2019,
    options: tuple[tuple[str, int], ...] = (),
) -> BranchShape:
    """The branch of one kind of constituent, with slots and inputs from the schema."""
    kind = schema.kind(name)
    return BranchShape(name, kind.limit, len(kind.inputs), dense, lstm_units, options)


DEFAULT_SHAPE = NetworkShape(
    branches=(
        branch_shape("clusters", (64, 32, 32, 16), 10),
        branch_shape("tracks", (64, 32, 32, 16), 10),
        branch_shape("muon_segments", (32, 16, 8), 5),
    )
)
"""The 2019 network: 60,067 parameters."""
