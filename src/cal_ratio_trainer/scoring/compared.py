"""The same jets with two sets of scores: of networks, or of columns of the files."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cal_ratio_trainer.datasets.splits import event_words
from cal_ratio_trainer.datasets.weights import matched_control_weights
from cal_ratio_trainer.errors import MissingColumn, UserError
from cal_ratio_trainer.evaluation.scored import ScoredJets
from cal_ratio_trainer.evaluation.sculpting import cluster_mass_and_width
from cal_ratio_trainer.jets import Jets, Label
from cal_ratio_trainer.jets.labels import CONTROL_DATA
from cal_ratio_trainer.progress import progress
from cal_ratio_trainer.scoring.blinding import blinding_of
from cal_ratio_trainer.scoring.parts import FAIR, JetPart, PartLookup, unknown_parts
from cal_ratio_trainer.scoring.score_file import SCORE_COLUMNS, score_table
from cal_ratio_trainer.scoring.scorer import ScoreArray, Scorer
from cal_ratio_trainer.scoring.streams import JetBatch, JetStream, Region
from cal_ratio_trainer.scoring.tally import (
    BAD_WEIGHT,
    known_weights,
    rows_by_class,
    unusual_value_notes,
    unusual_values_of,
)
from cal_ratio_trainer.workers.executor import prefetched

_SLOT = "{}"

JETS_TO_EXPLAIN = 500
"""Number of jets that are kept with their constituents, to see why scores differ."""

_WEIGHTS = ("evaluation_weight", "mcEventWeight")
"""As figures of merit use them where the file says, else the event's."""

NO_SCORE = "one of the two gives no score"
NOT_FAIR = "one of the two was trained on them, or its epoch chosen by them"


