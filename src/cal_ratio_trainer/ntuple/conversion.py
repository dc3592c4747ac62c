"""One ntuple to one file of jets, whole or in pieces; who holds which file is settled elsewhere."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.files.leases import lease_file
from cal_ratio_trainer.jets.metadata import InputFile, JetMetadata, Normalisation, converted_units
from cal_ratio_trainer.jets.table import Jets
from cal_ratio_trainer.ntuple.branches import check_branches, required_branches
from cal_ratio_trainer.ntuple.chunk import convert_chunk, no_jets
from cal_ratio_trainer.ntuple.output import output_for, previous_result
from cal_ratio_trainer.ntuple.pieces import WrittenPiece, cut, read_piece, write_piece
from cal_ratio_trainer.ntuple.reading import Ntuple, opened
from cal_ratio_trainer.ntuple.request import Request
from cal_ratio_trainer.ntuple.source import readable_name, size_of, with_checksum
from cal_ratio_trainer.ntuple.summary import ConversionRow, Status, sample_name
from cal_ratio_trainer.ntuple.tally import Tally
from cal_ratio_trainer.workers.executor import Report
from cal_ratio_trainer.workers.files import Pieces

COMMAND = "convert divertanalysis"

Chunk = tuple[Jets, Tally]
"""The jets of some events, and what was counted in these."""


@dataclass(frozen=True)
class _Content:
    """Chunks of a file, and the progress of each."""

    ntuple: Ntuple
    request: Request
    source: InputFile
    chunks: Iterable[Chunk]


def convert_whole(report: Report, request: Request, may_be_cut: bool) -> ConversionRow | Pieces:
    """Convert one file unless it is done.

    Args:
        report: told how many events are read, and how many there are.
        request: the file and what to do with it.
        may_be_cut: a file with more events than the request's `piece_events` is cut into pieces and not converted yet.

    Returns:
        What became of it, or its pieces.

    Raises:
        InputFileError, ExpressionError: it cannot be converted.
        OSError: the output cannot be written.
    """
    start = time.monotonic()
    row = _row_of(request)
    source = size_of(request.file)
    if not request.overwrite:
        before = previous_result(request, source)
        if before is not None:
            return replace(_row_from(row, before, Status.ALREADY_DONE), seconds=time.monotonic() - start)
    with _opened(request) as ntuple:
        stop = _stop(ntuple, request)
        if may_be_cut and stop > request.piece_events:
            pieces = cut(ntuple.chunks(request.chunk_events, stop), request.piece_events)
            if len(pieces) > 1:
                return Pieces(pieces)
        report(0, stop)
        chunks = _chunks(ntuple, request, ntuple.chunks(request.chunk_events, stop), stop, report)
        row = _write(row, _Content(ntuple, request, with_checksum(source), chunks))
    return replace(row, seconds=time.monotonic() - start)


def convert_piece(report: Report, request: Request, piece: tuple[range, ...]) -> WrittenPiece:
    """Convert some chunks of a file into a file of their own, from which `join_pieces` takes them. Raises as above."""
    start = time.monotonic()
    events = sum(map(len, piece))
    report(0, events)
    with _opened(request) as ntuple:
        written = write_piece(request.output, _chunks(ntuple, request, piece, events, report))
    return replace(written, seconds=time.monotonic() - start)


def join_pieces(report: Report, request: Request, pieces: list[WrittenPiece]) -> ConversionRow:
    """Put the pieces of a file together: the same file, bit for bit, that `convert_whole` makes. Raises as above."""
    start = time.monotonic()
    with _opened(request) as ntuple:
        chunks = (chunk for piece in pieces for chunk in read_piece(piece, request.selection.schema))
        row = _write(_row_of(request), _Content(ntuple, request, with_checksum(size_of(request.file)), chunks))
    for piece in pieces:
        piece.path.unlink(missing_ok=True)
    return replace(row, seconds=sum(piece.seconds for piece in pieces) + time.monotonic() - start)


def looked_at_again(request: Request, row: ConversionRow) -> ConversionRow:
    """The row of a file that was left to another process: done, if that process is done with it by now."""
    if row.status is not Status.ELSEWHERE or lease_file(request.output).exists():
        return row
    try:
        before = previous_result(request, size_of(request.file))
    except (InputFileError, OSError):
        return row
    return row if before is None else _row_from(replace(row, reason=""), before, Status.ALREADY_DONE)


def _row_of(request: Request) -> ConversionRow:
    return ConversionRow(request.file, request.output, Status.FAILED, data_type=request.selection.data_type)


@contextmanager
def _opened(request: Request) -> Iterator[Ntuple]:
    with opened(request.file, readable_name(request.file, request.cache_path)) as ntuple:
        if ntuple.entries:
            check_branches(request.file, request.selection, ntuple.branches)
        yield ntuple


def _stop(ntuple: Ntuple, request: Request) -> int:
    return min(ntuple.entries, request.max_events or ntuple.entries)


def _chunks(ntuple: Ntuple, request: Request, ranges: Iterable[range], events: int, report: Report) -> Iterator[Chunk]:
    """Convert chunk by chunk, each with a tally of its own."""
    done = 0
    for entries in ranges:
        tally = _empty_tally(request)
        jets = convert_chunk(ntuple, entries, request.selection, tally)
        ntuple.forget_older_pages()
        yield jets, tally
        done += len(entries)
        report(done, events)


def _empty_tally(request: Request) -> Tally:
    return Tally(weighted=request.selection.data_type.is_simulation)


def _write(row: ConversionRow, content: _Content) -> ConversionRow:
    """Write the output, and say what is in it."""
    request, ntuple, tally = content.request, content.ntuple, _empty_tally(content.request)
    with output_for(request) as output:
        output.write(no_jets(request.selection.schema))
        for jets, counted in content.chunks:
            output.write(jets)
            # Chunk by chunk, so that sums are rounded the same however a file was cut.
            tally.add(counted)
        metadata = output.finish(_metadata(ntuple, request, content.source, tally))
    if not ntuple.entries:
        return _row_from(row, metadata, Status.EMPTY)
    status = Status.CONVERTED if metadata.rows else Status.NO_JETS
    oddities = tuple(metadata.details["counts"].items())
    verified = ntuple.damage_is_noticed(required_branches(request.selection.data_type, request.selection.schema))
    row = _row_from(row, metadata, status)
    return replace(row, cutflow=tuple(metadata.cutflow), oddities=oddities, unverified=not verified)


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
        units=converted_units(request.selection.schema),
        feature_schema=request.selection.schema,
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
