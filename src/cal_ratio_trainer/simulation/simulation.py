"""The whole demo: all samples, all files, and the settings that lie beside them for convert and build.

Paths in these settings are relative to the folder, so that it can be moved; the commands are run inside it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import yaml

from cal_ratio_trainer.config.build import BuildSettings
from cal_ratio_trainer.config.convert import ConvertSettings, DemoSettings
from cal_ratio_trainer.config.loading import read_config
from cal_ratio_trainer.errors import UserError
from cal_ratio_trainer.files.atomic import refuse_unusable_folder, write_text
from cal_ratio_trainer.jets.labels import DataType
from cal_ratio_trainer.progress import progress
from cal_ratio_trainer.results import Result
from cal_ratio_trainer.simulation.events import MATCHED_RADIUS
from cal_ratio_trainer.simulation.ntuple_file import NOT_A_DETECTOR_SIMULATION, DemoFile, write_ntuple
from cal_ratio_trainer.simulation.samples import DemoSample, all_samples, cross_section_pb
from cal_ratio_trainer.workers.executor import Report, Task
from cal_ratio_trainer.workers.opening import opened_executor

CONVERTED = "converted"
_HEAD = f"# {NOT_A_DETECTOR_SIMULATION}\n"


class OutputNotEmpty(UserError):
    """The demo's output folder already holds ntuples, which a pattern would mix with the new ones."""


class LostFiles(UserError):
    """Files of the demo are gone before it is complete."""


@dataclass(frozen=True, repr=False)
class DemoSummary(Result):
    """Result of `simulate`.

    Attributes:
        output_path: the folder.
        files: all ntuples, in a fixed order.
        convert_config, build_main_config, build_control_config: settings for the next commands, run in the folder.
        samples_table: the samples with weights, cross sections and filter efficiencies.
    """

    output_path: Path
    files: tuple[DemoFile, ...]
    convert_config: Path
    build_main_config: Path
    build_control_config: Path
    samples_table: Path

    @property
    def jets(self) -> int:
        """Number of jets that convert will keep, over all files."""
        return sum(file.jets for file in self.files)

    def convert_settings(self, **changes: Any) -> ConvertSettings:
        """Settings that convert the ntuples, wherever they are called from, with changes."""
        folder = {"output_path": self.output_path / CONVERTED}
        return ConvertSettings.make(**{**_below_folder(self.convert_config), **folder, **changes})

    def build_settings(self, kind: Literal["main", "control"], **changes: Any) -> BuildSettings:
        """Settings that build a training file beside the ntuples once they are converted, with changes."""
        config = self.build_main_config if kind == "main" else self.build_control_config
        content = _below_folder(config)
        return BuildSettings.make(**{**content, "output_file": config.parent / content["output_file"], **changes})

    @property
    def headline(self) -> str:
        """See `Result`."""
        return f"{len(self.files)} ntuples for {self.jets:,} jets in {self.output_path}"

    def records(self) -> Sequence[Mapping[str, Any]]:
        """One row per ntuple."""
        return [vars(file) for file in self.files]


def _below_folder(config: Path) -> dict[str, Any]:
    """Settings from a file, with their input files, which are relative to its folder, as absolute paths."""
    content, folder = read_config(config), config.parent.absolute()
    inputs = [{**each, "input_file": str(folder / each["input_file"])} for each in content["input_files"]]
    return {**content, "input_files": inputs}


def simulate(settings: DemoSettings) -> DemoSummary:
    """Writes the ntuples of the demo and the settings that convert and build them.

    Exactly `settings.jets` jets of signal, QCD and BIB each, and `settings.control_jets` of control-region simulation
    and data each, pass convert's default selection (with max_hlt_delta_r 0.4 for BIB). The content depends on the seed,
    the numbers of jets and, for control data, `settings.mismodelling`. Memory does not grow with the number of jets: a
    process holds one file.

    Raises:
        UnusableOutput: files cannot be written to the folder.
        OutputNotEmpty: the folder already holds ntuples.
        LostFiles: files were removed while the others were written.
        SchedulerError: there is no such cluster, or it cannot do this.
    """
    output = settings.output_path
    refuse_unusable_folder(output, "output_path")
    found = next(output.glob("*/*.root"), None)
    if found is not None:
        raise OutputNotEmpty(
            f"{output} already holds ntuples ({found.parent.name}/{found.name}): remove it or name another"
        )
    control_jets = settings.jets if settings.control_jets is None else settings.control_jets
    samples = all_samples(settings.jets, control_jets)
    files = _written(samples, settings)
    recipes = write_recipes(output, samples, files, settings)
    lost = [path for path in (*(file.path for file in files), *recipes) if not path.is_file()]
    if lost:
        raise LostFiles(
            f"{len(lost)} of {len(files) + len(recipes)} files of the demo were removed or moved while it was made, "
            f"{lost[0]} for one; remove what is left in {output} and make it anew"
        )
    return DemoSummary(output, files, *recipes)


