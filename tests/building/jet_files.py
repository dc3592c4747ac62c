"""Files of random jets for tests of building."""

from pathlib import Path
from typing import Any

from cal_ratio_trainer.config.build import BuildSettings
from cal_ratio_trainer.jets import DataType
from cal_ratio_trainer.jets.metadata import JetMetadata, converted_units
from cal_ratio_trainer.jets.store import write_jets
from tests.factories.jets import converted_jets


def write_converted(
    folder: Path, count: int, data_type: DataType = DataType.QCD, seed: int = 1, **metadata: Any
) -> Path:
    """A converted file of random jets, named after its data type and seed."""
    path = folder / f"{data_type}_{seed}.parquet"
    described = JetMetadata(stage="converted", data_type=data_type, units=converted_units(), **metadata)
    write_jets(path, converted_jets(count, data_type, seed=seed), described)
    return path


def settings_for(output: Path, *inputs: Any, **changes: Any) -> BuildSettings:
    """Settings of a build of these inputs, by default with the weights of the files."""
    given = [str(each) if isinstance(each, Path) else each for each in inputs]
    weights = {} if changes.keys() & {"samples", "normalise"} else {"normalise": "none"}
    return BuildSettings.make(input_files=given, output_file=output, **weights, **changes)
