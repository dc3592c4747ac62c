"""From the settings to somebody who does the work."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cal_ratio_trainer.config.scheduling import SchedulingSettings
from cal_ratio_trainer.workers.executor import Crew, Key
from cal_ratio_trainer.workers.own_process import OwnProcess


@contextmanager
def opened_crew(
    settings: SchedulingSettings,
    tasks: int,
    on_progress: Callable[[Key, int, int], None],
    say: Callable[[str], None],
) -> Iterator[Crew]:
    """Who does the work that the settings ask for; dismissed when the block ends.

    Args:
        settings: name the scheduler, and how many processes.
        tasks: how many tasks there will be at least; one needs no second process, unless it can be cut.
        on_progress: told how far each task is: its key, units done, units in all.
        say: told what the user should know.

    Raises:
        SchedulerError: there is no such cluster, or the package for it is missing.
    """
    crew = _make(settings, tasks, on_progress, say)
    try:
        yield crew
    except BaseException:
        crew.close(in_peace=False)
        raise
    crew.close(in_peace=True)


def _make(
    settings: SchedulingSettings,
    tasks: int,
    on_progress: Callable[[Key, int, int], None],
    say: Callable[[str], None],
) -> Crew:
    if settings.scheduler is None or tasks == 0:
        return OwnProcess(on_progress)
    if settings.scheduler != "local":
        from cal_ratio_trainer.workers.dask_cluster import DaskCluster

        return DaskCluster(settings.scheduler, on_progress, say)
    if settings.workers == 1:
        return OwnProcess(on_progress)
    from cal_ratio_trainer.workers.local_processes import LocalProcesses

    return LocalProcesses(settings.workers, on_progress)