def _written(samples: list[DemoSample], settings: DemoSettings) -> tuple[DemoFile, ...]:
    """Writes all files; in the order of the samples and their pieces."""
    tasks = [
        (settings.output_path / sample.name / f"{sample.name}_{number:04d}.root", piece, number)
        for sample in samples
        for number, piece in enumerate(sample.files())
    ]
    written: dict[int, DemoFile] = {}
    with (
        progress("demo", sum(piece.jets for _, piece, _ in tasks), "jets") as line,
        opened_executor(settings, len(tasks), line.message) as executor,
    ):
        order = list(range(len(tasks)))
        if not executor.is_alone:
            # The largest files first, so that no worker is left alone with one at the end.
            order.sort(key=lambda i: -tasks[i][1].jets)
        # Workers elsewhere may have another current folder.
        paths = [path.absolute() if executor.is_elsewhere else path for path, _, _ in tasks]
        common = (settings.seed, settings.mismodelling)
        for done in executor.all_of(Task((i, 0), _write, (paths[i], *tasks[i][1:], *common)) for i in order):
            if done.error is not None:
                raise done.error
            number = done.key[0]
            written[number] = replace(done.result, path=tasks[number][0])
            line.advance(done.result.jets, note=done.result.path.name)
    return tuple(written[number] for number in range(len(tasks)))


def _write(report: Report, path: Path, sample: DemoSample, piece: int, seed: int, mismodelling: float) -> DemoFile:
    return write_ntuple(path, sample, piece, seed, mismodelling)


def write_recipes(
    output: Path, samples: list[DemoSample], files: Sequence[DemoFile], settings: DemoSettings
) -> tuple[Path, Path, Path, Path]:
    """Writes convert.yaml, build_main.yaml, build_control.yaml and samples.yaml; returns their paths in this order."""
    contents: dict[str, dict[str, Any]] = {
        "convert.yaml": {
            "output_path": CONVERTED,
            "max_hlt_delta_r": MATCHED_RADIUS,
            "input_files": [_conversion_input(sample) for sample in samples],
        },
        "build_main.yaml": _build(samples, "main"),
        "build_control.yaml": _build(samples, "control"),
        "samples.yaml": {
            "simulation": NOT_A_DETECTOR_SIMULATION,
            "settings": settings.model_dump(mode="json", include={"jets", "control_jets", "seed", "mismodelling"}),
            "samples": [_table_row(sample, files) for sample in samples],
        },
    }
    for name, content in contents.items():
        head = f"{_HEAD}# Run in this folder: paths are relative to it.\n" if name != "samples.yaml" else ""
        write_text(output / name, head + yaml.safe_dump(content, sort_keys=False, width=110))
    convert, main, control, table = (output / name for name in contents)
    return convert, main, control, table


def _conversion_input(sample: DemoSample) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "input_file": f"{sample.name}/*.root",
        "data_type": sample.data_type.value,
        "output_dir": sample.name,
    }
    if sample.point is not None:
        entry |= {"llp_mH": float(sample.point.mH), "llp_mS": float(sample.point.mS)}
    return entry


def _build(samples: list[DemoSample], kind: str) -> dict[str, Any]:
    inputs = [{"input_file": f"{CONVERTED}/{sample.name}/*.parquet"} for sample in samples if sample.role == kind]
    # The demo is trained on its own mcEventWeight; samples.yaml has the numbers to weigh the slices by cross section.
    return {"kind": kind, "output_file": f"{kind}.parquet", "normalise": "none", "input_files": inputs}


def _table_row(sample: DemoSample, files: Sequence[DemoFile]) -> dict[str, Any]:
    own = [file for file in files if file.sample == sample.name]
    row: dict[str, Any] = {
        "name": sample.name,
        "data_type": sample.data_type.value,
        "kind": sample.role,
        "files": len(own),
        "events": sum(file.events for file in own),
        "jets_kept_by_convert": sum(file.jets for file in own),
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
