"""The whole demo: all samples, all files, and the settings with which they are converted and built."""

from dataclasses import dataclass, replace
from pathlib import Path

from cal_ratio_trainer.config.demo import DemoSettings
from cal_ratio_trainer.errors import UserError
from cal_ratio_trainer.jets.labels import DataType
from cal_ratio_trainer.progress import progress
from cal_ratio_trainer.simulation.ntuple_file import FileTask, Written, write_ntuple
from cal_ratio_trainer.simulation.recipes import write_recipes
from cal_ratio_trainer.simulation.samples import Sample, all_samples
from cal_ratio_trainer.workers.executor import Executor, Report, Task
from cal_ratio_trainer.workers.opening import opened_executor


class OutputNotEmpty(UserError):
    """The demo's output folder already holds ntuples, which a pattern would mix with the new ones."""


class LostFiles(UserError):
    """Files of the demo are gone before it is complete."""


@dataclass(frozen=True)
class DemoFile:
    """One ntuple: what it holds and how convert has to be told so; masses [GeV] for signal only."""

    path: Path
    sample: str
    data_type: DataType
    role: str
    llp_mH: float | None
    llp_mS: float | None
    jets: int
    events: int


@dataclass(frozen=True)
class DemoSummary:
    """What `simulate` made.

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
        """How many jets convert will keep, over all files."""
        return sum(file.jets for file in self.files)


def simulate(settings: DemoSettings) -> DemoSummary:
    """Write the ntuples of the demo and the settings that convert and build them.

    Exactly `settings.jets` jets of signal, QCD and BIB each, and `settings.control_jets` of control-region simulation
    and data each, pass convert's default selection (with max_hlt_delta_r 0.4 for BIB). The content depends on the seed
    and the numbers of jets only. Memory does not grow with the number of jets: a process holds one file.

    Raises:
        OutputNotEmpty: the folder already holds ntuples.
        LostFiles: files were removed while the others were written.
        SchedulerError: there is no such cluster, or it cannot do this.
    """
    output = settings.output_path
    found = next(output.glob("*/*.root"), None)
    if found is not None:
        raise OutputNotEmpty(
            f"{output} already holds ntuples ({found.parent.name}/{found.name}): remove it or name another"
        )
    control_jets = settings.jets if settings.control_jets is None else settings.control_jets
    samples = all_samples(settings.jets, control_jets)
    tasks = [task for sample in samples for task in _tasks(sample, output, settings.seed)]
    written = _run(tasks, settings)
    files = tuple(_described(task, written[task.path]) for task in tasks)
    recipes = write_recipes(output, samples, {task.path: written[task.path] for task in tasks}, settings)
    lost = [path for path in (*(file.path for file in files), *recipes) if not path.is_file()]
    if lost:
        raise LostFiles(
            f"{len(lost)} of {len(files) + len(recipes)} files of the demo were removed or moved while it was made, "
            f"{lost[0]} for one; remove what is left in {output} and make it anew"
        )
    return DemoSummary(output, files, *recipes)


def _tasks(sample: Sample, output: Path, seed: int) -> list[FileTask]:
    return [
        FileTask(piece, number, output / sample.name / f"{sample.name}_{number:04d}.root", seed)
        for number, piece in enumerate(sample.files())
    ]


def _run(tasks: list[FileTask], settings: DemoSettings) -> dict[Path, Written]:
    total = sum(task.sample.jets for task in tasks)
    results: dict[Path, Written] = {}
    with (
        progress("demo", total, "jets") as line,
        opened_executor(settings, len(tasks), lambda *told: None, line.message) as executor,
    ):
        order = list(range(len(tasks)))
        if not executor.is_alone:
            # The largest files first, so that no worker is left alone with one at the end.
            order.sort(key=lambda i: -tasks[i].sample.jets)
        for done in executor.all_of(Task((i, 0), _write, (_placed(tasks[i], executor),)) for i in order):
            if done.error is not None:
                raise done.error
            task = tasks[done.key[0]]
            results[task.path] = replace(done.result, path=task.path)
            line.advance(done.result.jets, note=task.path.name)
    return results


def _placed(task: FileTask, executor: Executor) -> FileTask:
    """The task for an executor that may have another current folder."""
    return replace(task, path=task.path.absolute()) if executor.is_elsewhere else task


def _write(report: Report, task: FileTask) -> Written:
    return write_ntuple(task)


def _described(task: FileTask, written: Written) -> DemoFile:
    sample = task.sample
    return DemoFile(
        path=task.path,
        sample=sample.name,
        data_type=sample.data_type,
        role=sample.role,
        llp_mH=None if sample.point is None else float(sample.point.mH),
        llp_mS=None if sample.point is None else float(sample.point.mS),
        jets=written.jets,
        events=written.events,
    )
