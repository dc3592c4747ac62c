"""Settings that lie beside the ntuples: how to convert and build them, and the table of the samples.

Paths in them are relative to the folder, so that it can be moved; the commands are run inside it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from cal_ratio_trainer.config.demo import DemoSettings
from cal_ratio_trainer.files.atomic import write_text
from cal_ratio_trainer.jets.labels import DataType
from cal_ratio_trainer.simulation.event_draft import MATCHED_RADIUS
from cal_ratio_trainer.simulation.ntuple_file import NOT_A_DETECTOR_SIMULATION, Written
from cal_ratio_trainer.simulation.samples import Sample, cross_section_pb

CONVERTED = "converted"
_HEAD = f"# {NOT_A_DETECTOR_SIMULATION}\n"


def write_recipes(
    output: Path, samples: list[Sample], written: Mapping[Path, Written], settings: DemoSettings
) -> tuple[Path, Path, Path, Path]:
    """Write convert.yaml, build_main.yaml, build_control.yaml and samples.yaml; returns their paths in this order."""
    contents: dict[str, dict[str, Any]] = {
        "convert.yaml": _convert(samples),
        "build_main.yaml": _build(samples, "main"),
        "build_control.yaml": _build(samples, "control"),
        "samples.yaml": {
            "simulation": NOT_A_DETECTOR_SIMULATION,
            "settings": settings.model_dump(mode="json", include={"jets", "control_jets", "seed"}),
            "samples": [_table_row(sample, written) for sample in samples],
        },
    }
    for name, content in contents.items():
        head = f"{_HEAD}# Run in this folder: paths are relative to it.\n" if name != "samples.yaml" else ""
        write_text(output / name, head + yaml.safe_dump(content, sort_keys=False, width=110))
    convert, main, control, table = (output / name for name in contents)
    return convert, main, control, table


def _convert(samples: list[Sample]) -> dict[str, Any]:
    return {
        "output_path": CONVERTED,
        "max_hlt_delta_r": MATCHED_RADIUS,
        "input_files": [_conversion_input(sample) for sample in samples],
    }


def _conversion_input(sample: Sample) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "input_file": f"{sample.name}/*.root",
        "data_type": sample.data_type.value,
        "output_dir": sample.name,
    }
    if sample.point is not None:
        entry |= {"llp_mH": float(sample.point.mH), "llp_mS": float(sample.point.mS)}
    return entry


def _build(samples: list[Sample], kind: str) -> dict[str, Any]:
    inputs = [{"input_file": f"{CONVERTED}/{sample.name}/*.parquet"} for sample in samples if sample.role == kind]
    # The demo is trained on its own mcEventWeight; samples.yaml has what it takes to weigh the slices by cross section.
    return {"kind": kind, "output_file": f"{kind}.parquet", "normalise": "none", "input_files": inputs}


def _table_row(sample: Sample, written: Mapping[Path, Written]) -> dict[str, Any]:
    files = [each for path, each in written.items() if path.parent.name == sample.name]
    row: dict[str, Any] = {
        "name": sample.name,
        "data_type": sample.data_type.value,
        "kind": sample.role,
        "files": len(files),
        "events": sum(each.events for each in files),
        "jets_kept_by_convert": sum(each.jets for each in files),
    }
    if sample.channel is not None:
        row |= {"mcChannelNumber": sample.channel, "mcEventWeight": sample.weight}
    if sample.point is not None:
        row |= {"mH_GeV": sample.point.mH, "mS_GeV": sample.point.mS, "ctau_m": sample.point.ctau}
    if sample.data_type is DataType.QCD:
        (each,) = sample.slices
        cross_section, efficiency = cross_section_pb(sample)
        row |= {"leading_pt_GeV": [each.low, each.high]}
        row |= {"cross_section_pb": cross_section, "filter_efficiency": efficiency}
    return row
