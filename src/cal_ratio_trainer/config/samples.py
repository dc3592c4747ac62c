"""Table of simulated samples with their cross sections, efficiencies and k-factors."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from cal_ratio_trainer.config.base import Settings
from cal_ratio_trainer.config.loading import read_config
from cal_ratio_trainer.config.mistakes import mistakes_of
from cal_ratio_trainer.errors import InputFileError, did_you_mean

_NUMBER = "mcChannelNumber"


class SimulatedSample(Settings):
    """One simulated sample, e.g. a slice of jet pt."""

    cross_section_pb: float = Field(gt=0, description="Cross section. [pb]")
    filter_efficiency: float = Field(default=1.0, gt=0, le=1, description="Efficiency of the generator's filter. [1]")
    k_factor: float = Field(default=1.0, gt=0, description="Correction of the cross section to a higher order. [1]")
    initial_sum_of_weights: float | None = Field(
        default=None, gt=0, description="Of all simulated events, where the ntuples do not say it themselves. [1]"
    )

    @property
    def effective_pb(self) -> float:
        """Cross section times filter efficiency times k-factor [pb]."""
        return self.cross_section_pb * self.filter_efficiency * self.k_factor


def read_samples(path: Path) -> dict[int, SimulatedSample]:
    """Reads the samples of a YAML file by mcChannelNumber.

    The file holds a mapping of numbers to what `SimulatedSample` holds, or a list of rows with mcChannelNumber,
    either of them perhaps below the word `samples`. Rows without a cross section are left out, and so are further
    columns of a list.

    Raises:
        InputFileError: the file cannot be read or holds something else; names what is wrong.
    """
    content: Any = read_config(path)
    content = content.get("samples", content)
    if isinstance(content, list):
        content = _by_number(path, content)
    if not isinstance(content, Mapping) or not content:
        raise InputFileError(path, "should hold samples by their mcChannelNumber, each with its cross_section_pb")
    return {_number(path, number): _sample(path, number, row) for number, row in content.items()}


def _by_number(path: Path, rows: list[Any]) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    for row in rows:
        if not isinstance(row, Mapping):
            raise InputFileError(path, f"should hold a list of samples with {_NUMBER}, but has {row!r:.60}")
        if row.get("cross_section_pb") is None:
            continue
        if row.get(_NUMBER) is None or row[_NUMBER] in found:
            what = "twice" if row.get(_NUMBER) in found else f"without {_NUMBER}"
            raise InputFileError(path, f"has a sample {what}: {dict(row)!r:.120}")
        found[row[_NUMBER]] = {name: value for name, value in row.items() if _belongs(path, name)}
    return found


def _belongs(path: Path, column: str) -> bool:
    """True for a column that `SimulatedSample` has; a misspelled one is refused."""
    near = did_you_mean(column, SimulatedSample.model_fields)
    if column not in SimulatedSample.model_fields and near:
        raise InputFileError(path, f"has a column {column}{near}")
    return column in SimulatedSample.model_fields


def _number(path: Path, number: Any) -> int:
    if not str(number).isdecimal():
        raise InputFileError(path, f"has {number!r:.60} where the mcChannelNumber of a sample was expected")
    return int(number)


def _sample(path: Path, number: Any, row: Any) -> SimulatedSample:
    try:
        return SimulatedSample.model_validate(row)
    except ValidationError as error:
        raise InputFileError(path, f"sample {number}: {'; '.join(mistakes_of(SimulatedSample, error))}") from error
