"""Conversion of one ntuple to one file of jets, whole or in pieces; leases are taken elsewhere."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import ValidationError

from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.files.atomic import sha256_of, write_text
from cal_ratio_trainer.files.cache import is_remote
from cal_ratio_trainer.files.leases import lease_file
from cal_ratio_trainer.files.remote import file_system, persistently
from cal_ratio_trainer.jets.jet_file import Writer
from cal_ratio_trainer.jets.loading import writing_layout
from cal_ratio_trainer.jets.metadata import InputFile, JetMetadata, Normalisation, converted_units
from cal_ratio_trainer.jets.store import ROWS_A_GROUP, read_metadata
from cal_ratio_trainer.jets.table import Jets
from cal_ratio_trainer.ntuple.chunk import convert_chunk, no_jets
from cal_ratio_trainer.ntuple.events import check_branches, required_branches
from cal_ratio_trainer.ntuple.pieces import WrittenPiece, cut, read_piece, write_piece
from cal_ratio_trainer.ntuple.reading import Ntuple, opened
from cal_ratio_trainer.ntuple.request import Request
from cal_ratio_trainer.ntuple.summary import ConversionRow, Status, Tally, sample_name
from cal_ratio_trainer.workers.executor import Report
from cal_ratio_trainer.workers.files import Pieces


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


_REDO = "--overwrite converts it again"


@dataclass
class Output:
    """Output of the jets of one file, in row groups of one size for any size of the batches; made by `output_for`.

    Attributes:
        rows: number of written jets.
    """

    _writer: Writer
    _metadata_file: Path | None = None
    rows: int = 0
    _waiting: list[Jets] = field(default_factory=list)

    def write(self, jets: Jets) -> None:
        """Appends jets; all must have the same columns."""
        self.rows += len(jets)
        self._waiting.append(jets)
        if sum(len(part) for part in self._waiting) >= ROWS_A_GROUP:
            self._flush()

    def finish(self, metadata: JetMetadata) -> JetMetadata:
        """All jets are there; the file appears when the block of `output_for` ends. Gives the complete metadata."""
        if self._waiting:
            self._flush()
        complete = metadata.model_copy(update={"rows": self.rows})
        self._writer.finish(complete)
        if self._metadata_file is not None:
            write_text(self._metadata_file, complete.model_dump_json(indent=1))
        return complete

    def _flush(self) -> None:
        self._writer.write(Jets.concatenate(self._waiting))
        self._waiting.clear()


@contextmanager
def output_for(request: Request) -> Iterator[Output]:
    """Opens the output of a request; the complete file appears when the block ends without an error."""
    is_flat = request.layout == "flat"
    with writing_layout(request.output, "flat" if is_flat else "ragged") as writer:
        yield Output(writer, metadata_beside(request.output) if is_flat else None)
        if is_flat:
            # The metadata are new by now: an old file must not be taken for theirs if writing fails from here on.
            request.output.unlink(missing_ok=True)


def previous_result(request: Request, source: InputFile) -> JetMetadata | None:
    """The metadata of the output where it is there already and is what the request would give; None where it is not.

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
    # The checksum takes a reading of the whole file, so it is asked only where the name does not tell.
    return now.path == before.path or (before.sha256 is not None and with_checksum(now).sha256 == before.sha256)


def _metadata_of(request: Request) -> JetMetadata:
    if request.layout != "flat":
        return read_metadata(request.output)
    beside = metadata_beside(request.output)
    try:
        return JetMetadata.model_validate_json(beside.read_text("utf-8"))
    except (OSError, ValidationError) as error:
        raise InputFileError(request.output, f"has no metadata of a conversion beside it ({beside.name})") from error


def metadata_beside(output: Path) -> Path:
    """Path of the metadata of a flat file, because a pickled frame cannot hold them."""
    return output.with_name(f"{output.name}.metadata.json")


COMMAND = "convert divertanalysis"

Chunk = tuple[Jets, Tally]
"""The jets of some events, and what was counted in these."""


def convert_whole(report: Report, request: Request, may_be_cut: bool) -> ConversionRow | Pieces:
    """Converts one file unless it is done.

    Args:
        report: called with the number of events read so far and their total.
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
        stop = min(ntuple.entries, request.max_events or ntuple.entries)
        if may_be_cut and stop > request.piece_events:
            pieces = cut(ntuple.chunks(request.chunk_events, stop), request.piece_events)
            if len(pieces) > 1:
                return Pieces(pieces)
        report(0, stop)
        chunks = _chunks(ntuple, request, ntuple.chunks(request.chunk_events, stop), stop, report)
        row = _write(row, ntuple, request, with_checksum(source), chunks)
    return replace(row, seconds=time.monotonic() - start)


def convert_piece(report: Report, request: Request, piece: tuple[range, ...]) -> WrittenPiece:
    """Converts some chunks of a file to a separate file for `join_pieces`. Raises as above."""
    start = time.monotonic()
    events = sum(map(len, piece))
    report(0, events)
    with _opened(request) as ntuple:
        written = write_piece(request.output, _chunks(ntuple, request, piece, events, report))
    return replace(written, seconds=time.monotonic() - start)


def join_pieces(report: Report, request: Request, pieces: list[WrittenPiece]) -> ConversionRow:
    """Joins the pieces of a file: the same file, bit for bit, that `convert_whole` makes. Raises as above."""
    start = time.monotonic()
    with _opened(request) as ntuple:
        chunks = (chunk for piece in pieces for chunk in read_piece(piece, request.selection.schema))
        row = _write(_row_of(request), ntuple, request, with_checksum(size_of(request.file)), chunks)
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
    with opened(request.file, request.cache_path) as ntuple:
        if ntuple.entries:
            check_branches(request.file, request.selection, ntuple.branches)
        yield ntuple


def _chunks(ntuple: Ntuple, request: Request, ranges: Iterable[range], events: int, report: Report) -> Iterator[Chunk]:
    """Converts chunk by chunk, each with its own tally."""
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


def _write(
    row: ConversionRow, ntuple: Ntuple, request: Request, source: InputFile, chunks: Iterable[Chunk]
) -> ConversionRow:
    """Writes the output; returns the row with its content."""
    tally = _empty_tally(request)
    with output_for(request) as output:
        output.write(no_jets(request.selection.schema))
        for jets, counted in chunks:
            output.write(jets)
            # Chunk by chunk, so that sums are rounded the same however a file was cut.
            tally.add(counted)
        metadata = output.finish(_metadata(ntuple, request, source, tally))
    if not ntuple.entries:
        return _row_from(row, metadata, Status.EMPTY)
    status = Status.CONVERTED if metadata.rows else Status.NO_JETS
    unusual_values = tuple(metadata.details["counts"].items())
    verified = ntuple.damage_is_noticed(required_branches(request.selection.data_type, request.selection.schema))
    row = _row_from(row, metadata, status)
    return replace(row, cutflow=tuple(metadata.cutflow), unusual_values=unusual_values, unverified=not verified)


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
