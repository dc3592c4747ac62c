"""Worker processes: how many make sense, and how they end with the process that started them."""

import multiprocessing
import os
import threading


def available_cores() -> int:
    """How many cores this process may use: a batch system often gives it fewer than the machine has."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def end_with_parent() -> None:
    """For the start of a worker process: from now on it ends when its parent does, however that ends.

    A pool tells its workers to stop only while it lives; those of a process that was killed would wait for work for
    ever, and keep their memory and their locks.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait_for_its_end() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait_for_its_end, daemon=True, name="end with parent").start()
