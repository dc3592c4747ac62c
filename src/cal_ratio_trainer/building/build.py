"""Makes a training file: two passes, the first choosing jets, the second scaling and mixing them."""

import fnmatch
import logging
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from cal_ratio_trainer.building.checks import COMBINED, are_training_files, class_notes, range_notes, refuse_duplicates
from cal_ratio_trainer.building.normalisation import PILEUP_WEIGHT
from cal_ratio_trainer.building.record import built_metadata, common_schema, cut_notes
from cal_ratio_trainer.building.scan import ScannedFile, Source, find_sources, scan_files
from cal_ratio_trainer.building.scattering import KEPT_SCALARS, Recipe, scattered
from cal_ratio_trainer.building.shuffle import POSITION, Buckets
from cal_ratio_trainer.building.summary import BuildSummary, cutflows, summarised
from cal_ratio_trainer.building.weighing import weigh
from cal_ratio_trainer.building.workers import Job, Workers, opened_workers
from cal_ratio_trainer.config.build import BuildSettings
from cal_ratio_trainer.errors import ConfigError, InputFileError
from cal_ratio_trainer.files.atomic import sha256_of
from cal_ratio_trainer.jets.loading import Writer, check_output, writing_layout
from cal_ratio_trainer.jets.metadata import Scaling
from cal_ratio_trainer.jets.ragged import IndexArray
from cal_ratio_trainer.jets.schema import REQUIRED_SCALARS
from cal_ratio_trainer.jets.store import read_metadata
from cal_ratio_trainer.progress import progress
from cal_ratio_trainer.workers.executor import Report

_log = logging.getLogger(__name__)

JET_ID = "jet_id"
"""Number of a jet in its training file, 0 to the number of jets - 1, in row order."""

_SHUFFLING = 1 << 20
"""Keeps the stream of the shuffle apart from those of the samples, which are numbered from 0."""


def build_training_file(settings: BuildSettings) -> BuildSummary:
    """Builds a main or control-region training file.

    Memory does not grow with the jets' constituents: some 100 bytes a jet are held besides a few hundred MiB. The
    result does not depend on who works.

    Raises:
        SchedulerError: there is no such cluster, or it cannot do this.
        InputFileError: an input cannot be used (missing, of a wrong kind, built beside converted ones), or the output
            exists.
        ExpressionError: an event filter cannot be read or names an unknown column.
        DuplicateJets: a jet would be taken twice.
        SampleError: simulated multijets of several samples cannot be weighed.
        ConfigError: the settings ask for something impossible.
    """
    removed = _removed_columns(settings.remove_branches)
    sources = find_sources(settings.input_files, settings.cache_path)
    lacks_report = _lacks_only_its_report(settings, sources)
    check_output(settings.output_file, [source.path for source in sources], settings.overwrite or lacks_report)
    scaling = Scaling(min_jet_pt=settings.min_jet_pt, max_jet_pt=settings.max_jet_pt)
    further = [*([PILEUP_WEIGHT] if settings.pileup_weight else []), *settings.reweight_mc, *settings.flatten]
    with opened_workers(settings, settings.output_file, len(sources), lambda text: _log.warning("%s", text)) as workers:
        files = scan_files(sources, settings.kind, settings.seed, further, workers)
        schema = common_schema(files)
        combined = are_training_files(files, settings)
        said = [COMBINED] if combined else range_notes(settings)
        notes = [*said, *refuse_duplicates(files), *class_notes(files, settings), *cut_notes(files)]
        weighing = weigh(files, settings)
        # The cutflow needs the weights that the files came with.
        flow = cutflows(files, weighing)
        files = weighing.applied_to(files)
        summary = summarised(settings, files, [*notes, *weighing.notes], weighing, flow)
        if lacks_report:
            _log.warning("%s is complete; only its report is missing, and is written now", settings.output_file)
            return replace(summary, notes=read_metadata(settings.output_file).notes)
        kept = [name for name in KEPT_SCALARS if name not in removed]
        kept += [name for name in schema.jet_columns if name not in KEPT_SCALARS]
        with writing_layout(settings.output_file, settings.layout) as writer:
            places = _places(settings, files)
            recipe = Recipe(None if combined else scaling, tuple(kept), Buckets.of(len(places)), schema)
            unusual = _mix(files, places, recipe, workers, writer)
            found = [sentence.format(n=count) for sentence, count in unusual.items() if count]
            for note in [*found, *([COMBINED] if combined else [])]:
                _log.warning("%s: %s", settings.output_file, note)
            summary.notes.extend(found)
            checksums = workers.results(
                Job(file.source.given_as, _checksum, (file.source.path.absolute(),)) for file in files
            )
            writer.finish(built_metadata(settings, files, schema, checksums, summary))
    return summary


def _lacks_only_its_report(settings: BuildSettings, sources: Sequence[Source]) -> bool:
    """True where a build with these settings, of these files, was killed before its report was written."""
    output = settings.output_file
    is_wanted = settings.report and not settings.overwrite and not report_file(output).with_suffix(".html").exists()
    if not (is_wanted and output.is_file()):
        return False
    try:
        metadata = read_metadata(output)
    except InputFileError:
        return False
    sizes = [source.path.stat().st_size for source in sources]
    if [each.size_bytes for each in metadata.inputs] != sizes or metadata.options != settings.without_scheduling():
        return False
    return [each.sha256 for each in metadata.inputs] == [sha256_of(source.path) for source in sources]


def report_file(output: Path) -> Path:
    """The Markdown report of a training file, beside it."""
    return output.with_name(f"{output.stem}_report.md")


def _places(settings: BuildSettings, files: Sequence[ScannedFile]) -> IndexArray:
    """Row in the training file of each taken jet, [jets]."""
    jets = sum(len(file.taken) for file in files)
    if settings.shuffle:
        return np.random.default_rng([settings.seed, _SHUFFLING]).permutation(jets)
    return np.arange(jets, dtype=np.int64)


def _mix(
    files: Sequence[ScannedFile], places: IndexArray, recipe: Recipe, workers: Workers, writer: Writer
) -> Counter[str]:
    """Writes all taken jets, scaled and in their final order; returns the number of unusual values by message."""
    with (
        progress("build", 2 * len(places), "jets") as line,
        scattered(files, places, recipe, workers, line) as (jets, unusual),
    ):
        for part in jets:
            writer.write(part.with_columns({JET_ID: part.scalars.column(POSITION)}).without_columns([POSITION]))
            line.advance(len(part))
    return unusual


def _checksum(report: Report, path: Path) -> str:
    return sha256_of(path)


def _removed_columns(patterns: Sequence[str]) -> set[str]:
    removed = {name for name in KEPT_SCALARS for pattern in patterns if _matches(name, pattern)}
    needed = sorted(removed & REQUIRED_SCALARS.keys())
    if needed:
        raise ConfigError([f"remove_branches would remove {', '.join(needed)}, which every training needs"])
    return removed


def _matches(name: str, pattern: str) -> bool:
    try:
        return fnmatch.fnmatchcase(name, pattern) or re.fullmatch(pattern, name) is not None
    except re.error:
        return False
