"""Counts during the conversion of a file: cutflow, sums for the normalisation, and unusual values."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.jets.metadata import CutflowStep, Normalisation
from cal_ratio_trainer.jets.ragged import IndexArray
from cal_ratio_trainer.ntuple.reading import Doubles

NO_CLUSTERS = "jets_without_clusters"
FAR_HLT_MATCHES = "hlt_matches_beyond_0.4"
OTHER_JET_INDEX = "events_where_nn_jet_index_differs"
UNKNOWN_JETS = "jet_indices_of_no_jet"
NON_FINITE = "constituents_with_non_finite_values"
NON_FINITE_JETS = "jets_with_non_finite_values"
NON_FINITE_WEIGHTS = "events_with_non_finite_weights"
WEIGHT_IN_DATA = "events_with_generator_weights"

_SENTENCES = {
    NO_CLUSTERS: "{n} jets were left out because they have no clusters.",
    FAR_HLT_MATCHES: "{n} jets are further than 0.4 from the trigger jet that tags them as BIB: most likely ordinary "
    "jets with a wrong label (max_hlt_delta_r drops them).",
    OTHER_JET_INDEX: "In {n} events nn_jet_index differs from the position among the jets; nn_jet_index was used.",
    UNKNOWN_JETS: "{n} jet indices of clusters, tracks or segments are of a jet that their event does not have; they "
    "are ignored.",
    NON_FINITE: "{n} clusters, tracks or segments hold NaN or infinite values; they are stored as they are.",
    NON_FINITE_JETS: "{n} jets have a pt, eta or phi that is NaN or infinite; without pt or eta they pass no cut.",
    NON_FINITE_WEIGHTS: "{n} events have a NaN or infinite mcEventWeight; it is stored unchanged, so sums are invalid.",
    WEIGHT_IN_DATA: "{n} events carry generator weights, so this is simulation although the data type is one of data.",
}


@dataclass
class Tally:
    """Adds up, chunk by chunk.

    Attributes:
        weighted: whether the events have generator weights that are summed.
        counts: number of occurrences of each unusual value.
    """

    weighted: bool
    counts: Counter[str] = field(default_factory=Counter)
    _steps: dict[str, tuple[int, int, float]] = field(default_factory=dict)
    _events: int = 0
    _sums: tuple[float, float] = (0.0, 0.0)
    _runs: set[int] = field(default_factory=set)
    _channels: set[int] = field(default_factory=set)

    @property
    def events(self) -> int:
        """Number of events read."""
        return self._events

    def add(self, other: "Tally") -> None:
        """Adds the counts of a later tally."""
        self.counts.update(other.counts)
        self._events += other._events
        self._sums = (self._sums[0] + other._sums[0], self._sums[1] + other._sums[1])
        self._runs |= other._runs
        self._channels |= other._channels
        for step, (events, jets, weight) in other._steps.items():
            before = self._steps.get(step, (0, 0, 0.0))
            self._steps[step] = (before[0] + events, before[1] + jets, before[2] + weight)

    def add_events(self, weights: Doubles, runs: NDArray[Any], channels: NDArray[Any] | None) -> None:
        """Counts the events of a chunk: their weights, run numbers and simulation samples, [events] each."""
        self._events += len(runs)
        self._sums = (self._sums[0] + float(weights.sum()), self._sums[1] + float((weights**2).sum()))
        self._runs.update(np.unique(runs).tolist())
        if channels is not None:
            self._channels.update(np.unique(channels).tolist())

    def add_step(self, step: str, jets: int, events: IndexArray, weights: Doubles) -> None:
        """Counts the remaining events and jets after a step of the selection.

        Args:
            step: its name, the same in every chunk.
            jets: number of remaining jets.
            events: the events in the chunk that are left, in any order, each as often as it likes.
            weights: of all events of the chunk.
        """
        left = np.zeros(len(weights), dtype=bool)
        left[events] = True
        before = self._steps.get(step, (0, 0, 0.0))
        self._steps[step] = (before[0] + int(left.sum()), before[1] + jets, before[2] + float(weights[left].sum()))

    def cutflow(self) -> list[CutflowStep]:
        """The steps in their order."""
        return [
            CutflowStep(step=step, events=events, jets=jets, sum_of_weights=weight if self.weighted else None)
            for step, (events, jets, weight) in self._steps.items()
        ]

    def normalisation(self, event_count: dict[str, float]) -> Normalisation:
        """Sums for a later normalisation, with the bins of the file itself."""
        return Normalisation(
            event_count=event_count,
            events_read=self._events,
            sum_of_weights_read=self._sums[0] if self.weighted else None,
            sum_of_weights_squared_read=self._sums[1] if self.weighted else None,
            run_numbers=sorted(self._runs),
            channel_numbers=sorted(self._channels),
        )

    def notes(self) -> list[str]:
        """Sentences on the unusual values that were found, one for each kind."""
        return sentences(self.counts)


def sentences(counts: Mapping[str, int]) -> list[str]:
    """Sentences on unusual values, one for each kind, from the number of occurrences by name."""
    return [sentence.format(n=counts[name]) for name, sentence in _SENTENCES.items() if counts.get(name)]
