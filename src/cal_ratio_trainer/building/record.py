"""Metadata of a training file: cuts of its jets, inputs, units, scaling and normalisation."""

import logging
from collections.abc import Sequence
from typing import Any

from cal_ratio_trainer.building.scan import ScannedFile
from cal_ratio_trainer.building.summary import BuildSummary, simulation_of
from cal_ratio_trainer.config.build import BuildSettings
from cal_ratio_trainer.errors import InputFileError, MissingColumn
from cal_ratio_trainer.jets.metadata import Cuts, InputFile, JetMetadata, Normalisation, Scaling, built_units
from cal_ratio_trainer.jets.schema import Schema

_log = logging.getLogger(__name__)

_OF_EVERY_JET = ("min_jet_pt", "max_jet_pt", "max_abs_jet_eta", "require_clean_jets")
"""Cuts that no class of a training file may have of its own: the network would learn them."""


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
    """A warning where jets of one training file passed different cuts on pt, eta or cleaning, as far as known."""
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
    """Normalisations added up; None where no part has one."""
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
