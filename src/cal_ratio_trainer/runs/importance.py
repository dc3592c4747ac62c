"""Permutation importance of the inputs of a network, measured on test jets.

The values of one input are permuted among all jets of a sample, and the jets are scored again. A number of the jet is
permuted among jets, a feature of constituents among all constituents of its kind that the network reads, and a kind as
a whole by exchanging the lists of constituents between jets. Only the branch that reads the input is computed again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from cal_ratio_trainer.errors import did_you_mean
from cal_ratio_trainer.evaluation.importance import (
    Importance,
    Importances,
    JudgedScores,
    decreases,
    events_of,
)
from cal_ratio_trainer.evaluation.scored import ScoredJets
from cal_ratio_trainer.jets.ragged import IndexArray
from cal_ratio_trainer.jets.schema import Constituent
from cal_ratio_trainer.network.batch import Batch, JetTensors
from cal_ratio_trainer.network.classifier import JETS_AT_A_TIME
from cal_ratio_trainer.network.engine import on_device
from cal_ratio_trainer.plotting import FigureLabels
from cal_ratio_trainer.plotting.roc import by_auc, importance_drawings
from cal_ratio_trainer.progress import progress
from cal_ratio_trainer.results import Result
from cal_ratio_trainer.runs.networks import Networks
from cal_ratio_trainer.runs.stored import RunError
from cal_ratio_trainer.runs.test_sample import RunSample

if TYPE_CHECKING:
    from matplotlib.figure import Figure

JET = "jet"
"""Kind of the jet's own numbers."""


@dataclass(frozen=True, repr=False)
class ImportanceResult(Result):
    """Importance of the inputs of a network. Its table has one row per input and one per kind, the largest first.

    Attributes:
        network: its name, 'model/00003/12'.
        importances: the figures.
        labels: heading of the figure.
    """

    network: str
    importances: Importances
    labels: FigureLabels

    @property
    def headline(self) -> str:
        """See `Result`."""
        first = by_auc(self.importances.inputs)[0]
        return (
            f"importance of {len(self.importances.inputs)} inputs of {self.network}: {first.name} first, without which "
            f"the AUC is lower by {first.auc.value:.4f}"
        )

    def records(self) -> Sequence[Mapping[str, Any]]:
        """One row per kind, then one per input, by falling decrease of the AUC."""
        return [
            {"name": each.name, "kind": each.kind}
            | {
                f"{figure}_{name}": getattr(getattr(each, figure), name)
                for figure in ("auc", "rejection")
                for name in ("value", "error", "permutation_error")
            }
            for each in (*by_auc(self.importances.kinds), *by_auc(self.importances.inputs))
        ]

    def figures(self) -> list[str]:
        """Names of its figures."""
        return [each.name for each in importance_drawings("importance", self.importances)]

    def figure(self, name: str) -> "Figure":
        """One of its figures.

        Raises:
            RunError: there is no such figure; names the nearest.
        """
        for each in importance_drawings("importance", self.importances):
            if each.name == name:
                return each.figure(self.labels)
        raise RunError(f"there is no figure {name}{did_you_mean(name, self.figures())}; figures() lists all")


def permutation_importance(
    sample: RunSample, networks: Networks, permutations: int = 5, max_jets: int = 20_000, seed: int = 1
) -> Importances:
    """Importance of each input and of each kind for the networks of a run.

    The permutations do not look at weights or classes. Parametrised masses are not permuted: a jet keeps its own.

    Args:
        sample: jets that the networks were not trained on.
        networks: of the run.
        permutations: of each input, at least 1.
        max_jets: number of jets that are drawn from the main sample.
        seed: of sample and permutations; an input's permutations do not depend on the other inputs.

    Raises:
        InputFileError: some jets have no event number, and the networks are those of folds.
        RunError: see `RunSample.check_masses`.
    """
    sample.check_masses(networks)
    chosen = np.arange(len(sample.main.jets))
    if len(chosen) > max_jets:
        chosen = np.sort(np.random.default_rng([seed]).choice(chosen, max_jets, replace=False))
    with torch.no_grad():
        reading = _Reading(sample, networks.to(sample.device), chosen)
        unpermuted = reading.scored(reading.vectors, reading.tensors.jet)
        event, judged = events_of(unpermuted, sample.main.events[chosen]), JudgedScores.of(unpermuted)
        schema = reading.tensors.schema
        asked = [(name, JET, i) for i, name in enumerate(schema.jet_inputs)]
        asked += [(kind.columns[i], kind.name, n) for kind in schema.constituents for n, i in enumerate(kind.inputs)]
        asked += [(name, name, -1) for name in (JET, *(kind.name for kind in schema.constituents))]
        found = []
        with progress("permute inputs", len(asked), "inputs") as line:
            for number, (name, kind, column) in enumerate(asked):
                permuted = [
                    JudgedScores.of(reading.permuted(kind, column, np.random.default_rng([seed, number, i])))
                    for i in range(permutations)
                ]
                found.append(Importance(name, kind, *decreases(judged, permuted, event)))
                line.advance(note=name)
    kinds = 1 + len(schema.constituents)
    rejection = 1 / judged.passing if judged.passing else float("inf")
    return Importances(
        len(chosen), permutations, seed, judged.auc, rejection, tuple(found[:-kinds]), tuple(found[-kinds:])
    )


