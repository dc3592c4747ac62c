"""Two networks, or a network and scores in files, on the same jets."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from cal_ratio_trainer.config.base import folder_of_scores
from cal_ratio_trainer.config.scoring import CompareSettings
from cal_ratio_trainer.errors import ConfigError, InputFileError
from cal_ratio_trainer.evaluation.bootstrap import Resampling
from cal_ratio_trainer.evaluation.c2st import ControlRegionC2st, c2st_of_control_jets
from cal_ratio_trainer.evaluation.ks import ControlRegionKs, PtRange, ks_of_control_jets
from cal_ratio_trainer.evaluation.paired import (
    Agreement,
    PairedFigure,
    PairedFigures,
    agreement,
    agreements_by_class,
    paired_figures,
    paired_ks,
)
from cal_ratio_trainer.evaluation.sculpting import Sculpting, sculpting
from cal_ratio_trainer.jets import Label
from cal_ratio_trainer.jets.metadata import DataTaking
from cal_ratio_trainer.runs.test_sample import CONTROL_FILE, MAIN_FILE
from cal_ratio_trainer.scoring.blinding import blinding_of
from cal_ratio_trainer.scoring.compared import (
    ColumnScores,
    ComparedJets,
    Source,
    compared_jets,
    joined,
    score_patterns,
)
from cal_ratio_trainer.scoring.explanation import Explanation, explain
from cal_ratio_trainer.scoring.score_file import BLIND_ABOVE, BLINDED, SCORE_COLUMNS, writing_scores
from cal_ratio_trainer.scoring.scorer import Scorer, find_scorer
from cal_ratio_trainer.scoring.streams import JetStream, Region, files_named, open_stream

SCORES_FILE = "compared.parquet"

_FILE_ENDINGS = (".parquet", ".pkl", ".root")
_REGIONS: tuple[Region, ...] = ("main", "control")


@dataclass(frozen=True, eq=False)
class ComparedSample:
    """Results on the jets of one region.

    Attributes:
        jets: the jets with both scores.
        agreement: of all of them.
        by_class: of each class.
        figures: figures of merit on the fair ones; None without signal and background.
        ks: K-S of both, on the fair ones; None without data and MC.
        ks_sum: the sum of both and its difference; None likewise.
        c2st: data and MC told apart by a classifier, with the scores of either; None likewise.
        sculpting: both at fixed signal efficiencies, on the fair ones; None where that was not asked for.
    """

    jets: ComparedJets
    agreement: Agreement
    by_class: dict[str, Agreement]
    figures: PairedFigures | None
    ks: tuple[ControlRegionKs, ControlRegionKs] | None
    ks_sum: PairedFigure | None
    c2st: tuple[ControlRegionC2st, ControlRegionC2st] | None
    sculpting: tuple[tuple[Sculpting, ...], tuple[Sculpting, ...]] | None


@dataclass(frozen=True, eq=False)
class CompareSummary:
    """Result of the comparison.

    Attributes:
        first, second: names.
        files: names of the files.
        samples: by region; regions without jets are not there.
        explanation: why scores in files differ from the network's; None where that was not asked.
        simulations: simulation of the jets of each file by its metadata; None if unknown.
        sources: origin of the jets of each file, for the heading of figures.
        notes: notes for the user, one sentence each.
        scores: the file with both scores.
    """

    first: str
    second: str
    files: tuple[str, ...]
    samples: dict[Region, ComparedSample]
    explanation: Explanation | None
    simulations: tuple[str | None, ...]
    sources: tuple[DataTaking, ...]
    notes: tuple[str, ...]
    scores: Path


def compare(settings: CompareSettings) -> CompareSummary:
    """Scores the same jets with both and compares the scores.

    Memory grows with the number of jets, by about 150 bytes for each.

    Raises:
        ConfigError: what is to be compared is not clear.
        InputFileError, MissingColumn, RunError: a file or network cannot be used, or no jet has both scores.
        OSError: the file of scores cannot be written.
    """
    if settings.first is None:
        raise ConfigError(["nothing is given to compare: name two networks, or a network and files with scores"])
    scorer = find_scorer(settings.first, settings)
    second_word, files = _second_and_files(settings)
    columns = ColumnScores(settings.column) if settings.column is not None else None
    if second_word is None and columns is None:
        columns = ColumnScores(_only_pattern(open_stream(files[0], settings, scorer.scaling, scorer.schema)))
    other = scorer if columns is not None else find_scorer(second_word or "", settings)
    opened = partial(
        open_stream,
        reading=settings,
        scaling=scorer.scaling,
        schema=scorer.schema.joined(other.schema),
        further=columns.columns if columns is not None else (),
    )
    sources = [Source(opened(file)) for file in files] if files else list(_test_samples(scorer, opened))
    second = columns or other
    samples = _samples(scorer, second, sources, settings)
    explanation = None
    if columns is not None and settings.explain:
        jets = next(iter(samples.values())).jets
        explanation = explain(scorer, jets.some, jets.second[jets.some_rows], jets.labelled)
    scores = folder_of_scores(settings.output_report) / SCORES_FILE
    _write_scores(scores, samples, {"first": scorer.name, "second": second.name, BLIND_ABOVE: settings.blind_above})
    return CompareSummary(
        first=scorer.name,
        second=second.name,
        files=tuple(source.stream.name for source in sources),
        samples=samples,
        explanation=explanation,
        simulations=tuple(source.stream.simulation for source in sources),
        sources=tuple(source.stream.data_taking for source in sources),
        notes=tuple(_notes(scorer, second, settings.blind_above, sources, samples)),
        scores=scores,
    )


def _second_and_files(settings: CompareSettings) -> tuple[str | None, list[str]]:
    """The second network, if one is meant, and the files: the first word may be either."""
    words = list(settings.input_files)
    if settings.second is not None:
        return settings.second, files_named(words) if words else []
    if settings.column is None and words and (words[0].endswith((".keras", ".safetensors")) or not _is_file(words[0])):
        return words[0], files_named(words[1:]) if words[1:] else []
    if not words and settings.column is None:
        raise ConfigError(
            [f"nothing is given to compare {settings.first} with: name a second network, or files with scores"]
        )
    return None, files_named(words)


def _is_file(word: str) -> bool:
    if Path(word).expanduser().is_dir():
        # The folder of a run.
        return False
    # A mistyped file is no network either; a network's name has no such ending.
    is_named_like_one = Path(word).suffix.lower() in _FILE_ENDINGS
    return (
        is_named_like_one
        or "://" in word
        or any(letter in word for letter in "*?[")
        or Path(word).expanduser().exists()
    )


def _only_pattern(stream: JetStream) -> str:
    """The one set of score columns that a file holds. Raises ConfigError where there are none or several."""
    batch, _ = next(iter(stream.batches()), (None, 0))
    patterns = score_patterns(batch.jets) if batch is not None else []
    if len(patterns) == 1:
        return patterns[0]
    there = f"it holds {', '.join(patterns)}" if patterns else "it holds none"
    raise ConfigError([f"{stream.name}: choose with --column the scores to compare with; {there}"])


def _test_samples(scorer: Scorer, opened: Callable[[str], JetStream]) -> Iterator[Source]:
    if scorer.run is None:
        raise ConfigError([f"{scorer.name} belongs to no run with test jets; name files of jets to compare on"])
    data = scorer.data
    for name, kind in ((MAIN_FILE, "main"), (CONTROL_FILE, "control")):
        if data and kind not in data:
            continue
        checksum = data.get(kind, {}).get("sha256", "")
        yield Source(opened(str(scorer.run.path / name)), checksum, is_test_sample=True)


def _samples(
    scorer: Scorer, second: Scorer | ColumnScores, sources: Sequence[Source], settings: CompareSettings
) -> dict[Region, ComparedSample]:
    """Results on the jets of each region. Raises InputFileError where no jet has both scores."""
    # The agreement of two programs is checked on all jets.
    fair_only = isinstance(second, Scorer) and not settings.all_jets
    samples: dict[Region, ComparedSample] = {}
    for region in _REGIONS:
        compared = compared_jets(
            scorer,
            second,
            [source for source in sources if source.stream.region == region],
            fair_only=fair_only,
            blind_above=settings.blind_above,
            with_clusters=settings.sculpting,
        )
        if compared is not None:
            samples[region] = _sample(compared, settings, scorer.pt_ranges)
    if not samples:
        raise InputFileError(", ".join(source.stream.name for source in sources), "holds no jet that both give a score")
    return samples


def _sample(jets: ComparedJets, settings: CompareSettings, ranges: tuple[PtRange, ...]) -> ComparedSample:
    resampling = Resampling(settings.replicas, settings.seed)
    events = jets.events[jets.fair]
    main, control = jets.main_pair(), jets.control_pair()
    seen = jets.main_pair_with_kinematics() if settings.sculpting else None
    return ComparedSample(
        jets=jets,
        agreement=agreement(jets.first, jets.second),
        by_class=agreements_by_class(jets.first, jets.second, jets.rows_by_class()),
        figures=paired_figures(*main, events, resampling) if main is not None else None,
        ks=(ks_of_control_jets(control[0], ranges), ks_of_control_jets(control[1], ranges)) if control else None,
        ks_sum=paired_ks(*control, events, resampling, ranges) if control is not None else None,
        c2st=(
            c2st_of_control_jets(control[0], settings.seed, ranges),
            c2st_of_control_jets(control[1], settings.seed, ranges),
        )
        if control
        else None,
        sculpting=None if seen is None else (sculpting(seen[0]), sculpting(seen[1])),
    )


def _notes(
    first: Scorer,
    second: Scorer | ColumnScores,
    blind_above: float | None,
    sources: Sequence[Source],
    samples: dict[Region, ComparedSample],
) -> list[str]:
    notes = [*first.notes, *second.notes]
    for source in sources:
        stream = source.stream
        notes += [f"{Path(stream.name).name}: {note}" for note in stream.notes]
        lookups = [second.lookup(stream.path, source.copied_from)]
        if not source.is_test_sample:
            lookups.append(first.lookup(stream.path, source.copied_from))
        notes += [lookup.note for lookup in lookups if lookup.note]
        if (blinding := blinding_of(blind_above, stream.origin)) is not None:
            notes.append(blinding.note_of_pairs())
    for region, sample in samples.items():
        notes += [f"{count:,} {region} jets were left out: {reason}" for reason, count in sample.jets.left_out.items()]
        notes += [f"{region} jets: {sentence}" for sentence in sample.jets.unusual_values]
    return list(dict.fromkeys(notes))


def _write_scores(file: Path, samples: dict[Region, ComparedSample], description: dict[str, Any]) -> None:
    """Writes the scores of both, one row per jet; errors as `writing_scores`."""
    tables = []
    for region, jets in ((region, sample.jets) for region, sample in samples.items()):
        kept = [name for name in jets.table.column_names if name not in (*SCORE_COLUMNS, BLINDED)]
        columns: dict[str, Any] = {name: jets.table.column(name) for name in kept}
        columns["region"] = pa.array([region] * len(jets)).dictionary_encode()
        for which, scores in (("first", jets.first), ("second", jets.second)):
            columns |= {
                f"jet_nn_{label.output}_{which}": pa.array(np.ascontiguousarray(scores[:, label])) for label in Label
            }
        tables.append(pa.table(columns))
    with writing_scores(file) as writer:
        writer.write(joined(tables))
        writer.finish(description)
