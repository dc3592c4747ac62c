"""The workers of a dask.distributed cluster do the work: one of this machine, of a facility, or of a batch system."""

import contextlib
import hashlib
import importlib.metadata
import json
import platform
import queue
import secrets
import socket
import time
from collections import deque
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from cal_ratio_trainer.files.leases import lease_file
from cal_ratio_trainer.version import CODE, __version__
from cal_ratio_trainer.workers.executor import Done, Executor, Key, SchedulerError, Task, WorkerLost, at_intervals

_CONNECT_S = 30
_FETCH_S = 30
_COUNT_WORKERS_EVERY_S = 5.0
_REPORT_EVERY_S = 0.5
_SAY_THAT_NOBODY_WORKS_AFTER_S = 10.0
_LOOK_FOR_FILE_EVERY_S = 0.2
_LOOKS_FOR_THE_DISK = 20
_BETWEEN_LOOKS_S = 0.5
_INSTALL = "install the same everywhere"


class DaskCluster(Executor):
    """The workers of one scheduler, as many as there are at a time: they may come and go."""

    is_elsewhere = True

    def __init__(self, address: str, say: Callable[[str], None] = print) -> None:
        super().__init__()
        self._address, self._say = address, say
        self._client = _connected(address)
        self._topic = f"cal_ratio_trainer-{secrets.token_hex(8)}"
        self._words: queue.SimpleQueue[tuple[Key, int, int]] = queue.SimpleQueue()
        self._ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._tasks: dict[Any, tuple[Task, Any]] = {}
        self._waiting: deque[Task] = deque()
        self._suspects: deque[Task] = deque()
        self._threads, self._counted = 0, -_COUNT_WORKERS_EVERY_S
        self._idle_since = time.monotonic()
        self._client.subscribe_topic(self._topic, self._hear)

    @property
    def places(self) -> int:
        """Number of threads of the workers at the moment; 1 without workers."""
        now = time.monotonic()
        if now - self._counted >= _COUNT_WORKERS_EVERY_S:
            self._counted = now
            self._threads = sum(self._client.nthreads().values())
            self._say_when_nobody_works(now)
        return max(1, self._threads)

    def submit(self, task: Task) -> None:
        """Submits it to the scheduler, after the tasks of lost workers."""
        self._waiting.append(task)
        self._give_out()

    def _give_out(self) -> None:
        """Submits waiting tasks; suspects are submitted alone, so that the cause of a lost worker is known."""
        if self._suspects:
            if not self._tasks:
                self._pass_on(self._suspects[0])
            return
        while self._waiting:
            self._pass_on(self._waiting.popleft())

    def _pass_on(self, task: Task) -> None:
        # Dask takes two tasks of one name for one task; the second try of a task is another one.
        name = f"{self._topic}-{task.key[0]}-{task.key[1]}-{secrets.token_hex(4)}"
        future = self._client.submit(_work, versions(), self._topic, task, key=name, pure=False)
        self._tasks[name] = (task, future)
        future.add_done_callback(self._ended.put)

    def wait(self, seconds: float) -> list[Done]:
        """See `Executor.wait`."""
        futures = []
        with contextlib.suppress(queue.Empty):
            futures.append(self._ended.get(timeout=seconds))
            while True:
                futures.append(self._ended.get_nowait())
        with contextlib.suppress(queue.Empty):
            while True:
                self.on_progress(*self._words.get_nowait())
        if not futures and self._client.status != "running":
            raise self._no_connection()
        found = [done for future in futures if (done := self._done(future)) is not None]
        self._give_out()
        return found

    def _done(self, future: Any) -> Done | None:
        """Result of a task; None if it must be repeated."""
        from distributed import CancelledError, KilledWorker

        if future.status == "finished" and not self._has_result(future):
            return None
        task, _ = self._tasks.pop(future.key)
        is_alone = bool(self._suspects) and self._suspects[0] is task
        if is_alone:
            self._suspects.popleft()
        try:
            return Done(task.key, future.result())
        except CancelledError as error:
            if self._client.status != "running":
                raise self._no_connection() from error
            self._waiting.append(task)
            return None
        except KilledWorker:
            # The scheduler has tried several workers by then, but cannot tell which of their tasks ended them.
            if is_alone:
                return Done(task.key, error=WorkerLost("every worker that was given it was lost"))
            self._suspects.append(task)
            return None
        except Exception as error:
            return Done(task.key, error=_in_our_words(error))

    def _has_result(self, future: Any) -> bool:
        """False if a result was lost with the worker that had it, and is being made again."""
        try:
            future.result(timeout=_FETCH_S)
        except TimeoutError:
            self._ended.put(future)
            return False
        except Exception:
            # The reader of the result handles the errors.
            return True
        return True

    def _no_connection(self) -> SchedulerError:
        return SchedulerError(f"the connection to the Dask scheduler {self._address} is lost; run again to go on")

    def close(self, finishes_tasks: bool) -> None:
        """Disconnects from the cluster, which continues to run."""
        with contextlib.suppress(Exception):
            if self._tasks:
                self._client.cancel([future for _, future in self._tasks.values()], force=True)
            self._client.unsubscribe_topic(self._topic)
        self._tasks.clear()
        with contextlib.suppress(Exception):
            self._client.close()

    def _hear(self, event: tuple[float, Any]) -> None:
        _, (key, done, of) = event
        self._words.put((tuple(key), done, of))

    def _say_when_nobody_works(self, now: float) -> None:
        if self._threads:
            self._idle_since = now
        elif now - self._idle_since > _SAY_THAT_NOBODY_WORKS_AFTER_S:
            self._say(f"the Dask scheduler {self._address} has no workers yet; waiting for some")
            # Not again for a minute: a batch system may need some time.
            self._idle_since = now + 60.0


