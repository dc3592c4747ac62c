"""A training file and its checks: scalar columns in memory, constituents still on disk.

Scalars alone decide which jets are used; the constituents then come in one pass, and only those of used jets stay.
Files that cannot be trained on, alone or together, are refused before anything is learned.
"""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.datasets.splits import seen_jets
from cal_ratio_trainer.datasets.weights import WeightArray, file_weights, matched_control_weights
from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.jets import Jets, JetScalars, Label
from cal_ratio_trainer.jets.cleaning import JETS_TO_JUDGE_BY, Cleaning, is_built, refuse_impossible_pt, with_missing_t0
from cal_ratio_trainer.jets.jet_file import JetFile
from cal_ratio_trainer.jets.labels import CONTROL_DATA, CONTROL_MC
from cal_ratio_trainer.jets.loading import open_jets
from cal_ratio_trainer.jets.metadata import LEGACY_SCALING, JetMetadata, Scaling
from cal_ratio_trainer.jets.ragged import FloatArray, IndexArray, Ragged
from cal_ratio_trainer.jets.schema import Schema

_log = logging.getLogger(__name__)

_LABELS = {
    "main": ({int(label) for label in Label}, "a main training file has 0 (QCD), 1 (signal) and 2 (BIB)"),
    "control": ({int(CONTROL_MC), int(CONTROL_DATA)}, "a control region has 0 (MC) and 2 (data) only"),
}

Lists = Mapping[str, Ragged]

_MAX_SCALED_PT = 10.0
"""Median scaled jet pt: ten times the upper end of the range is no tail, it is GeV."""

_MIN_PT_GEV = 1.0
"""A median below this is no jet's pt: the scaling was applied more than once."""

_ACCEPTANCE = ("min_jet_pt", "max_jet_pt", "max_abs_jet_eta")
"""Cuts that must be the same in both files; what else makes a control region (clean, leading jets) is its own."""


def refuse_wrong_scale(file: Path, jets: JetScalars, metadata: JetMetadata) -> None:
    """Refuses jets whose pt was not scaled exactly once, or is physically impossible.

    Raises:
        InputFileError: the median pt is far above 1, or so small that the scaling was applied twice; or a pt is
            impossible (see `refuse_impossible_pt`).
    """
    known = jets["jet_pt"][np.isfinite(jets["jet_pt"])]
    median = float(np.median(known)) if len(known) else math.nan
    scaling = metadata.scaling or LEGACY_SCALING
    width = scaling.max_jet_pt - scaling.min_jet_pt
    if median > _MAX_SCALED_PT:
        raise InputFileError(
            file,
            f"has a median jet_pt of {median:.3g} where about 0 to 1 is expected: it is not scaled; build it first",
        )
    if median * width + scaling.min_jet_pt < _MIN_PT_GEV:
        raise InputFileError(
            file,
            f"has a median jet_pt of {median:.3g}, which is {median * width + scaling.min_jet_pt:.3g} GeV: it was "
            "scaled more than once; build it anew from converted files",
        )
    refuse_impossible_pt(file, known.astype(np.float64) * width + scaling.min_jet_pt)


def refuse_other_scaling(file: Path, found: Scaling | None, wanted: Scaling, remedy: str) -> None:
    """Refuses jets that are scaled differently than a network needs; values that a file lacks are not compared.

    Args:
        file: that holds them.
        found: value in the file.
        wanted: of the network's training file.
        remedy: advice for the message.

    Raises:
        InputFileError: they were; names both ranges.
    """
    if found is not None and found != wanted:
        raise InputFileError(
            file,
            f"is scaled with {found}, and the network reads jets scaled with {wanted}; {remedy}",
        )


