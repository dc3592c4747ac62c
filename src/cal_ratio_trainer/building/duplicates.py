"""Finds jets that come twice, so that none is counted twice or stands in two parts of a split."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.building.scan import ScannedFile
from cal_ratio_trainer.errors import UserError
from cal_ratio_trainer.jets.ragged import IndexArray

_log = logging.getLogger(__name__)

_BY_POSITION = ("mcChannelNumber", "runNumber", "eventNumber", "jet_index")
_BY_KINEMATICS = ("runNumber", "eventNumber", "jet_pt", "jet_eta", "jet_phi")
_FILES_NAMED = 5

Keys = NDArray[np.uint64]


class DuplicateJets(UserError):
    """Some jets are taken twice; says how many and from which files."""


def refuse_duplicates(files: Sequence[ScannedFile]) -> list[str]:
    """See that no jet is taken twice.

    Jets are the same when data type, sample (mcChannelNumber), run, event and position in the event are; where a file
    does not know events or positions (legacy frames), when data type, run, event, pt, eta and phi are.

    Returns:
        What was used instead of positions where they are not known, a sentence each.

    Raises:
        DuplicateJets: with their number and the files.
    """
    named = [file for file in files if len(file.taken)]
    if not named:
        return []
    without = [file for file in named if not (_is_known(file, "jet_index") and _is_known(file, "eventNumber"))]
    columns = _BY_KINEMATICS if without else _BY_POSITION
    keys = np.concatenate([_keys(file, columns) for file in named])
    repeats = _repeated(keys)
    if len(repeats.again):
        raise DuplicateJets(
            _in_words(repeats, named, "run, event, pt, eta and phi" if without else "run, event and jet")
        )
    if not without:
        return []
    sentence = (
        f"{len(without)} of {len(named)} files do not know which jet of its event a jet is; jets were compared by run, "
        "event (as far as known), pt, eta and phi instead"
    )
    _log.warning("%s", sentence)
    return [sentence]


def _is_known(file: ScannedFile, name: str) -> bool:
    return name in file.columns.column_names and file.columns.column(name).null_count == 0


def _keys(file: ScannedFile, names: Sequence[str]) -> Keys:
    """What identifies each taken jet, [taken, 1 + names]; unknown is 0."""
    # Within one kind of training file the label says the data type.
    return np.stack([_bits(file, name) for name in ("label", *names)], axis=1)


def _bits(file: ScannedFile, name: str) -> NDArray[np.uint64]:
    if name not in file.columns.column_names:
        return np.zeros(len(file.taken), dtype=np.uint64)
    values: NDArray[Any] = file.columns.column(name).fill_null(0).to_numpy()
    return values.view(np.uint32).astype(np.uint64) if values.dtype == np.float32 else values.astype(np.uint64)


@dataclass(frozen=True)
class _Repeats:
    """Positions of jets that came before, and for each the position of the first with the same key."""

    again: IndexArray
    first: IndexArray


def _repeated(keys: Keys) -> _Repeats:
    """Found by a hash of each key and confirmed by the key itself."""
    hashes = np.zeros(len(keys), dtype=np.uint64)
    for column in keys.T:
        hashes = _mixed(hashes ^ column)
    _, first, group = np.unique(hashes, return_index=True, return_inverse=True)
    first_of_each = first[group]
    again = np.flatnonzero(first_of_each != np.arange(len(keys)))
    again = again[np.all(keys[again] == keys[first_of_each[again]], axis=1)]
    return _Repeats(again, first_of_each[again])


def _mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Spread the bits of numbers over all 64 (the finaliser of splitmix64, Steele et al. 2014)."""
    numbers = numbers + np.uint64(0x9E3779B97F4A7C15)
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))


def _in_words(repeats: _Repeats, files: Sequence[ScannedFile], compared: str) -> str:
    owners = np.repeat(np.arange(len(files)), [len(file.taken) for file in files])
    pairs, counts = np.unique(np.stack([owners[repeats.first], owners[repeats.again]]), axis=1, return_counts=True)
    told = []
    for pair in np.argsort(-counts, kind="stable")[:_FILES_NAMED]:
        told.append(f"{counts[pair]} {_where(files[pairs[0, pair]], files[pairs[1, pair]])}")
    more = f" and {len(counts) - _FILES_NAMED} more pairs of files" if len(counts) > _FILES_NAMED else ""
    verb = "jet comes" if len(repeats.again) == 1 else "jets come"
    return f"{len(repeats.again)} {verb} twice (same data type, {compared}): {'; '.join(told)}{more}"


def _where(first: ScannedFile, second: ScannedFile) -> str:
    if first is second:
        return f"within {first.source.given_as}"
    if first.source.path.resolve() == second.source.path.resolve():
        return f"in {first.source.given_as}, which is given twice"
    return f"in {first.source.given_as} and {second.source.given_as}"
