"""A training file and its checks: scalar columns in memory, constituents still on disk.

Scalars alone decide which jets are used; the constituents then come in one pass, and only those of used jets stay.
Files that cannot be trained on, alone or together, are refused before anything is learned.
"""

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.datasets.splits import seen_jets
from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.jets import Jets, JetScalars, Label
from cal_ratio_trainer.jets.cleaning import JETS_TO_JUDGE_BY, Cleaning, is_built, refuse_impossible_pt, with_missing_t0
from cal_ratio_trainer.jets.jet_file import JetFile
from cal_ratio_trainer.jets.labels import CONTROL_DATA, CONTROL_MC
from cal_ratio_trainer.jets.loading import open_jets
from cal_ratio_trainer.jets.metadata import LEGACY_SCALING, JetMetadata, Scaling
from cal_ratio_trainer.jets.ragged import FloatArray, IndexArray, Ragged
from cal_ratio_trainer.jets.schema import Schema

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


_log = logging.getLogger(__name__)

_LABELS = {
    "main": ({int(label) for label in Label}, "a main training file has 0 (QCD), 1 (signal) and 2 (BIB)"),
    "control": ({int(CONTROL_MC), int(CONTROL_DATA)}, "a control region has 0 (MC) and 2 (data) only"),
}

Lists = Mapping[str, Ragged]


@dataclass(frozen=True)
class TrainingFile:
    """An opened training file.

    Attributes:
        file: path of the file.
        kind: 'main' or 'control'.
        opened: the same, to read constituents from.
        seen: [jets of the file] which of them the run may see: all but those of a fold that is left out.
        jets: the scalars of these, network inputs made finite.
        cleaning: counts what is odd; complete when the constituents were read.
        missing_t0: what stands for a muon segment's time that was not measured [ns]; None leaves it.
        fold_notes: on the jets that are left out.
    """

    file: Path
    kind: str
    opened: JetFile
    seen: NDArray[np.bool_]
    jets: JetScalars
    cleaning: Cleaning
    missing_t0: float | None
    fold_notes: Sequence[str]

    @classmethod
    def open(cls, settings: TrainSettings, file: Path, kind: str, schema: Schema | None = None) -> "TrainingFile":
        """Reads a file without its constituents.

        Args:
            settings: of the training.
            file: to open.
            kind: its use, 'main' or 'control'.
            schema: the features to read; None takes those of the file.

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
        return cls(file, kind, opened, seen, cleaning.scalars(jets), cleaning, settings.missing_t0, fold_notes)

    @property
    def metadata(self) -> JetMetadata:
        """Metadata of the file."""
        return self.opened.metadata

    @property
    def padding(self) -> dict[str, FloatArray]:
        """For each kind's name what stands in an empty slot, [features]."""
        zeros = {kind.name: [0.0] * len(kind.features) for kind in self.opened.schema.constituents}
        return {name: np.asarray(self.metadata.padding.get(name, zeros[name]), np.float32) for name in zeros}

    def constituents(self, *, fill_slots: bool = False) -> "ConstituentPass":
        """The pass over its constituents; to be taken once.

        Args:
            fill_slots: write every empty slot out as a constituent; padding rows are then zero.
        """
        return ConstituentPass(self, fill_slots)


@dataclass
class ConstituentPass:
    """One pass over the constituents of a file, batch by batch.

    Attributes:
        file: they come from.
        fill_slots: see `TrainingFile.constituents`.
        replaced_t0: how many times of muon segments were replaced so far.
    """

    file: TrainingFile
    fill_slots: bool
    replaced_t0: int = field(default=0, init=False)

    def batches(self) -> Iterator[tuple[slice, Lists]]:
        """The jets' positions among those that are seen, and their constituents as the network is to read them.

        Raises:
            InputFileError, MissingColumn: the file is damaged, or was changed since it was opened.
        """
        read, given = 0, 0
        for lists in self.file.opened.lists():
            seen, read = self.file.seen[read : read + _jets_in(lists)], read + _jets_in(lists)
            if read > len(self.file.seen):
                break
            cleaning, mine = self.file.cleaning, {name: columns.where(seen) for name, columns in lists.items()}
            kinds = self.file.opened.schema.constituents
            cleaned = {kind.name: cleaning.constituents(kind, mine[kind.name]) for kind in kinds}
            if self.file.missing_t0 is not None:
                cleaned, replaced = with_missing_t0(cleaned, self.file.missing_t0)
                self.replaced_t0 += replaced
            place = slice(given, given + _jets_in(cleaned))
            given = place.stop
            yield place, cleaned
        if read != len(self.file.seen):
            raise InputFileError(self.file.file, "was changed while it was read")

    def chosen(self, batch: Lists, kept: NDArray[np.bool_]) -> Lists:
        """Some jets of a batch, `kept` [jets of the batch]."""
        lists = {name: columns.where(kept) for name, columns in batch.items()}
        if not self.fill_slots:
            return lists
        return {kind.name: lists[kind.name].filled(kind.limit) for kind in self.file.opened.schema.constituents}

    def notes(self) -> tuple[str, ...]:
        """Unusual content of the file, one sentence each; complete after the last batch. Some are warnings."""
        report = self.file.cleaning.report()
        for sentence in report.sentences():
            _log.warning("%s: %s", self.file.file, sentence)
        notes = [*self.file.fold_notes, *self.file.opened.report.sentences(), *report.sentences()]
        if self.file.missing_t0 is not None:
            notes.append(f"{self.replaced_t0} values of MSeg_t0 were not measured and became {self.file.missing_t0:g}")
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
