"""A network as a table: its layers, their shapes and numbers of parameters."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cal_ratio_trainer.errors import harmless
from cal_ratio_trainer.formats.layers import classifier_layers
from cal_ratio_trainer.formats.network_file import read_own_network

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class LayerRow:
    """One layer.

    Attributes:
        name: as in the file.
        kind: Keras' class.
        output: shape of what it gives for one jet.
        sources: the layers it reads.
        weights: shapes of its weights.
        parameters: how many numbers these are.
    """

    name: str
    kind: str
    output: tuple[int, ...]
    sources: tuple[str, ...]
    weights: tuple[tuple[int, ...], ...]

    @property
    def parameters(self) -> int:
        """How many numbers the weights are."""
        return sum(math.prod(shape) for shape in self.weights)


def layer_rows(file: Path) -> list[LayerRow]:
    """The layers of a .safetensors or .keras file of this program, in the file's order.

    Raises:
        InputFileError: no such file, or not one of ours.
    """
    network = read_own_network(file)
    return [
        LayerRow(
            layer.name,
            layer.kind,
            layer.output,
            layer.sources,
            tuple(network.weights[name].shape for name in layer.weights),
        )
        for layer in classifier_layers(network.shape)
    ]


def model_table(file: Path) -> "Table":
    """The same for the terminal, with the total in the title."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    rows = layer_rows(file)
    title = Text(f"{harmless(str(file))}: {len(rows)} layers, {sum(row.parameters for row in rows):,} parameters")
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for column in ("layer", "kind", "output", "weights", "reads"):
        table.add_column(column, overflow="fold")
    table.add_column("parameters", justify="right")
    for row in rows:
        shapes = ", ".join(_shape(shape) for shape in row.weights)
        number = f"{row.parameters:,}" if row.weights else ""
        cells = (row.name, row.kind, _shape(row.output), shapes, ", ".join(row.sources), number)
        # Text, not str: brackets are no markup here.
        table.add_row(*(Text(harmless(cell)) for cell in cells))
    return table


def _shape(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))
