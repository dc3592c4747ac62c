"""Worker processes that end with the process that started them."""

import subprocess
import sys

PARENT = """
import multiprocessing, os, time
from concurrent.futures import ProcessPoolExecutor
from cal_ratio_trainer.workers.processes import end_with_parent

if __name__ == "__main__":
    pool = ProcessPoolExecutor(2, multiprocessing.get_context("spawn"), end_with_parent)
    print(pool.submit(os.getpid).result(), flush=True)
    time.sleep(600)
"""


def test_workers_end_with_a_parent_that_is_killed() -> None:
    process = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert int(process.stdout.readline()) != process.pid
    process.kill()
    # The pipe closes when the last process that holds it ends: a surviving worker would keep it open.
    rest, _ = process.communicate(timeout=60)
    assert rest == ""