def refuse_different_files(main_file: Path, main: JetMetadata, control_file: Path, control: JetMetadata) -> None:
    """Refuses two files whose jets were made differently, as far as both files have the information.

    Raises:
        InputFileError: names the control file: it comes from another simulation (e.g. the demo) than the main file, or
            has other scaling, units or cuts; lists all differences.
    """
    # Demos that differ in their mismodelling alone are control regions of one simulation.
    if _program(main.simulation) != _program(control.simulation):
        here, there = (each.simulation or "no such simulation" for each in (control, main))
        raise InputFileError(
            control_file,
            f"holds jets of another simulation ({here}) than {main_file} ({there}): they are not trained on together",
        )
    differences = _differences(main, control)
    if differences:
        raise InputFileError(
            control_file,
            f"was made differently from {main_file}, which the adversary would see: {'; '.join(differences)}",
        )


def _program(simulation: str | None) -> str | None:
    return simulation if simulation is None else simulation.partition(" (mismodelling ")[0]


def _differences(main: JetMetadata, control: JetMetadata) -> list[str]:
    """Differences in scaling, units and cuts, a sentence each."""
    found = []
    if main.scaling is not None and control.scaling is not None and main.scaling != control.scaling:
        found.append(f"scaled from {control.scaling}, the main file from {main.scaling}")
    for name, unit in main.units.items():
        if control.units.get(name, unit) != unit:
            found.append(f"{name} in {control.units[name]}, in the main file {unit}")
    for name in _ACCEPTANCE:
        there, here = ({getattr(cuts, name) for cuts in file.cuts} - {None} for file in (main, control))
        if there and here and there != here:
            found.append(f"{name} {_in_words(here)}, in the main file {_in_words(there)}")
    return found


def _in_words(values: set[float]) -> str:
    return " and ".join(f"{value:g}" for value in sorted(values))


