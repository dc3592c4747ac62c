"""The file of jets that one ntuple becomes: is it there already, and writing it in either layout."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pydantic import ValidationError

from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.files.atomic import write_text
from cal_ratio_trainer.jets.metadata import InputFile, JetMetadata
from cal_ratio_trainer.jets.store import ROWS_A_GROUP, read_metadata, writing
from cal_ratio_trainer.jets.table import Jets
from cal_ratio_trainer.ntuple.request import Request
from cal_ratio_trainer.ntuple.source import with_checksum

_REDO = "--overwrite converts it again"


class _Writer(Protocol):
    """Interface of the writers of both layouts."""

    def write(self, jets: Jets) -> None:
        """Append jets."""

    def finish(self, metadata: JetMetadata) -> None:
        """Complete the file."""


@dataclass
class Output:
    """Output of the jets of one file, in row groups of one size for any size of the batches; made by `output_for`.

    Attributes:
        rows: how many jets were written.
    """

    _writer: _Writer
    _metadata_file: Path | None = None
    rows: int = 0
    _waiting: list[Jets] = field(default_factory=list)

    def write(self, jets: Jets) -> None:
        """Append jets; all must have the same columns."""
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
    if request.layout != "flat":
        with writing(request.output) as writer:
            yield Output(writer)
        return
    from cal_ratio_trainer.jets.legacy import flat_writing

    with flat_writing(request.output) as flat_writer:
        yield Output(flat_writer, metadata_beside(request.output))
        # The metadata are new by now; an old file must not be taken for theirs, whatever happens next.
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
