"""Makes a training file: two passes, the first choosing jets, the second scaling and mixing them; its metadata."""

import fnmatch
import logging
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cal_ratio_trainer.building.checks import COMBINED, are_training_files, class_notes, range_notes, refuse_duplicates
from cal_ratio_trainer.building.normalisation import PILEUP_WEIGHT
from cal_ratio_trainer.building.scan import InputSource, ScannedFile, find_sources, scan_files
from cal_ratio_trainer.building.shuffle import KEPT_SCALARS, POSITION, Recipe, bucket_for, permuted
from cal_ratio_trainer.building.summary import BuildSummary, cutflows, simulation_of, summarised
from cal_ratio_trainer.building.weighing import weigh
from cal_ratio_trainer.building.workers import Workers, opened_workers
from cal_ratio_trainer.config.build import BuildSettings
from cal_ratio_trainer.errors import NOTICE, ConfigError, InputFileError, MissingColumn
from cal_ratio_trainer.files.atomic import sha256_of
from cal_ratio_trainer.jets.jet_file import Writer
from cal_ratio_trainer.jets.loading import check_output, writing_layout
from cal_ratio_trainer.jets.metadata import Cuts, InputFile, JetMetadata, Normalisation, Scaling, built_units
from cal_ratio_trainer.jets.ragged import IndexArray
from cal_ratio_trainer.jets.schema import REQUIRED_SCALARS, Schema
from cal_ratio_trainer.jets.store import read_metadata
from cal_ratio_trainer.progress import progress
from cal_ratio_trainer.workers.executor import Report

_log = logging.getLogger(__name__)

_OF_EVERY_JET = ("min_jet_pt", "max_jet_pt", "max_abs_jet_eta", "require_clean_jets")
"""Cuts that no class of a training file may have of its own: the network would learn them."""

JET_ID = "jet_id"
"""Number of a jet in its training file, 0 to the number of jets - 1, in row order."""

_SHUFFLING = 1 << 20
"""Keeps the stream of the shuffle apart from those of the samples, which are numbered from 0."""


def cuts_of(files: Sequence[ScannedFile]) -> list[Cuts]:
    """The different selections of the jets that are taken, each with the data types that went through it."""
    found: list[tuple[dict[str, Any], list[Any]]] = []
    for file in files:
        if not len(file.taken):
            continue
        for cuts in file.metadata.cuts or [_from_options(file)]:
            content = cuts.model_dump(exclude={"data_types"})
            before, now = cuts.event_filter, file.source.request.event_filter
            content["event_filter"] = f"({before}) and ({now})" if before and now else before or now
            types = cuts.data_types or ([file.data_type] if file.data_type is not None else [])
            for known, of_types in found:
                if known == content:
                    of_types += [each for each in types if each not in of_types]
                    break
            else:
                found.append((content, list(types)))
    return [Cuts(**content, data_types=types) for content, types in found]


def cut_notes(files: Sequence[ScannedFile]) -> list[str]:
    """A warning if jets of one training file passed different cuts on pt, eta or cleaning, if they are known."""
    all_cuts = cuts_of(files)
    notes = []
    for name in _OF_EVERY_JET:
        types: dict[Any, list[str]] = {}
        for cuts in all_cuts:
            if getattr(cuts, name) is not None:
                types.setdefault(getattr(cuts, name), []).extend(cuts.data_types)
        if len(types) > 1:
            said = "; ".join(f"{value} ({', '.join(dict.fromkeys(those))})" for value, those in types.items())
            notes.append(f"the inputs were converted with different {name}, which a network can learn: {said}")
    for note in notes:
        _log.warning("%s", note)
    return notes


def _from_options(file: ScannedFile) -> Cuts:
    """Cuts of a file that was converted before cuts were stored separately."""
    options = file.metadata.options
    given = {name: options[name] for name in ("min_jet_pt", "max_jet_pt", "max_hlt_delta_r") if name in options}
    return Cuts(**given)


def built_metadata(
    settings: BuildSettings,
    files: Sequence[ScannedFile],
    schema: Schema,
    checksums: Sequence[str],
    summary: BuildSummary,
) -> JetMetadata:
    """The metadata of a training file whose jets have `schema`; `checksums` are the SHA-256 of its inputs."""
    simulation, said = simulation_of(files)
    combined = any(file.is_built for file in files)
    own = [(file.source.given_as, note) for file in files for note in file.metadata.notes]
    return JetMetadata(
        stage="built",
        kind=settings.kind,
        simulation=simulation,
        command="cr_trainer build",
        options=settings.without_scheduling(),
        inputs=[
            InputFile(
                path=file.source.given_as,
                size_bytes=file.source.path.stat().st_size,
                sha256=checksum,
            )
            for file, checksum in zip(files, checksums, strict=True)
        ],
        units=built_units(schema),
        feature_schema=schema,
        scaling=Scaling(min_jet_pt=settings.min_jet_pt, max_jet_pt=settings.max_jet_pt),
        # Two training files may come from one sample, which would count twice.
        normalisation=None if combined else summed([file.metadata.normalisation for file in files]),
        notes=list(dict.fromkeys([*summary.notes, *said, *(f"{path}: {note}" for path, note in own)])),
        cuts=cuts_of(files),
        details={**summary.as_details(), "normalisation_by_sample": {} if combined else _by_sample(files)},
    )


