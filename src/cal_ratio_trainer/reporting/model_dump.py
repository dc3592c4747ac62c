"""A network as a table: its layers, their shapes and numbers of parameters."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cal_ratio_trainer.errors import harmless
from cal_ratio_trainer.formats.layers import classifier_layers
from cal_ratio_trainer.formats.network_file import read_own_network
from cal_ratio_trainer.results import Result, shown

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
        parameters: number of parameters.
    """

    name: str
    kind: str
    output: tuple[int, ...]
    sources: tuple[str, ...]
    weights: tuple[tuple[int, ...], ...]

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        return sum(math.prod(shape) for shape in self.weights)


def layer_rows(file: Path) -> list[LayerRow]:
    """The layers of a .safetensors or .keras file of this program, in the file's order.

    Raises:
        InputFileError: no such file, or no network of this program.
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


@dataclass(frozen=True, repr=False)
class NetworkDescription(Result):
    """Layers of a network file, in its order."""

    file: Path
    layers: tuple[LayerRow, ...]

    @property
    def parameters(self) -> int:
        """Number of all parameters."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def headline(self) -> str:
        """See `Result`."""
        return f"{self.file}: {len(self.layers)} layers, {self.parameters:,} parameters"

    def records(self) -> Sequence[Mapping[str, Any]]:
        """One row per layer."""
        return [
            {
                "layer": layer.name,
                "kind": layer.kind,
                "output": _shape(layer.output),
                "weights": ", ".join(_shape(shape) for shape in layer.weights),
                "reads": ", ".join(layer.sources),
                "parameters": layer.parameters if layer.weights else None,
            }
            for layer in self.layers
        ]

    def as_rich(self) -> "Table":
        """The same for the terminal, with the total in the title."""
        from rich.box import SIMPLE_HEAD
        from rich.table import Table
        from rich.text import Text

        records = self.records()
        title = Text(harmless(self.headline))
        table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
        for column in records[0]:
            table.add_column(column, overflow="fold", justify="right" if column == "parameters" else "left")
        for record in records:
            # Text, not str: brackets are no markup here.
            table.add_row(*(Text(harmless(shown(value))) for value in record.values()))
        return table


def described_network(file: Path) -> NetworkDescription:
    """The layers of a network file of this program; errors as `layer_rows`."""
    return NetworkDescription(file, tuple(layer_rows(file)))


def _shape(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))
