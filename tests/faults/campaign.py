"""Damaged copies of a good file, each read by a loader in a child process that may crash, hang or fail."""

import importlib
import os
import shutil
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from cal_ratio_trainer.errors import UserError
from tests.faults import forking_context
from tests.faults.damage import Generator, damaged_bytes

LOADERS = "tests.faults.loaders"
"""Module with the table `LOADERS`; a child process imports it."""

_MEMORY_BYTES = 16 << 30
_LONGEST_SENTENCE = 2000


@dataclass(frozen=True)
class Loader:
    """Reader of one kind of file.

    Attributes:
        make: Writes a good file, and other needed files, to an empty folder; returns the path of the file to damage.
        load: Reads it, and returns content that must not change silently, or None if a changed file may be valid too.
            Raises UserError (or click's usage errors) for a file that it refuses.
        damage: Makes a damaged copy of the file's bytes.
        refused: exceptions beside UserError with which a file may be refused.
    """

    make: Callable[[Path], Path]
    load: Callable[[Path], object]
    damage: Callable[[bytes, Generator], bytes] = damaged_bytes
    refused: tuple[type[BaseException], ...] = ()


@dataclass
class Outcome:
    """Results for the damaged files of one loader.

    Attributes:
        counts: files by 'refused', 'accepted' (or harmless), 'changed' (silently read as something else),
            'traceback', 'crash', 'hang'.
        faults: One line for each file that was neither refused nor accepted: its number and the result.
    """

    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def add(self, number: int, kind: str, said: str) -> None:
        """Counts one file."""
        self.counts[kind] += 1
        if kind not in ("refused", "accepted"):
            self.faults.append(f"input {number}: {kind}: {said}")


def run_campaign(name: str, inputs: int, seed: int = 0, first: int = 0, timeout_s: float = 60.0) -> Outcome:
    """Reads `inputs` damaged files with one loader.

    Args:
        name: of the loader.
        inputs: how many.
        seed: of the damage; input number N is the same file for the same seed.
        first: number of the first input: one fault is repeated with its number and `inputs` 1.
        timeout_s: after so long without an answer a loader hangs. [s]
    """
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        return _campaign(name, range(first, first + inputs), seed, timeout_s, Path(folder))


def _campaign(name: str, inputs: range, seed: int, timeout_s: float, folder: Path) -> Outcome:
    outcome, number = Outcome(), inputs.start
    context = forking_context()
    while number < inputs.stop:
        here, there = context.Pipe()
        child = context.Process(
            target=_answer, args=(there, name, seed, range(number, inputs.stop), folder), daemon=True
        )
        child.start()
        there.close()
        try:
            while number < inputs.stop:
                # The first answer includes the imports and the writing of the good file.
                if not here.poll(timeout_s + 60.0):
                    outcome.add(number, "hang", f"no answer for {timeout_s:.0f} s")
                    number += 1
                    break
                kind, said = here.recv()
                if kind == "broken":
                    raise RuntimeError(f"the good file of loader {name!r} is not read: {said}")
                outcome.add(number, kind, said)
                number += 1
        except (EOFError, ConnectionResetError):
            child.join()
            outcome.add(number, "crash", f"the process ended with status {child.exitcode}")
            number += 1
        finally:
            here.close()
            child.kill()
            child.join()
    return outcome


def _answer(connection: Connection, name: str, seed: int, numbers: range, folder: Path) -> None:
    _limit_memory()
    loader: Loader = importlib.import_module(LOADERS).LOADERS[name]
    # Files of an earlier child process may exist.
    for remains in folder.iterdir():
        shutil.rmtree(remains)
    good, tried = folder / "good", folder / "tried"
    good.mkdir()
    try:
        file = loader.make(good).relative_to(good)
        expected = loader.load(good / file)
    except BaseException:
        connection.send(("broken", traceback.format_exc()))
        return
    content = (good / file).read_bytes()
    for number in numbers:
        # Links, because loaders do not change the files beside the damaged one.
        shutil.copytree(good, tried, copy_function=os.link)
        (tried / file).unlink()
        (tried / file).write_bytes(loader.damage(content, np.random.default_rng([seed, number])))
        connection.send(_tried(loader, tried / file, expected))
        shutil.rmtree(tried, ignore_errors=True)


def _tried(loader: Loader, file: Path, expected: object) -> tuple[str, str]:
    try:
        found = loader.load(file)
    except BaseException as error:
        if isinstance(error, (UserError, *loader.refused)) and len(str(error)) < _LONGEST_SENTENCE:
            return "refused", ""
        where = traceback.extract_tb(error.__traceback__)[-1]
        return "traceback", f"{type(error).__name__}: {error!s:.200} ({where.filename}:{where.lineno})"
    return ("accepted", "") if found == expected else ("changed", f"{found!r:.100}")


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    allowed = _MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(_MEMORY_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_AS, (allowed, hard))
