"""One ntuple to one file of jets."""

import time
from collections.abc import Callable
from dataclasses import replace

from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.files.locks import held
from cal_ratio_trainer.jets.expressions import ExpressionError
from cal_ratio_trainer.jets.metadata import InputFile, JetMetadata, Normalisation, converted_units
from cal_ratio_trainer.ntuple.branches import check_branches
from cal_ratio_trainer.ntuple.chunk import convert_chunk, no_jets
from cal_ratio_trainer.ntuple.output import Output, output_for, previous_result
from cal_ratio_trainer.ntuple.reading import Ntuple, opened
from cal_ratio_trainer.ntuple.request import Request
from cal_ratio_trainer.ntuple.source import readable_name, size_of, with_checksum
from cal_ratio_trainer.ntuple.summary import ConversionRow, Status, sample_name
from cal_ratio_trainer.ntuple.tally import Tally

COMMAND = "convert divertanalysis"

Report = Callable[[int, int], None]
"""Told how many events more are expected, and how many more were read."""


def convert_file(request: Request, report: Report) -> ConversionRow:
    """Convert one file unless it is done, or another process is at it.

    Args:
        request: the file and what to do with it.
        report: told of the progress.

    Returns:
        What became of it; a bad file is a row with its reason, not an exception.

    Raises:
        OSError: the output cannot be written.
    """
    start = time.monotonic()
    row = ConversionRow(request.file, request.output, Status.FAILED, data_type=request.selection.data_type)
    with held(request.output) as free:
        if not free:
            return replace(row, status=Status.ELSEWHERE, reason="another process converts it")
        try:
            row = _convert(request, row, report)
        except InputFileError as error:
            row = replace(row, reason=error.reason if error.file == request.file else str(error))
        except ExpressionError as error:
            row = replace(row, reason=str(error))
    return replace(row, seconds=time.monotonic() - start)


def _convert(request: Request, row: ConversionRow, report: Report) -> ConversionRow:
    source = size_of(request.file)
    if not request.overwrite:
        before = previous_result(request, source)
        if before is not None:
            return _row_from(row, before, Status.ALREADY_DONE)
    with opened(request.file, readable_name(request.file, request.cache_path)) as ntuple:
        if ntuple.entries:
            selection = request.selection
            check_branches(request.file, selection.data_type, selection.further_branches(), ntuple.branches)
        with output_for(request) as output:
            metadata = _write(ntuple, request, with_checksum(source), output, report)
    if not ntuple.entries:
        return _row_from(row, metadata, Status.EMPTY)
    status = Status.CONVERTED if metadata.rows else Status.NO_JETS
    oddities = tuple(metadata.details["counts"].items())
    return replace(_row_from(row, metadata, status), cutflow=tuple(metadata.cutflow), oddities=oddities)


def _write(ntuple: Ntuple, request: Request, source: InputFile, output: Output, report: Report) -> JetMetadata:
    stop = min(ntuple.entries, request.max_events or ntuple.entries)
    report(stop, 0)
    tally = Tally(weighted=request.selection.data_type.is_simulation)
    output.write(no_jets())
    for entries in ntuple.chunks(request.chunk_events, stop):
        output.write(convert_chunk(ntuple, entries, request.selection, tally))
        ntuple.forget_older_pages()
        report(0, len(entries))
    return output.finish(_metadata(ntuple, request, source, tally))


def _metadata(ntuple: Ntuple, request: Request, source: InputFile, tally: Tally) -> JetMetadata:
    notes = tally.notes()
    if tally.events < ntuple.entries:
        notes.append(f"Only the first {tally.events} of {ntuple.entries} events were read (max_events).")
    return JetMetadata(
        stage="converted",
        data_type=request.selection.data_type,
        simulation=ntuple.simulation(),
        command=COMMAND,
        options=request.options(),
        inputs=[source],
        units=converted_units(),
        cutflow=tally.cutflow(),
        cuts=[request.selection.cuts()],
        normalisation=tally.normalisation(ntuple.event_count()),
        notes=notes,
        details={"events_in_file": ntuple.entries, "counts": {k: n for k, n in tally.counts.items() if n}},
    )


def _row_from(row: ConversionRow, metadata: JetMetadata, status: Status) -> ConversionRow:
    normalisation = metadata.normalisation or Normalisation()
    sample = sample_name(row.data_type, normalisation.channel_numbers) if row.data_type is not None else ""
    return replace(row, status=status, events=normalisation.events_read, jets=metadata.rows, sample=sample)