@dataclass(frozen=True)
class ColumnScores:
    """Scores that the files hold, to be compared with those of a `Scorer`.

    Attributes:
        pattern: name of the columns with {} for qcd, sig and bib.
    """

    pattern: str
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The pattern."""
        return self.pattern

    @property
    def columns(self) -> tuple[str, ...]:
        """The three columns, in the order of `Label`."""
        return tuple(self.pattern.replace(_SLOT, label.output) for label in Label)

    def lookup(self, path: Path | None, copied_from: str | None) -> PartLookup:
        """See `Scorer.lookup`; nothing is known of the network that made them."""
        return PartLookup((unknown_parts,))

    def batch_scores(self, batch: JetBatch, stream: JetStream) -> ScoreArray:
        """The columns, [jets, 3]; NaN where one of them is null, not finite, or negative (-1 means not scored)."""
        missing = [name for name in self.columns if name not in batch.jets]
        if missing:
            raise MissingColumn("the file", missing, batch.jets.scalars.column_names)
        values = np.stack([batch.jets[name].astype(np.float32) for name in self.columns], axis=1)
        known = np.isfinite(values).all(axis=1) & np.all(values >= 0, axis=1)
        return np.where(known[:, None], values, np.float32(np.nan)).astype(np.float32)


def score_patterns(jets: Jets) -> list[str]:
    """The patterns of complete sets of score columns that a file holds, but those of `cr_trainer score`."""
    names = set(jets.scalars.column_names)
    found = []
    for name in jets.scalars.column_names:
        pattern = re.sub(r"(?<=_)qcd(?=_|$)", _SLOT, name, count=1)
        complete = all(pattern.replace(_SLOT, label.output) in names for label in Label)
        if pattern != name and complete and name not in SCORE_COLUMNS:
            found.append(pattern)
    return found


@dataclass(frozen=True)
class Source:
    """A file to compare on.

    Attributes:
        stream: the file, opened.
        copied_from: checksum of the training file that its jets were copied from; None for other files.
        is_test_sample: it is the test part of the first network's run, so its jets are fair for that.
    """

    stream: JetStream
    copied_from: str | None = None
    is_test_sample: bool = False


@dataclass(frozen=True, eq=False)
class ComparedJets:
    """Jets of one region with both scores.

    Attributes:
        region: whether label 2 is BIB or data.
        labelled: False where labels mean nothing.
        table: one row per jet, as `score_table` makes it, with the first's scores.
        first, second: [jets, 3] scores.
        fair: [jets] true where the jet had no say in either training, as far as that is known, and is not blinded
            data.
        weights: [jets].
        scaled_pt: [jets].
        cluster_mass, cluster_width: [jets] see `cluster_mass_and_width`; NaN where they are not known or asked for.
        events: [jets] a number that all jets of an event share.
        left_out: number of dropped jets, by reason.
        not_known: number of jets whose part in a training is not fully known.
        blinded: something may be hidden, and data take no part in figures of merit.
        unusual_values: notes on those in the jets of all files, including dropped ones, one sentence each.
        some: the first jets, up to `JETS_TO_EXPLAIN`, with their constituents.
        some_rows: [some jets] their rows.
    """

    region: Region
    labelled: bool
    table: pa.Table
    first: ScoreArray
    second: ScoreArray
    fair: NDArray[np.bool_]
    weights: NDArray[np.float64]
    scaled_pt: NDArray[np.float32]
    cluster_mass: NDArray[np.float64]
    cluster_width: NDArray[np.float64]
    events: NDArray[np.uint64]
    left_out: dict[str, int]
    not_known: int
    blinded: bool
    unusual_values: tuple[str, ...]
    some: tuple[JetBatch, ...]
    some_rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.first)

    @cached_property
    def labels(self) -> NDArray[np.int8]:
        """[jets]; zeros where they are not known."""
        if not self.labelled:
            return np.zeros(len(self), dtype=np.int8)
        labels: NDArray[np.int8] = self.table.column("label").to_numpy()
        return labels

    def rows_by_class(self) -> dict[str, NDArray[np.intp]]:
        """Positions of the jets of each class that is there."""
        return rows_by_class(self.labels, self.region, self.labelled)

    def main_pair(self) -> tuple[ScoredJets, ScoredJets] | None:
        """The fair jets with either's scores; None without signal or without background."""
        labels = self.labels[self.fair]
        has_signal, has_background = np.any(labels == Label.SIGNAL), np.any(labels != Label.SIGNAL)
        if self.region != "main" or not self.labelled or not (has_signal and has_background):
            return None
        weights = self.weights[self.fair]
        first, second = (ScoredJets(scores[self.fair], labels, weights) for scores in (self.first, self.second))
        return first, second

    def main_pair_with_kinematics(self) -> tuple[ScoredJets, ScoredJets] | None:
        """The same with kinematics, mass and width of the clusters and true masses, as far as they are known."""
        pair = self.main_pair()
        if pair is None:
            return None
        table = self.table.filter(pa.array(self.fair))

        names = {"jet_pt": "pt", "llp_eta": "llp_eta", "llp_Lxy": "llp_lxy", "llp_Lz": "llp_lz"}
        columns = {
            ours: table[name].to_numpy().astype(np.float32)
            for name, ours in (names | {"llp_mH": "mH", "llp_mS": "mS"}).items()
            if table[name].null_count < len(table)
        }
        columns |= {"cluster_mass": self.cluster_mass[self.fair], "cluster_width": self.cluster_width[self.fair]}
        first, second = (each.with_columns(**columns) for each in pair)
        return first, second

    def control_pair(self) -> tuple[ScoredJets, ScoredJets] | None:
        """The fair control jets with either's scores; None without MC or without data."""
        if self.region != "control" or not self.labelled:
            return None
        try:
            weights = matched_control_weights(self.weights[self.fair], self.labels[self.fair])
        except ValueError:
            return None
        first, second = (
            ScoredJets.control(
                scores[self.fair],
                self.labels[self.fair] == CONTROL_DATA,
                weights,
                self.scaled_pt[self.fair],
                self.events[self.fair],
            )
            for scores in (self.first, self.second)
        )
        return first, second


def joined(tables: Sequence[pa.Table]) -> pa.Table:
    """Rows of all files one after the other; a column that some files lack is null there.

    Raises:
        UserError: a column holds numbers in one file and text in another.
    """
    try:
        table = pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowTypeError as error:
        raise UserError(f"the files have columns of different types: {error}") from error
    return table.unify_dictionaries().combine_chunks()


