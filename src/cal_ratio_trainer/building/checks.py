"""Checks of all scanned files together: training files that are combined, jets that come twice, missing classes."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.building.samples import SampleError
from cal_ratio_trainer.building.scan import AlreadyBuilt, ScannedFile
from cal_ratio_trainer.config.build import BuildSettings
from cal_ratio_trainer.errors import ConfigError, InputFileError, UserError
from cal_ratio_trainer.jets.labels import CONTROL_DATA, CONTROL_MC
from cal_ratio_trainer.jets.metadata import LEGACY_SCALING, Scaling
from cal_ratio_trainer.jets.ragged import IndexArray
from cal_ratio_trainer.jets.table import scrambled

_log = logging.getLogger(__name__)

COMBINED = "all inputs are training files; they were combined as they are, and nothing was scaled again"

_BY_POSITION = ("mcChannelNumber", "runNumber", "eventNumber", "jet_index")

_BY_KINEMATICS = ("runNumber", "eventNumber", "jet_pt", "jet_eta", "jet_phi")

_FILES_NAMED = 5

_FILES_IN_A_NOTE = 3

Keys = NDArray[np.uint64]


def are_training_files(files: Sequence[ScannedFile], settings: BuildSettings) -> bool:
    """True if all inputs are training files of one scaling, False if none is.

    Raises:
        AlreadyBuilt: a training file stands alone, or beside converted files.
        InputFileError: one is scaled otherwise than the settings say.
        SampleError: multijets of some were weighed by cross section, and of others not.
        ConfigError: the settings weigh what only converted files can be weighed by.
    """
    built = [file for file in files if file.rows and file.is_built]
    converted = [file for file in files if file.rows and not file.is_built]
    if not built:
        return False
    if converted or len(built) == 1:
        beside = f", but {converted[0].source.given_as} is not" if converted else ""
        raise AlreadyBuilt(
            built[0].source.path,
            f"is already a training file (its pt and layer energies are scaled){beside}; scaling twice would spoil "
            "them. Give converted files, or at least two training files, which build combines as they are",
        )
    wanted = Scaling(min_jet_pt=settings.min_jet_pt, max_jet_pt=settings.max_jet_pt)
    for file in built:
        found = file.metadata.scaling or LEGACY_SCALING
        if found != wanted:
            raise InputFileError(
                file.source.path,
                f"is scaled with {found}, but min_jet_pt and max_jet_pt of the settings give {wanted}",
            )
    if settings.samples is not None or settings.pileup_weight:
        raise ConfigError(["samples and pileup_weight are for converted files; training files keep their weights"])
    _refuse_mixed_weights(built, settings)
    return True


def _refuse_mixed_weights(files: Sequence[ScannedFile], settings: BuildSettings) -> None:
    names: dict[bool, str] = {}
    for file in files:
        if file.is_multijet.any():
            names[bool(file.metadata.details.get("weights", {}).get("samples"))] = file.source.given_as
    if len(names) == 2 and settings.normalise == "samples":
        raise SampleError(
            f"multijets in {names[True]} are weighted by cross section, those in {names[False]} are not; "
            "with normalise: none their weights are used as they are"
        )


class DuplicateJets(UserError):
    """Jets are taken twice; the message gives their number and the files."""


def refuse_duplicates(files: Sequence[ScannedFile]) -> list[str]:
    """Refuses jets that are taken twice.

    Jets are the same when data type, sample (mcChannelNumber), run, event and position in the event are; if a file
    does not know events or positions (legacy frames), when data type, run, event, pt, eta and phi are.

    Returns:
        What was used instead of positions if they are not known, a sentence each.

    Raises:
        DuplicateJets: with their number and the files.
    """
    named = [file for file in files if len(file.taken)]
    if not named:
        return []
    without = [file for file in named if not (_is_known(file, "jet_index") and _is_known(file, "eventNumber"))]
    columns = _BY_KINEMATICS if without else _BY_POSITION
    # Within one kind of training file the label says the data type.
    keys = np.concatenate([np.stack([_bits(file, name) for name in ("label", *columns)], axis=1) for file in named])
    again, first = _repeated(keys)
    if len(again):
        compared = "run, event, pt, eta and phi" if without else "run, event and jet"
        raise DuplicateJets(_in_words(again, first, named, compared))
    if not without:
        return []
    sentence = (
        f"{len(without)} of {len(named)} files do not store the position of each jet in its event; jets were "
        "compared by run, event (where known), pt, eta and phi instead"
    )
    _log.warning("%s", sentence)
    return [sentence]


def _is_known(file: ScannedFile, name: str) -> bool:
    return name in file.columns.column_names and file.columns.column(name).null_count == 0


def _bits(file: ScannedFile, name: str) -> NDArray[np.uint64]:
    if name not in file.columns.column_names:
        return np.zeros(len(file.taken), dtype=np.uint64)
    values: NDArray[Any] = file.columns.column(name).fill_null(0).to_numpy()
    return values.view(np.uint32).astype(np.uint64) if values.dtype == np.float32 else values.astype(np.uint64)


def _repeated(keys: Keys) -> tuple[IndexArray, IndexArray]:
    """Positions of jets that came before, and for each the position of the first with the same key.

    Found by a hash of each key and confirmed by the key itself.
    """
    hashes = np.zeros(len(keys), dtype=np.uint64)
    for column in keys.T:
        hashes = scrambled(hashes ^ column)
    _, first, group = np.unique(hashes, return_index=True, return_inverse=True)
    first_of_each = first[group]
    again = np.flatnonzero(first_of_each != np.arange(len(keys)))
    again = again[np.all(keys[again] == keys[first_of_each[again]], axis=1)]
    return again, first_of_each[again]


def _in_words(again: IndexArray, first: IndexArray, files: Sequence[ScannedFile], compared: str) -> str:
    owners = np.repeat(np.arange(len(files)), [len(file.taken) for file in files])
    pairs, counts = np.unique(np.stack([owners[first], owners[again]]), axis=1, return_counts=True)
    told = []
    for pair in np.argsort(-counts, kind="stable")[:_FILES_NAMED]:
        told.append(f"{counts[pair]} {_where(files[pairs[0, pair]], files[pairs[1, pair]])}")
    more = f" and {len(counts) - _FILES_NAMED} more pairs of files" if len(counts) > _FILES_NAMED else ""
    verb = "jet occurs" if len(again) == 1 else "jets occur"
    return f"{len(again)} {verb} twice (same data type, {compared}): {'; '.join(told)}{more}"


def _where(first: ScannedFile, second: ScannedFile) -> str:
    if first is second:
        return f"within {first.source.given_as}"
    if first.source.path.resolve() == second.source.path.resolve():
        return f"in {first.source.given_as}, which is given twice"
    return f"in {first.source.given_as} and {second.source.given_as}"


def range_notes(settings: BuildSettings) -> list[str]:
    """A warning if the range of pt that is scaled to 0-1 does not begin at 0."""
    if settings.min_jet_pt == 0:
        return []
    note = (
        f"min_jet_pt = {settings.min_jet_pt:g} GeV is also subtracted from the pt of tracks and, as "
        f"{settings.min_jet_pt:g} MeV, from the pt of clusters. Tracks have no such cut, so the scaled pt of soft ones "
        "is negative. The usual choice is 0"
    )
    _log.warning("%s", note)
    return [note]


def class_notes(files: Sequence[ScannedFile], settings: BuildSettings) -> list[str]:
    """Warnings if a class of a control region is missing, or if only labels identify the jets of a file."""
    labels = {int(label) for file in files for label in np.unique(file.labels)}
    notes = []
    missing = {CONTROL_MC: "multijet simulation", CONTROL_DATA: "multijet data"}
    if settings.kind == "control":
        notes += [f"there is no {what} (label {label:d})" for label, what in missing.items() if label not in labels]
    unsaid = [
        file.source.given_as
        for file in files
        if file.data_type is None and file.metadata.kind is None and len(file.taken)
    ]
    if unsaid:
        more = f" and {len(unsaid) - _FILES_IN_A_NOTE} more files" if len(unsaid) > _FILES_IN_A_NOTE else ""
        named = ", ".join(unsaid[:_FILES_IN_A_NOTE])
        notes.append(f"the class of the jets was taken from their labels in {named}{more}")
    for note in notes:
        _log.warning("%s: %s", settings.output_file, note)
    return notes
