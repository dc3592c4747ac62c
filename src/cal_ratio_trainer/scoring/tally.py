"""Counts while files are scored: shares, histograms, parts, unusual values, and jets for figures of merit."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.datasets.weights import matched_control_weights
from cal_ratio_trainer.evaluation.histograms import ScoreHistograms, histograms_by_class
from cal_ratio_trainer.evaluation.intervals import Group, ShareTally
from cal_ratio_trainer.evaluation.scored import ScoredJets
from cal_ratio_trainer.jets import Jets, Label
from cal_ratio_trainer.jets.labels import CLASS_OF_LABEL, CONTROL_DATA
from cal_ratio_trainer.jets.table import scrambled
from cal_ratio_trainer.scoring.blinding import Blinding, hidden
from cal_ratio_trainer.scoring.parts import FAIR, JetPart, PartArray
from cal_ratio_trainer.scoring.scorer import ScoreArray
from cal_ratio_trainer.scoring.streams import UNLABELLED, JetBatch, Region

BAD_WEIGHT = "{n} jets have a weight that is NaN or infinite; weight 1 is used"

OTHER_CONTENTS = "{n} jets have the event numbers of jets trained on, and other contents; they count as trained on"

MAX_KEPT_JETS = 1_000_000
_SCALE = 2.0**-64
_MASSES = ("llp_mH", "llp_mS")
_WEIGHT = ("mcEventWeight",)


def unusual_values_of(batch: JetBatch) -> Counter[str]:
    """Numbers of unusual values in the inputs of some jets, by message with `{n}`."""
    found: Counter[str] = Counter()
    for name, count in batch.cleaning.non_finite.items():
        found[f"{{n}} NaN or infinite values of {name} were read as 0"] += count
    for name, count in batch.cleaning.beyond_pi.items():
        found[f"{{n}} values of {name} lie beyond pi and were read unchanged"] += count
    found["{n} clusters have layer energies whose fractions are not finite; these were read as 0"] += (
        batch.without_fractions
    )
    found[OTHER_CONTENTS] += batch.other_contents
    return found


def unusual_value_notes(counts: Counter[str]) -> list[str]:
    """One sentence for each kind of unusual value that occurs."""
    return [message.format(n=count) for message, count in counts.items() if count]


def rows_by_class(labels: NDArray[np.int8], region: Region, labelled: bool) -> dict[str, NDArray[np.intp]]:
    """Positions of the jets of each class that occurs, in the order of `CLASS_OF_LABEL`.

    Args:
        labels: [jets].
        region: whether label 2 is BIB or data.
        labelled: False where labels mean nothing: all jets are one class.
    """
    if not labelled:
        return {UNLABELLED: np.arange(len(labels))}
    rows = {name: np.flatnonzero(labels == label) for label, name in CLASS_OF_LABEL[region].items()}
    return {name: here for name, here in rows.items() if len(here)}


def known_weights(jets: Jets, columns: Sequence[str]) -> tuple[NDArray[np.float64], int]:
    """The weights of jets [jets], and how many of them were NaN or infinite, for which 1 is taken.

    Args:
        jets: the jets.
        columns: possible columns of the weights; the first existing one is used. A null or no column is weight 1.
    """
    for name in columns:
        if name in jets:
            weights = jets.scalars.column(name).fill_null(1.0).to_numpy().astype(np.float64)
            finite = np.isfinite(weights)
            return np.where(finite, weights, 1.0), int(np.count_nonzero(~finite))
    return np.ones(len(jets)), 0


@dataclass
class KeptJets:
    """Rows of arrays that grow batch by batch.

    Attributes:
        max_rows: number of rows to keep; beyond it each row is kept with the same probability.
        rows_seen: number of rows that were added.
    """

    max_rows: int = MAX_KEPT_JETS
    rows_seen: int = 0
    _threshold: float = 1.0
    _places: list[NDArray[np.float64]] = field(default_factory=list)
    _columns: dict[str, list[NDArray[np.generic]]] = field(default_factory=dict)

    def add(self, columns: dict[str, NDArray[np.generic]]) -> None:
        """Adds rows: arrays [rows, ...] by name, the same names each time."""
        rows = len(next(iter(columns.values())))
        numbers = np.arange(self.rows_seen, self.rows_seen + rows, dtype=np.uint64)
        self.rows_seen += rows
        place = scrambled(numbers).astype(np.float64) * _SCALE
        kept = place < self._threshold
        self._places.append(place[kept])
        for name, values in columns.items():
            self._columns.setdefault(name, []).append(values[kept])
        if sum(map(len, self._places)) > self.max_rows:
            self._thin()

    @property
    def rows(self) -> int:
        """Number of rows that are kept."""
        return sum(map(len, self._places))

    def column(self, name: str) -> NDArray[np.generic]:
        """A column of the kept rows, in the order they came."""
        return np.concatenate(self._columns[name])

    def _thin(self) -> None:
        places = np.concatenate(self._places)
        # To 80 % of the limit, so that not every further batch thins again.
        self._threshold = float(np.partition(places, int(0.8 * self.max_rows))[int(0.8 * self.max_rows)])
        kept = places < self._threshold
        self._places = [places[kept]]
        self._columns = {name: [np.concatenate(values)[kept]] for name, values in self._columns.items()}


@dataclass
class ScoreTally:
    """Adds up the jets of one region.

    Attributes:
        region: whether label 2 is BIB or data.
        labelled: False where all jets are one class.
        blinding: blinding of the file; hidden jets are not counted.
        shares: above cuts.
        histograms: of the three outputs; None as long as there are no jets.
        fair: jets for figures of merit: those that had no say in the training (and those of which that is not known).
        unusual_values: their numbers, by message with `{n}`.
    """

    region: Region
    labelled: bool
    shares: ShareTally
    blinding: Blinding | None = None
    histograms: ScoreHistograms | None = None
    fair: KeptJets = field(default_factory=KeptJets)
    unusual_values: Counter[str] = field(default_factory=Counter)

    def add(
        self, batch: JetBatch, scores: ScoreArray, part: PartArray, of_data: NDArray[np.bool_] | None = None
    ) -> None:
        """Counts some jets: the batch, scores [jets, 3], part [jets], and which of them are blinded [jets]."""
        self.unusual_values += unusual_values_of(batch)
        jets = batch.jets
        if of_data is not None:
            # Hidden jets do not appear in totals either: their number would follow by subtraction.
            seen = ~hidden(scores, of_data)
            jets, scores, part, of_data = jets.where(seen), scores[seen], part[seen], of_data[seen]
        if not len(jets):
            return
        weights, replaced = known_weights(jets, _WEIGHT)
        self.unusual_values[BAD_WEIGHT] += replaced
        labels = jets.label if self.labelled else np.zeros(len(jets), dtype=np.int8)
        codes, groups = self._groups(jets, labels, part)
        self.shares.add(scores, weights, codes, groups)
        counted = histograms_by_class(scores, weights, rows_by_class(labels, self.region, self.labelled))
        self.histograms = counted if self.histograms is None else self.histograms + counted
        if self.labelled:
            self._keep(jets, scores, weights, part, of_data)

    def blinded_classes(self) -> frozenset[str]:
        """The names of the classes that were met and of which something may be hidden."""
        if self.blinding is None:
            return frozenset()
        names = {self._class_name(label) for label in self.blinding.labels}
        return frozenset(names & {group.name for group in self.shares.counts})

    def jets_by_part(self) -> dict[str, int]:
        """Number of jets of each part."""
        return {part: counts.jets for part, counts in self.shares.by(lambda group: group.part).items()}

    @property
    def jets(self) -> int:
        """Number of jets that were counted."""
        return sum(self.jets_by_part().values())

    def fair_main_jets(self) -> ScoredJets | None:
        """Jets for figures of merit on signal; None without signal or without background, or of a control region."""
        if self.region != "main" or not self.labelled or not self.fair.rows:
            return None
        jets = ScoredJets(
            scores=cast(ScoreArray, self.fair.column("scores")),
            labels=cast("NDArray[np.int8]", self.fair.column("label")),
            weights=cast("NDArray[np.float64]", self.fair.column("weight")),
            columns={
                "mH": cast("NDArray[np.float32]", self.fair.column("llp_mH")),
                "mS": cast("NDArray[np.float32]", self.fair.column("llp_mS")),
            },
        )
        has_background = jets.count(Label.QCD) + jets.count(Label.BIB) > 0
        return jets if jets.count(Label.SIGNAL) and has_background else None

    def fair_control_jets(self) -> ScoredJets | None:
        """Control jets for the K-S; None without MC or data, or of another region."""
        if self.region != "control" or not self.fair.rows:
            return None
        labels = cast("NDArray[np.int8]", self.fair.column("label"))
        weights = cast("NDArray[np.float64]", self.fair.column("weight"))
        try:
            matched = matched_control_weights(weights, labels)
        except ValueError:
            return None
        return ScoredJets.control(
            scores=cast(ScoreArray, self.fair.column("scores")),
            is_data=labels == CONTROL_DATA,
            weights=matched,
            scaled_pt=cast("NDArray[np.float32]", self.fair.column("scaled_pt")),
        )

    def _class_name(self, label: int) -> str:
        return CLASS_OF_LABEL[self.region][Label(label)] if self.labelled else UNLABELLED

    def _groups(self, jets: Jets, labels: NDArray[np.int8], part: PartArray) -> tuple[NDArray[np.int64], list[Group]]:
        """The group of each jet, [jets], and the groups."""
        points, point = self._mass_points(jets)
        keys = (labels.astype(np.int64) * len(JetPart) + part) * (len(points) + 1) + point
        different, codes = np.unique(keys, return_inverse=True)
        groups = []
        for key in different:
            rest, of_point = divmod(int(key), len(points) + 1)
            label, of_part = divmod(rest, len(JetPart))
            masses = (None, None) if of_point == 0 else tuple(float(mass) for mass in points[of_point - 1])
            groups.append(Group(self._class_name(label), JetPart(of_part).word, *masses))
        return codes.astype(np.int64), groups

    def _mass_points(self, jets: Jets) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """The (mH, mS) of signal jets, [points, 2], and which of them each jet has, counted from 1; 0 is none."""
        point = np.zeros(len(jets), dtype=np.int64)
        none = np.zeros((0, 2))
        if not self.labelled or any(name not in jets for name in _MASSES):
            return none, point
        signal = np.flatnonzero(jets.label == Label.SIGNAL)
        masses = np.stack([jets[name][signal].astype(np.float64) for name in _MASSES], axis=1)
        known = np.isfinite(masses).all(axis=1) & (masses > 0).any(axis=1)
        points, found = np.unique(masses[known], axis=0, return_inverse=True)
        point[signal[known]] = found.reshape(-1) + 1
        return points, point

    def _keep(
        self,
        jets: Jets,
        scores: ScoreArray,
        weights: NDArray[np.float64],
        part: PartArray,
        of_data: NDArray[np.bool_] | None,
    ) -> None:
        fair = np.isin(part, (*FAIR, JetPart.UNKNOWN))
        if of_data is not None:
            # Figures of merit of a class without its tail would be wrong, and those with it would reveal it.
            fair &= ~of_data
        columns: dict[str, Any] = {
            "scores": scores,
            "label": jets.label,
            "weight": weights,
            "scaled_pt": jets["jet_pt"],
        }
        for name in _MASSES:
            columns[name] = jets[name].astype(np.float32) if name in jets else np.full(len(jets), np.nan, np.float32)
        self.fair.add({name: np.asarray(values)[fair] for name, values in columns.items()})