def compared_jets(
    first: Scorer,
    second: Scorer | ColumnScores,
    sources: Sequence[Source],
    *,
    fair_only: bool,
    blind_above: float | None = None,
    with_clusters: bool = False,
) -> ComparedJets | None:
    """The jets of some files of one region, as far as both give them a score; None where none does.

    Args:
        first, second: sources of the scores.
        sources: the files.
        fair_only: jets that had a say in a training take no part at all.
        blind_above: jets of data with a signal output of either above this take no part at all; None: all do. [1]
        with_clusters: mass and width of the clusters of each jet are computed.

    Raises:
        InputFileError, MissingColumn, ConfigError: a file or network cannot be used.
    """
    gathered = _Gathered(with_clusters)
    for source in sources:
        stream = source.stream
        lookups = [each.lookup(stream.path, source.copied_from) for each in (first, second)]
        if source.is_test_sample:
            lookups[0] = PartLookup((lambda jets: np.full(len(jets), JetPart.TEST, dtype=np.int8),))
        blinding = blinding_of(blind_above, stream.origin)
        with progress(f"compare on {Path(stream.name).name}", stream.size, stream.unit) as line:
            for batch, used in prefetched(stream.batches):
                line.advance(used)
                if not len(batch.jets):
                    continue
                scores = [each.batch_scores(batch, stream) for each in (first, second)]
                of_data = None
                if blinding is not None:
                    of_data = blinding.of_data(batch.jets)
                    # Hidden jets do not appear in totals either: their number would follow by subtraction.
                    seen = np.flatnonzero(~(blinding.tail(scores[0], of_data) | blinding.tail(scores[1], of_data)))
                    batch, scores, of_data = batch.take(seen), [each[seen] for each in scores], of_data[seen]
                parts = np.stack([lookup.parts(batch.jets) for lookup in lookups])
                others = [lookup.other_contents(batch.jets, part) for lookup, part in zip(lookups, parts, strict=True)]
                batch = replace(batch, other_contents=max(others))
                gathered.add(batch, stream, scores, parts, of_data, fair_only)
    labelled = all(source.stream.labelled for source in sources)
    return gathered.result(sources[0].stream.region, labelled) if gathered.rows else None


@dataclass
class _Gathered:
    """The batches so far."""

    with_clusters: bool
    rows: int = 0
    blinded: bool = False
    not_known: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    unusual_values: Counter[str] = field(default_factory=Counter)
    tables: list[pa.Table] = field(default_factory=list)
    arrays: dict[str, list[NDArray[Any]]] = field(default_factory=dict)
    some: list[JetBatch] = field(default_factory=list)
    some_rows: list[NDArray[np.int64]] = field(default_factory=list)

    def add(
        self,
        batch: JetBatch,
        stream: JetStream,
        scores: list[ScoreArray],
        parts: NDArray[np.int8],
        of_data: NDArray[np.bool_] | None,
        fair_only: bool,
    ) -> None:
        """Adds some jets: both scores [jets, 3], parts [2, jets], and mask of blinded jets [jets]."""
        jets, (first, second) = batch.jets, scores
        fair = np.asarray(np.isin(parts, (*FAIR, JetPart.UNKNOWN)).all(axis=0))
        has_scores = np.asarray(np.isfinite(np.concatenate(scores, axis=1)).all(axis=1))
        taken = has_scores & fair if fair_only else has_scores
        self.left_out[NO_SCORE] += int(np.count_nonzero(~has_scores))
        self.left_out[NOT_FAIR] += int(np.count_nonzero(has_scores & ~taken))
        in_figures = taken
        if of_data is not None:
            # Figures of merit of a class without its tail would be wrong, and those with it would reveal it.
            fair, in_figures, self.blinded = fair & ~of_data, taken & ~of_data, True
        self.not_known += int(np.count_nonzero(in_figures & np.any(parts == JetPart.UNKNOWN, axis=0)))
        kept = sum(len(each.jets) for each in self.some)
        positions = np.flatnonzero(taken)[: JETS_TO_EXPLAIN - kept]
        if len(positions):
            self.some.append(batch.take(positions))
            self.some_rows.append(self.rows + np.arange(len(positions), dtype=np.int64))
        weights, replaced = known_weights(jets, _WEIGHTS)
        self.unusual_values += unusual_values_of(batch)
        self.unusual_values[BAD_WEIGHT] += replaced
        table = score_table(batch, first, parts.min(axis=0), labelled=stream.labelled, of_data=of_data)
        shapes = cluster_mass_and_width(jets, stream.scaling) if self.with_clusters else None
        mass, width = shapes or (np.full(len(jets), np.nan),) * 2
        self.tables.append(table.filter(pa.array(taken)))
        values = {
            "first": first,
            "second": second,
            "fair": fair,
            "weights": weights,
            "scaled_pt": jets["jet_pt"].astype(np.float32),
            "cluster_mass": mass,
            "cluster_width": width,
            "events": event_words(jets)[0],
        }
        for name, array in values.items():
            self.arrays.setdefault(name, []).append(array[taken])
        self.rows += int(np.count_nonzero(taken))

    def result(self, region: Region, labelled: bool) -> ComparedJets:
        return ComparedJets(
            region=region,
            labelled=labelled,
            table=joined(self.tables),
            left_out={reason: count for reason, count in self.left_out.items() if count},
            not_known=self.not_known,
            blinded=self.blinded,
            unusual_values=tuple(unusual_value_notes(self.unusual_values)),
            some=tuple(self.some),
            some_rows=np.concatenate(self.some_rows),
            **{name: np.concatenate(parts) for name, parts in self.arrays.items()},
        )