def common_schema(files: Sequence[ScannedFile]) -> Schema:
    """The features of the jets of all inputs.

    Raises:
        MissingColumn: a file lacks features that another one has.
        InputFileError: features of two files differ in other ways.
    """
    first, *others = files
    for file in others:
        both = ((first, file), (file, first))
        for one, other in both:
            has, wanted = one.metadata.feature_schema.columns, other.metadata.feature_schema.columns
            if missing := [name for name in wanted if name not in has]:
                raise MissingColumn(one.source.path, missing, has)
        if file.metadata.feature_schema != first.metadata.feature_schema:
            reason = (
                "has features in another order, or with other limits, units, scaling, branches or titles, than "
                f"{first.source.given_as}; convert both with one schema"
            )
            raise InputFileError(file.source.path, reason)
    return first.metadata.feature_schema


def summed(parts: Sequence[Normalisation | None]) -> Normalisation | None:
    """Normalisations added up; None if no part has one."""
    known = [part for part in parts if part is not None]
    if not known:
        return None
    names = dict.fromkeys(name for part in known for name in part.event_count)
    return Normalisation(
        event_count={name: sum(part.event_count.get(name, 0.0) for part in known) for name in names},
        events_read=sum(part.events_read for part in known),
        sum_of_weights_read=_sum([part.sum_of_weights_read for part in known]),
        sum_of_weights_squared_read=_sum([part.sum_of_weights_squared_read for part in known]),
        run_numbers=_union([part.run_numbers for part in known]),
        channel_numbers=_union([part.channel_numbers for part in known]),
    )


def _by_sample(files: Sequence[ScannedFile]) -> dict[str, Any]:
    """The normalisation of each simulated sample, for a slice is weighed by its own cross section; by its number."""
    by_sample: dict[str, list[Normalisation]] = {}
    for file in files:
        if file.metadata.normalisation is not None and file.metadata.normalisation.channel_numbers:
            name = "+".join(map(str, file.metadata.normalisation.channel_numbers))
            by_sample.setdefault(name, []).append(file.metadata.normalisation)
    return {name: total.model_dump() for name, parts in by_sample.items() if (total := summed(parts)) is not None}


def _sum(numbers: Sequence[float | None]) -> float | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if known else None


def _union(lists: Sequence[list[int]]) -> list[int]:
    return sorted({number for numbers in lists for number in numbers})


def build_training_file(settings: BuildSettings) -> BuildSummary:
    """Builds a main or control-region training file.

    Memory does not grow with the jets' constituents: about 100 bytes per jet are held besides a few hundred MiB.
    The result does not depend on the workers.

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
    with opened_workers(
        settings, settings.output_file, len(sources), lambda text: _log.log(NOTICE, "%s", text)
    ) as workers:
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
            _log.log(NOTICE, "%s is complete; only its report is missing, and is written now", settings.output_file)
            return replace(summary, notes=read_metadata(settings.output_file).notes)
        kept = [name for name in KEPT_SCALARS if name not in removed]
        kept += [name for name in schema.jet_columns if name not in KEPT_SCALARS]
        with writing_layout(settings.output_file, settings.layout) as writer:
            places = _places(settings, files)
            recipe = Recipe(None if combined else scaling, tuple(kept), bucket_for(len(places)), schema)
            unusual = _mix(files, places, recipe, workers, writer)
            found = [sentence.format(n=count) for sentence, count in unusual.items() if count]
            for note in [*found, *([COMBINED] if combined else [])]:
                _log.warning("%s: %s", settings.output_file, note)
            summary.notes.extend(found)
            checksums = workers.results(
                _checksum, ((file.source.given_as, (file.source.path.absolute(),)) for file in files)
            )
            writer.finish(built_metadata(settings, files, schema, checksums, summary))
    return summary


def _lacks_only_its_report(settings: BuildSettings, sources: Sequence[InputSource]) -> bool:
    """True if a build with these settings, of these files, was killed before its report was written."""
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
    with progress("build", 2 * len(places), "jets") as line:
        jets, unusual = permuted(files, places, recipe, workers, line)
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
