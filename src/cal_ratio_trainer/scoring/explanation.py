"""Explains why a network gives other scores than another program: the change of its inputs that brings them closest.

The result is a hypothesis. Different changes can look alike on few jets, and two mistakes at once hide each other.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from cal_ratio_trainer.jets import Jets, Label
from cal_ratio_trainer.progress import progress
from cal_ratio_trainer.scoring.scorer import ScoreArray, Scorer
from cal_ratio_trainer.scoring.streams import JetBatch
from cal_ratio_trainer.scoring.variations import ExplainedJets, Variation, variations

AGREES_BELOW = 1e-5
"""Scores of one network differ by less between programs: float32 in another order. [1]"""

_PARTLY_BELOW = 0.2
"""A single change that leaves more than this of the mean difference says nothing: unrelated networks come as close."""

_WORTH_A_SECOND_BELOW = 0.7
_SHOWN = 8
_JETS_AT_A_TIME = 8192


@dataclass(frozen=True)
class Attempt:
    """One change that was tried.

    Attributes:
        name: the change.
        mean: mean absolute difference over jets and outputs that is left.
        median: median over jets of the largest difference of the outputs.
        largest: largest difference.
    """

    name: str
    mean: float
    median: float
    largest: float

    @property
    def agrees(self) -> bool:
        """True where no more than rounding is left."""
        return self.largest < AGREES_BELOW


@dataclass(frozen=True)
class Explanation:
    """Result of the search.

    Attributes:
        jets: number of jets of the test.
        unchanged: the difference without a change.
        tried: number of tested changes.
        skipped: number of changes that cannot be tested on these jets.
        best: the changes that leave least, the best first; none where the scores agree without a change.
        pairs: the best one together with a second one, the best first, where it explains the difference in part.
        same_values: the scores of all jets are the same in another order.
    """

    jets: int
    unchanged: Attempt
    tried: int
    skipped: int
    best: tuple[Attempt, ...]
    pairs: tuple[Attempt, ...]
    same_values: bool

    def sentences(self) -> list[str]:
        """The hypothesis with its numbers."""
        before = self.unchanged
        if before.agrees:
            return [f"The scores agree: no jet differs by more than {before.largest:.1e}."]
        if self.same_values:
            return ["The scores are the same numbers in another order: most likely the jets are ordered differently."]
        best = self.best[0]
        numbers = f"the mean difference falls from {before.mean:.2g} to {best.mean:.2g}, the largest from "
        numbers += f"{before.largest:.2g} to {best.largest:.2g}"
        if best.agrees:
            alike = [each.name for each in self.best[1:] if each.agrees]
            also = f" Equally good: {'; '.join(alike)}." if alike else ""
            return [f"Hypothesis: {best.name}. With this one change {numbers}: only rounding is left.{also}"]
        if self.pairs and self.pairs[0].agrees:
            pair = self.pairs[0]
            return [
                f"Hypothesis: {pair.name}. With these two changes the mean difference falls from {before.mean:.2g} to "
                f"{pair.mean:.2g}, the largest from {before.largest:.2g} to {pair.largest:.2g}: only rounding is "
                "left."
            ]
        if best.mean < _PARTLY_BELOW * before.mean and best.largest < before.largest:
            return [f"Hypothesis, in part: {best.name}. With this one change {numbers}; something else differs too."]
        return [
            f"No single change of the inputs makes the scores agree (the best, '{best.name}', reduces the mean "
            f"difference from {before.mean:.2g} to {best.mean:.2g}): it is another network, or several things differ."
        ]


def explain(scorer: Scorer, batches: Sequence[JetBatch], other: ScoreArray, labelled: bool) -> Explanation:
    """Tries each single change of the inputs.

    Args:
        scorer: the network that should give `other`.
        batches: some jets as the network reads them.
        other: [jets] the scores that it should give.
        labelled: as `Scorer.scores` takes it.
    """
    known = [batch.converted for batch in batches if batch.converted is not None]
    converted = Jets.concatenate(known) if len(known) == len(batches) else None
    jets = ExplainedJets(Jets.concatenate([batch.jets for batch in batches]), converted, scorer.scaling)
    own = scorer.scores(jets.built, labelled)
    unchanged, same = _attempt("none", own, other), _same_values(own, other)
    if unchanged.agrees or same:
        return Explanation(len(own), unchanged, 0, 0, (), (), same)
    found = _all_changes(scorer, other, labelled, jets)
    pairs: list[tuple[Attempt, Variation]] = []
    best, change = found[0]
    changed = change.apply(jets)
    if not best.agrees and best.mean < _WORTH_A_SECOND_BELOW * unchanged.mean and not change.outputs and changed:
        pairs = _all_changes(scorer, other, labelled, replace(jets, built=changed), f"{best.name}, and ")
    every = sum(1 for _ in variations(scorer.schema))
    return Explanation(
        jets=len(own),
        unchanged=unchanged,
        tried=len(found),
        skipped=every - len(found),
        best=tuple(attempt for attempt, _ in found[:_SHOWN]),
        pairs=tuple(attempt for attempt, _ in pairs[:_SHOWN]),
        same_values=same,
    )


def _all_changes(
    scorer: Scorer, other: ScoreArray, labelled: bool, jets: ExplainedJets, before: str = ""
) -> list[tuple[Attempt, Variation]]:
    """Difference that each possible change leaves, the best first; `before` begins the names of the changes."""
    every = tuple(variations(scorer.schema))
    at_a_time = max(1, _JETS_AT_A_TIME // max(1, len(jets.built)))
    attempts = []
    with progress("look for what differs", len(every), "changes") as line:
        for start in range(0, len(every), at_a_time):
            some = every[start : start + at_a_time]
            changed = [(each, jets_then) for each in some if (jets_then := each.apply(jets)) is not None]
            if changed:
                # All in one go: a network is hardly slower with more jets.
                together = scorer.scores(Jets.concatenate([jets_then for _, jets_then in changed]), labelled)
                for (each, _), scores in zip(changed, np.split(together, len(changed)), strict=True):
                    ordered = scores if each.outputs is None else scores[:, list(each.outputs)]
                    attempts.append((_attempt(before + each.name, ordered, other), each))
            line.advance(len(some))
    return sorted(attempts, key=lambda found: found[0].mean)


def _attempt(name: str, scores: ScoreArray, other: ScoreArray) -> Attempt:
    # Inputs that were blown up can leave the range of float32: such a change explains nothing.
    differences = np.nan_to_num(np.abs(scores.astype(np.float64) - other), nan=1.0)
    of_jets = differences.max(axis=1)
    return Attempt(name, float(differences.mean()), float(np.median(of_jets)), float(of_jets.max()))


def _same_values(own: ScoreArray, other: ScoreArray) -> bool:
    if len(own) < 2:
        return False
    one, two = (np.sort(scores[:, Label.SIGNAL]) for scores in (own, other))
    return bool(np.abs(one - two).max() < AGREES_BELOW) and bool(np.abs(own - other).max() >= AGREES_BELOW)
