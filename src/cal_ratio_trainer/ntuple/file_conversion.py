"""Conversion of one ntuple to one file of jets, whole or in pieces; `workers.files` takes the leases."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError

from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.files.atomic import replacing, sha256_of, write_text
from cal_ratio_trainer.files.cache import is_remote
from cal_ratio_trainer.files.leases import lease_file
from cal_ratio_trainer.files.parquet import StoredTable, append_table, read_table
from cal_ratio_trainer.files.remote import file_system, persistently
from cal_ratio_trainer.jets.loading import writing_layout
from cal_ratio_trainer.jets.metadata import InputFile, JetMetadata, Normalisation, converted_units
from cal_ratio_trainer.jets.store import ROWS_A_GROUP, from_arrow, read_metadata, to_arrow
from cal_ratio_trainer.jets.table import Jets
from cal_ratio_trainer.ntuple.chunk import convert_chunk, no_jets
from cal_ratio_trainer.ntuple.events import check_branches, required_branches
from cal_ratio_trainer.ntuple.reading import Ntuple, opened
from cal_ratio_trainer.ntuple.request import ConversionRequest
from cal_ratio_trainer.ntuple.summary import ConversionRow, Status, Tally, sample_name
from cal_ratio_trainer.workers.executor import Report
from cal_ratio_trainer.workers.files import Pieces
from cal_ratio_trainer.workers.pieces import cut, piece_file

COMMAND = "convert divertanalysis"

Chunk = tuple[Jets, Tally]
"""The jets of some events, and what was counted in these."""

_REDO = "--overwrite converts it again"


@dataclass(frozen=True)
class WrittenPiece:
    """A converted piece.

    Attributes:
        path: path of its file.
        chunks: jets of each chunk in the file.
        tallies: counts, one tally per chunk.
        seconds: duration. [s]
    """

    path: Path
    chunks: tuple[StoredTable, ...]
    tallies: tuple[Tally, ...]
    seconds: float


def convert_whole(report: Report, request: ConversionRequest, may_be_cut: bool) -> ConversionRow | Pieces:
    """Converts one file unless it is done.

    Args:
        report: called with the number of events read so far and their total.
        request: the file and what to do with it.
        may_be_cut: a file with more events than the request's `piece_events` is cut into pieces and not converted yet.

    Returns:
        Result for the file, or its pieces.

    Raises:
        InputFileError, ExpressionError: it cannot be converted.
        OSError: the output cannot be written.
    """
    start = time.monotonic()
    source = size_of(request.file)
    if not request.overwrite:
        before = previous_result(request, source)
        if before is not None:
            return _row(request, Status.ALREADY_DONE, before, time.monotonic() - start)
    with _opened(request) as ntuple:
        stop = min(ntuple.entries, request.max_events or ntuple.entries)
        if may_be_cut and stop > request.piece_events:
            pieces = cut(ntuple.chunks(request.chunk_events, stop), request.piece_events)
            if len(pieces) > 1:
                return Pieces(pieces)
        chunks = _chunks(ntuple, request, ntuple.chunks(request.chunk_events, stop), stop, report)
        return _write(ntuple, request, with_checksum(source), chunks, start)


def convert_piece(report: Report, request: ConversionRequest, piece: tuple[range, ...]) -> WrittenPiece:
    """Converts some chunks of a file to a separate file for `join_pieces`. Raises as above."""
    start, path = time.monotonic(), piece_file(request.output)
    tables: list[StoredTable] = []
    tallies: list[Tally] = []
    with (
        _opened(request) as ntuple,
        replacing(path, durable=False) as temporary,
        temporary.open("wb") as file,
    ):
        for jets, tally in _chunks(ntuple, request, piece, sum(map(len, piece)), report):
            tables.append(append_table(file, to_arrow(jets), "zstd"))
            tallies.append(tally)
    return WrittenPiece(path, tuple(tables), tuple(tallies), time.monotonic() - start)


def join_pieces(report: Report, request: ConversionRequest, pieces: list[WrittenPiece]) -> ConversionRow:
    """Joins the pieces of a file: the same file, bit for bit, that `convert_whole` makes. Raises as above."""
    start = time.monotonic() - sum(piece.seconds for piece in pieces)
    metadata = JetMetadata(stage="converted", feature_schema=request.selection.schema)

    def chunks() -> Iterator[Chunk]:
        for piece in pieces:
            with piece.path.open("rb") as file:
                for table, tally in zip(piece.chunks, piece.tallies, strict=True):
                    yield from_arrow(piece.path, read_table(file, table, piece.path), metadata), tally

    with _opened(request) as ntuple:
        row = _write(ntuple, request, with_checksum(size_of(request.file)), chunks(), start)
    for piece in pieces:
        piece.path.unlink(missing_ok=True)
    return row


def looked_at_again(request: ConversionRequest, row: ConversionRow) -> ConversionRow:
    """The row of a file that was left to another process: done, if that process is done with it by now."""
    if row.status is not Status.ELSEWHERE or lease_file(request.output).exists():
        return row
    try:
        before = previous_result(request, size_of(request.file))
    except (InputFileError, OSError):
        return row
    return row if before is None else _row(request, Status.ALREADY_DONE, before, 0.0)


@contextmanager
def _opened(request: ConversionRequest) -> Iterator[Ntuple]:
    with opened(request.file, request.cache_path) as ntuple:
        if ntuple.entries:
            check_branches(request.file, request.selection, ntuple.branches)
        yield ntuple


def _chunks(
    ntuple: Ntuple, request: ConversionRequest, ranges: Iterable[range], events: int, report: Report
) -> Iterator[Chunk]:
    """Converts chunk by chunk, each with its own tally."""
    done = 0
    report(done, events)
    for entries in ranges:
        tally = Tally(request.selection.data_type.is_simulation)
        jets = convert_chunk(ntuple, entries, request.selection, tally)
        ntuple.forget_older_pages()
        yield jets, tally
        done += len(entries)
        report(done, events)


def _write(
    ntuple: Ntuple, request: ConversionRequest, source: InputFile, chunks: Iterable[Chunk], start: float
) -> ConversionRow:
    """Writes the output; returns the row with its content."""
    selection, tally, rows = request.selection, Tally(request.selection.data_type.is_simulation), 0
    waiting = [no_jets(selection.schema)]
    with writing_layout(request.output, "flat" if request.metadata_file is not None else "ragged") as writer:
        for jets, counted in chunks:
            waiting.append(jets)
            # Chunk by chunk, so that sums are rounded the same however a file was cut.
            tally.add(counted)
            # Row groups have one size, whatever the size of the chunks.
            if sum(map(len, waiting)) >= ROWS_A_GROUP:
                rows += sum(map(len, waiting))
                writer.write(Jets.concatenate(waiting))
                waiting.clear()
        if waiting:
            rows += sum(map(len, waiting))
            writer.write(Jets.concatenate(waiting))
        metadata = _metadata(ntuple, request, source, tally, rows)
        writer.finish(metadata)
        if request.metadata_file is not None:
            write_text(request.metadata_file, metadata.model_dump_json(indent=1))
            # An old file must not be taken for that of the new metadata if writing fails from here on.
            request.output.unlink(missing_ok=True)
    if not ntuple.entries:
        return _row(request, Status.EMPTY, metadata, time.monotonic() - start)
    row = _row(request, Status.CONVERTED if rows else Status.NO_JETS, metadata, time.monotonic() - start)
    return replace(
        row,
        cutflow=tuple(metadata.cutflow),
        unusual_values=tuple(metadata.details["counts"].items()),
        unverified=not ntuple.damage_is_noticed(required_branches(selection.data_type, selection.schema)),
    )


def _metadata(ntuple: Ntuple, request: ConversionRequest, source: InputFile, tally: Tally, rows: int) -> JetMetadata:
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
        rows=rows,
    )


def _row(request: ConversionRequest, status: Status, metadata: JetMetadata, seconds: float) -> ConversionRow:
    normalisation, data_type = metadata.normalisation or Normalisation(), request.selection.data_type
    return ConversionRow(
        request.file,
        request.output,
        status,
        events=normalisation.events_read,
        jets=metadata.rows,
        seconds=seconds,
        data_type=data_type,
        sample=sample_name(data_type, normalisation.channel_numbers),
    )


def size_of(file: str) -> InputFile:
    """Path and size.

    Raises:
        InputFileError: there is no such local file, it may not be looked at, or its name is no text. A remote file
            whose server does not tell its size has none.
    """
    if is_remote(file):
        return InputFile(path=file, size_bytes=_remote_size(file))
    path = Path(file)
    try:
        file.encode()
        if not path.is_file():
            raise InputFileError(file, "no such file" if not path.exists() else "is not a file")
        return InputFile(path=file, size_bytes=path.stat().st_size)
    except UnicodeEncodeError as error:
        reason = "its name is not valid UTF-8, so jets cannot store it as their source; rename the file"
        raise InputFileError(file, reason) from error
    except OSError as error:
        raise InputFileError(file, f"cannot be read ({error.strerror})") from error


def with_checksum(source: InputFile) -> InputFile:
    """The same with the checksum of its content, for which it is read once; a remote file has none.

    Raises:
        InputFileError: it cannot be read to its end.
    """
    if is_remote(source.path):
        return source
    try:
        return source.model_copy(update={"sha256": sha256_of(Path(source.path))})
    except OSError as error:
        raise InputFileError(source.path, f"cannot be read ({error.strerror})") from error


def _remote_size(file: str) -> int | None:
    def asked() -> int | None:
        system, path = file_system(file)
        size: int | None = system.size(path)
        return size

    try:
        size = persistently(asked, f"{file}: asking its size")
    except MemoryError:
        raise
    except Exception:
        # The next function that opens the file reports what is wrong.
        return None
    return None if size is None else int(size)


def previous_result(request: ConversionRequest, source: InputFile) -> JetMetadata | None:
    """The metadata of the output where it is there already and is what the request would give; None if it is not.

    Raises:
        InputFileError: a file is in the way: of other options, from another input, or not of jets at all.
    """
    if not request.output.exists():
        return None
    try:
        metadata = _metadata_of(request)
    except InputFileError as error:
        reason = f"is in the way and {error.reason}; {_REDO} and replaces it"
        raise InputFileError(request.output, reason) from error
    changed = [
        f"{name} {metadata.options.get(name)!s} then, {now!s} now"
        for name, now in request.options().items()
        if metadata.options.get(name) != now
    ]
    if metadata.feature_schema != request.selection.schema:
        changed.append("another feature schema")
    if changed:
        reason = f"was converted with other options ({'; '.join(changed)}); {_REDO}"
        raise InputFileError(request.output, reason)
    if not any(_is_same(source, before) for before in metadata.inputs):
        before = ", ".join(f"{each.path} of {each.size_bytes} bytes" for each in metadata.inputs) or "an unknown file"
        reason = f"was made from {before}, not from {source.path} of {source.size_bytes} bytes; {_REDO}"
        raise InputFileError(request.output, reason)
    return metadata


def _is_same(now: InputFile, before: InputFile) -> bool:
    if now.size_bytes != before.size_bytes:
        return False
    # The checksum takes a reading of the whole file, so it is asked only if the name does not tell.
    return now.path == before.path or (before.sha256 is not None and with_checksum(now).sha256 == before.sha256)


def _metadata_of(request: ConversionRequest) -> JetMetadata:
    beside = request.metadata_file
    if beside is None:
        return read_metadata(request.output)
    try:
        return JetMetadata.model_validate_json(beside.read_text("utf-8"))
    except (OSError, ValidationError) as error:
        raise InputFileError(request.output, f"has no metadata of a conversion beside it ({beside.name})") from error