@dataclass(frozen=True)
class TrainingFile:
    """An opened training file: scalars and weights of its jets; the constituents are still on disk.

    Attributes:
        file: path of the file.
        kind: 'main' or 'control'.
        opened: the same, to read constituents from.
        seen: [jets of the file] true for jets that the run may see: all but those of a fold that is left out.
        cleaning: counts unusual values of the jets that are seen; complete when the constituents were read.
        missing_t0: replacement for a muon segment's time that was not measured [ns]; None leaves it.
        fold_notes: sentences on the jets that are left out.
        rows: [jets] rising positions among the seen jets: those with a weight.
        jets: scalars of these, network inputs made finite.
        weights: [jets]; of a main file as it has them, of a control region with simulation matched to data.
    """

    file: Path
    kind: str
    opened: JetFile
    seen: NDArray[np.bool_]
    cleaning: Cleaning
    missing_t0: float | None
    fold_notes: Sequence[str]
    rows: IndexArray
    jets: JetScalars
    weights: WeightArray

    @classmethod
    def open(cls, settings: TrainSettings, file: Path, kind: str, schema: Schema | None = None) -> Self:
        """Reads a file without its constituents.

        Args:
            settings: settings of the training.
            file: file to open.
            kind: its use, 'main' or 'control'.
            schema: features to read; None takes those of the file.

        Raises:
            InputFileError, MissingColumn: it cannot be used; says why.
        """
        opened = open_jets(file, schema)
        for sentence in opened.report.sentences():
            _log.warning("%s: %s", file, sentence)
        if opened.rows == 0:
            raise InputFileError(file, "holds no jets")
        if opened.metadata.kind not in (None, kind):
            raise InputFileError(file, f"is a {opened.metadata.kind} training file, but was given as the {kind} one")
        jets, cleaning = opened.all_scalars(), Cleaning(opened.schema)
        seen, fold_notes = seen_jets(settings, jets, file)
        if not seen.all():
            jets = jets.where(seen)
        if not is_built(opened.metadata, _jets_to_judge_by(opened, seen)):
            raise InputFileError(
                file, "holds converted jets (pt in GeV); make a training file of it with 'cr_trainer build'"
            )
        refuse_wrong_scale(file, jets, opened.metadata)
        known, said = _LABELS[kind]
        unknown = sorted({int(label) for label in np.unique(jets.label)} - known)
        if unknown:
            raise InputFileError(file, f"has jets labelled {', '.join(map(str, unknown))}; {said}")
        jets = cleaning.scalars(jets)
        weights = file_weights(jets, settings.weight_column, settings.bad_weights, str(file))
        rows = np.flatnonzero(np.isfinite(weights)).astype(np.int64)
        if len(rows) < len(jets):
            jets, weights = jets.take(rows), weights[rows]
        if kind == "control":
            try:
                weights = matched_control_weights(weights, jets.label)
            except ValueError as error:
                raise InputFileError(file, str(error)) from error
        return cls(file, kind, opened, seen, cleaning, settings.missing_t0, fold_notes, rows, jets, weights)

    @property
    def metadata(self) -> JetMetadata:
        """Metadata of the file."""
        return self.opened.metadata

    @property
    def padding(self) -> dict[str, FloatArray]:
        """Content of an empty slot by name of the kind of constituent, [features]."""
        zeros = {kind.name: [0.0] * len(kind.features) for kind in self.opened.schema.constituents}
        return {name: np.asarray(self.metadata.padding.get(name, zeros[name]), np.float32) for name in zeros}

    @cached_property
    def mean_constituents(self) -> dict[str, float]:
        """Mean number of constituents per jet, by kind: from the metadata of the file, or from its first jets."""
        if most := self.opened.max_constituents():
            return {name: number / self.opened.rows for name, number in most.items()}
        first = self.opened.first(JETS_TO_JUDGE_BY)
        return {name: float(ragged.lengths.mean()) for name, ragged in first.constituents.items()}

    def read(
        self, takers: Sequence[tuple[IndexArray, Callable[[Lists], None]]], *, fill_slots: bool = False
    ) -> tuple[str, ...]:
        """Reads all constituents of the file in one pass; to be called once.

        Args:
            takers: positions among the seen jets, rising, with a function that gets the cleaned constituents of these
                jets batch by batch.
            fill_slots: write every empty slot out as a constituent; padding rows are then zero.

        Returns:
            Unusual content of the file, one sentence each. Some are also warnings.

        Raises:
            InputFileError, MissingColumn: the file is damaged, or was changed since it was opened.
        """
        kinds, jets = self.opened.schema.constituents, int(self.seen.sum())
        masks = [(mask_of(rows, jets), take) for rows, take in takers]
        read, given, replaced = 0, 0, 0
        for lists in self.opened.lists():
            seen, read = self.seen[read : read + _jets_in(lists)], read + _jets_in(lists)
            if read > len(self.seen):
                break
            mine = {kind.name: self.cleaning.constituents(kind, lists[kind.name].where(seen)) for kind in kinds}
            if self.missing_t0 is not None:
                mine, number = with_missing_t0(mine, self.missing_t0)
                replaced += number
            place = slice(given, given + _jets_in(mine))
            given = place.stop
            for mask, take in masks:
                chosen = {name: columns.where(mask[place]) for name, columns in mine.items()}
                take({kind.name: chosen[kind.name].filled(kind.limit) for kind in kinds} if fill_slots else chosen)
        if read != len(self.seen):
            raise InputFileError(self.file, "was changed while it was read")
        report = self.cleaning.report()
        for sentence in report.sentences():
            _log.warning("%s: %s", self.file, sentence)
        notes = [*self.fold_notes, *self.opened.report.sentences(), *report.sentences()]
        if self.missing_t0 is not None:
            notes.append(f"{replaced} values of MSeg_t0 were not measured and became {self.missing_t0:g}")
        return tuple(notes)


def mask_of(rows: IndexArray, jets: int) -> NDArray[np.bool_]:
    """True at the given positions, [jets]."""
    mask = np.zeros(jets, dtype=bool)
    mask[rows] = True
    return mask


def _jets_to_judge_by(opened: JetFile, seen: NDArray[np.bool_]) -> Jets:
    if opened.metadata.stage != "unknown":
        # A file whose metadata name its stage is not judged by its jets.
        return Jets.empty(opened.schema)
    if seen.all():
        return opened.first(JETS_TO_JUDGE_BY)
    first = opened.first(2 * JETS_TO_JUDGE_BY)
    return first.where(seen[: len(first)])


def _jets_in(lists: Lists) -> int:
    return len(next(iter(lists.values())))