class _Reading:
    """Networks of a run reading some jets.

    Attributes:
        tensors: the jets.
        vectors: for each kind what its branch makes of the jets that each network reads, [jets, width] each.
    """

    def __init__(self, sample: RunSample, networks: Networks, chosen: IndexArray) -> None:
        jets = sample.main.jets.take(chosen)
        masses = sample.tensors[0].masses.cpu().numpy()[chosen] if networks.shape.masses else None
        self.tensors = JetTensors.from_jets([jets], sample.device, masses)
        self._labels, self._weights = jets.label, sample.main.weights[chosen]
        folds = networks.fold_rule
        everyone = np.arange(len(jets))
        parts = [everyone] * len(networks.classifiers) if folds is None else folds.positions(jets, sample.main.file)
        self._parts = list(zip(networks.classifiers, parts, strict=True))
        self._branches = [branch.name for branch in networks.shape.branches]
        self.vectors = {
            kind.name: self._read(kind, self.tensors.values[kind.name], everyone)
            for kind in self.tensors.schema.constituents
        }

    def permuted(self, kind_name: str, column: int, random: np.random.Generator) -> ScoredJets:
        """Scores with one input permuted, or with all of a kind (column -1)."""
        order, jet = random.permutation(len(self.tensors)), self.tensors.jet
        if kind_name == JET:
            moved = jet.index_select(0, on_device(order, jet.device))
            if column >= 0:
                moved = torch.cat([jet[:, :column], moved[:, column : column + 1], jet[:, column + 1 :]], dim=1)
            return self.scored(self.vectors, moved)
        kind, values = self.tensors.schema.kind(kind_name), self.tensors.values[kind_name]
        if column < 0:
            return self.scored({**self.vectors, kind_name: self._read(kind, values, order)}, jet)
        # Without the constituents beyond the limit, which the networks do not read.
        offsets = self.tensors.offsets[kind_name]
        rows = np.flatnonzero(np.arange(offsets[-1]) - np.repeat(offsets[:-1], np.diff(offsets)) < kind.limit)
        target, source = (on_device(each, values.device) for each in (rows, random.permutation(rows)))
        kept = values[:, column].clone()
        values[target, column] = kept[source]
        try:
            return self.scored({**self.vectors, kind_name: self._read(kind, values, np.arange(len(jet)))}, jet)
        finally:
            values[:, column] = kept

    def scored(self, vectors: Mapping[str, list[Tensor]], jet: Tensor) -> ScoredJets:
        """Scores from the vectors of the branches for each network, and the jets' own numbers; mean of an ensemble."""
        own = torch.cat([jet, self.tensors.masses], dim=1)
        total, networks = own.new_zeros(len(own), 3), own.new_zeros(len(own), 1)
        for number, (classifier, mine) in enumerate(self._parts):
            for start in range(0, len(mine), JETS_AT_A_TIME):
                piece = slice(start, start + JETS_AT_A_TIME)
                some = on_device(mine[piece], own.device)
                encoded = [vectors[name][number][piece] for name in self._branches]
                total[some] += classifier.logits(encoded, Batch({}, own.index_select(0, some))).softmax(dim=1)
                networks[some] += 1
        return ScoredJets((total / networks).cpu().numpy(), self._labels, self._weights)

    def _read(self, kind: Constituent, values: Tensor, places: IndexArray) -> list[Tensor]:
        """Vectors of one branch for the jets of each network; jet i has the constituents of jet places[i]."""
        offsets, found = self.tensors.offsets[kind.name], []
        for classifier, mine in self._parts:
            pieces = [mine[start : start + JETS_AT_A_TIME] for start in range(0, max(1, len(mine)), JETS_AT_A_TIME)]
            batches = (self.tensors.constituents(kind, values, offsets, places[some], some) for some in pieces)
            found.append(torch.cat([classifier.branch_vectors(kind.name, batch) for batch in batches]))
        return found
