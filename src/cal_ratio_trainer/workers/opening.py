"""Opens the executor that the settings ask for."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cal_ratio_trainer.config.shared import SchedulingSettings
from cal_ratio_trainer.workers.executor import Executor, Key
from cal_ratio_trainer.workers.own_process import OwnProcess


@contextmanager
def opened_executor(
    settings: SchedulingSettings,
    tasks: int,
    on_progress: Callable[[Key, int, int], None],
    say: Callable[[str], None],
) -> Iterator[Executor]:
    """Executor that the settings ask for; closed when the block ends.

    Args:
        settings: name the scheduler, and how many processes.
        tasks: how many tasks there will be at least; one needs no second process, unless it can be cut.
        on_progress: told how far each task is: its key, units done, units in all.
        say: told what the user should know.

    Raises:
        SchedulerError: there is no such cluster, or the package for it is missing.
    """
    executor = _make(settings, tasks, on_progress, say)
    try:
        yield executor
    except BaseException:
        executor.close(in_peace=False)
        raise
    executor.close(in_peace=True)


def _make(
    settings: SchedulingSettings,
    tasks: int,
    on_progress: Callable[[Key, int, int], None],
    say: Callable[[str], None],
) -> Executor:
    if settings.scheduler is None or tasks == 0:
        return OwnProcess(on_progress)
    if settings.scheduler != "local":
        from cal_ratio_trainer.workers.dask_cluster import DaskCluster

        return DaskCluster(settings.scheduler, on_progress, say)
    if settings.workers == 1:
        return OwnProcess(on_progress)
    from cal_ratio_trainer.workers.local_processes import LocalProcesses

    return LocalProcesses(settings.workers, on_progress)