def _connected(address: str) -> Any:
    try:
        from distributed import Client, Security
    except ImportError as error:
        raise SchedulerError(
            f"the scheduler {address} needs the package distributed: pip install 'cal_ratio_trainer[dask]'"
        ) from error
    given, address = address, address if "://" in address else scheduler_address_in(Path(address).expanduser())
    security = Security()
    if address.startswith("tls://"):
        # Certificates are in Dask's configuration or in the environment; see docs/cluster.md.
        try:
            context = security.get_connection_args("client").get("ssl_context")
        except OSError as error:
            raise SchedulerError(f"the certificates for {address} cannot be used ({error})") from error
        if context is None:
            raise SchedulerError(
                f"the scheduler {address} wants certificates, and Dask's configuration names none: set ca-file and "
                "client under distributed.comm.tls (docs/cluster.md)"
            )
    try:
        return Client(address, timeout=_CONNECT_S, set_as_default=False, name="cal_ratio_trainer", security=security)
    except (OSError, ValueError, TimeoutError) as error:
        raise SchedulerError(f"no Dask scheduler answers at {given} ({type(error).__name__}: {error})") from error


def scheduler_address_in(file: Path) -> str:
    """The address in a scheduler file, which the scheduler may be about to write."""
    until = time.monotonic() + _CONNECT_S
    while not file.exists() and time.monotonic() < until:
        time.sleep(_LOOK_FOR_FILE_EVERY_S)
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise SchedulerError(f"the scheduler file {file} cannot be read ({type(error).__name__}: {error})") from error
    address = found.get("address") if isinstance(found, dict) else None
    if not isinstance(address, str) or "://" not in address:
        raise SchedulerError(f"the scheduler file {file} names no address, expected one like tcp://host:8786")
    return address


@cache
def versions() -> dict[str, str]:
    """Versions that must agree between the command and the workers, by name."""
    code = hashlib.sha256()
    for file in sorted(CODE.rglob("*.py")):
        code.update(str(file.relative_to(CODE)).encode() + b"\0" + file.read_bytes())
    major = {name: importlib.metadata.version(name).partition(".")[0] for name in ("numpy", "pyarrow")}
    python = ".".join(platform.python_version_tuple()[:2])
    return {
        "cal_ratio_trainer": __version__,
        "Python": python,
        **major,
        "our code": code.hexdigest()[:12],
    }


def _in_our_words(error: Exception) -> Exception:
    if isinstance(error, ModuleNotFoundError) and (error.name or "").startswith("cal_ratio_trainer"):
        return SchedulerError("the workers of the Dask cluster have no cal_ratio_trainer: install it where they start")
    if isinstance(error, AttributeError) and "Can't get attribute" in str(error) and "cal_ratio_trainer" in str(error):
        return SchedulerError(f"the workers of the Dask cluster have another cal_ratio_trainer ({error}): {_INSTALL}")
    return error


def _check_shared_disk(lease: Path) -> None:
    """Raises SchedulerError if this machine does not see the lease that the giver of the task holds."""
    for _ in range(_LOOKS_FOR_THE_DISK):
        if lease.exists():
            return
        # A network file system may take its time to show what another machine has just made.
        time.sleep(_BETWEEN_LOOKS_S)
    raise SchedulerError(
        f"the worker on {socket.gethostname()} does not see {lease.parent} as it is here: workers of a cluster "
        "need the output folder on a disk that they share with this machine"
    )


def _work(expected: dict[str, str], topic: str, task: Task) -> Any:
    from distributed import get_worker

    worker = get_worker()
    different = [f"{name} {has} (here {expected[name]})" for name, has in versions().items() if has != expected[name]]
    if different:
        raise SchedulerError(f"the worker {worker.name} has {', '.join(different)}: {_INSTALL}")
    if task.output is not None:
        _check_shared_disk(lease_file(task.output))

    def report(done: int, of: int) -> None:
        worker.log_event(topic, (task.key, done, of))

    # The scheduler passes each word on.
    return task.run_in_worker(at_intervals(report, _REPORT_EVERY_S))
