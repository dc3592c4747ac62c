"""Jets in Parquet: one row per jet, scalars as columns, constituent features as list columns, metadata in the file."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from cal_ratio_trainer.errors import InputFileError, MissingColumn
from cal_ratio_trainer.files.parquet import ParquetOutput, is_verified, open_parquet, read_columns, read_row_group
from cal_ratio_trainer.jets.jet_file import ROWS_A_BATCH, JetFile, LoadReport, writing
from cal_ratio_trainer.jets.labels import checked_labels
from cal_ratio_trainer.jets.metadata import FORMAT_VERSION, METADATA_KEY, JetMetadata, padding_mistake
from cal_ratio_trainer.jets.ragged import IndexArray, Ragged
from cal_ratio_trainer.jets.schema import CALRATIO_2019, REQUIRED_SCALARS, SCALAR_TYPES, Schema
from cal_ratio_trainer.jets.table import Jets
from cal_ratio_trainer.version import __version__

ROWS_A_GROUP = 16384


class JetsWriter:
    """Writes jets batch by batch into one Parquet file; made by `writing`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: ParquetOutput | None = None
        self._padding: dict[str, list[float]] = {}
        self._schema = CALRATIO_2019
        self.rows = 0

    def write(self, jets: Jets) -> None:
        """Appends jets; all batches must have the same columns, padding rows and schema."""
        table = to_arrow(jets)
        padding = {name: ragged.padding.tolist() for name, ragged in jets.constituents.items()}
        if self._writer is None:
            self._padding, self._schema = padding, jets.schema
            lists = jets.schema.list_columns
            # Measured on jets of real occupancy: a dictionary of the constituents' floats makes the file half as large
            # again and reading twice as slow; splitting their bytes makes both smaller.
            self._writer = ParquetOutput(
                self._path,
                table.schema,
                compression_level=1,
                use_dictionary=[name for name in table.schema.names if name not in lists],
                column_encoding={f"{name}.list.element": "BYTE_STREAM_SPLIT" for name in sorted(lists)},
            )
        elif padding != self._padding or jets.schema != self._schema:
            raise ValueError("batches with different padding rows or schemas cannot go into one file")
        for start in range(0, len(table), ROWS_A_GROUP):
            self._writer.write(table.slice(start, ROWS_A_GROUP))
        self.rows += len(table)

    def finish(self, metadata: JetMetadata) -> None:
        """Closes the file with its metadata; rows, padding, schema and versions are filled in here."""
        if self._writer is None:
            self.write(Jets.empty(metadata.feature_schema))
        assert self._writer is not None
        complete = metadata.model_copy(
            update={
                "rows": self.rows,
                "padding": self._padding,
                "feature_schema": self._schema,
                "package_version": __version__,
            }
        )
        self._writer.finish({METADATA_KEY: complete.model_dump_json().encode()})

    def close(self) -> None:
        """Closes the file without metadata, unless `finish` was called; it is then not a file of jets."""
        if self._writer is not None:
            self._writer.close()


def write_jets(path: Path, jets: Jets, metadata: JetMetadata) -> None:
    """Writes one table of jets with its metadata, complete or not at all."""
    with writing(path, JetsWriter) as writer:
        writer.write(jets)
        writer.finish(metadata)


def read_scalars(path: Path, names: Sequence[str]) -> pa.Table:
    """Scalar columns of a file of this program, without its constituents. Raises as `RaggedFile`."""
    metadata, file = _open(path)
    _refuse_missing(path, names, _scalar_names(metadata, file))
    table = read_columns(path, file, list(names))
    return table.replace_schema_metadata(None).unify_dictionaries()


def read_metadata(path: Path, schema: Schema | None = None) -> JetMetadata:
    """The metadata of a file of this program.

    Args:
        path: path of the file.
        schema: features to which the metadata are reduced; None takes the features of the file.

    Raises:
        InputFileError: it is no file of this program, or its features differ from the schema's in unit or scaling.
        MissingColumn: it lacks features of the schema.
    """
    return _open(path, schema)[0]


class RaggedFile(JetFile):
    """A file of this program; see `JetFile`.

    Args:
        path: path of the file.
        schema: the features to read; None takes the features of the file.

    Raises:
        InputFileError: it is no file of this program, or its features differ from the schema's in unit or scaling.
        MissingColumn: it lacks features of the schema.
    """

    def __init__(self, path: Path, schema: Schema | None = None) -> None:
        self.path, self.metadata, self.report = path, read_metadata(path, schema), LoadReport("ragged Parquet")
        labels = read_scalars(path, ["label"]).column("label").cast(pa.float64()).to_numpy()
        self.rows = len(checked_labels(path, labels))

    def scalar_names(self) -> list[str]:
        """All columns but those of constituents."""
        return _scalar_names(*_open(self.path))

    def scalars(self, names: Sequence[str]) -> pa.Table:
        """The named columns. Raises MissingColumn."""
        return read_scalars(self.path, names)

    def batches(self, rows: int = ROWS_A_BATCH, within: range | None = None) -> Iterator[Jets]:
        """Jets in order; memory does not grow with the file."""
        metadata, file = _open(self.path, self.schema)
        edges = _edges(file)
        groups = range(file.num_row_groups)
        if within is not None:
            groups = range(edges.index(within.start), edges.index(within.stop))
        # Not iter_batches over the whole file: it holds on to what it has read until the end.
        for table in _row_groups(self.path, file, groups):
            for start in range(0, len(table), rows):
                yield from_arrow(self.path, table.slice(start, rows), metadata)

    def lists(self) -> Iterator[Mapping[str, Ragged]]:
        """The constituents of all jets, row group by row group, without reading scalars."""
        metadata, file = _open(self.path, self.schema)
        columns = sorted(metadata.feature_schema.list_columns)
        _refuse_missing(self.path, columns, file.schema_arrow.names)
        for table in _row_groups(self.path, file, range(file.num_row_groups), columns):
            yield _constituents(self.path, table, metadata)

    def max_constituents(self) -> Mapping[str, int]:
        """Upper bounds, since Parquet counts an empty list as one value; empty for a file without checksums."""
        metadata, file = _open(self.path)
        if not is_verified(self.path):
            return {}
        places = {file.schema.column(i).path.partition(".")[0]: i for i in range(len(file.schema))}
        first = {kind.name: kind.columns[0] for kind in metadata.feature_schema.constituents}
        _refuse_missing(self.path, first.values(), file.schema_arrow.names)
        groups = [file.metadata.row_group(group) for group in range(file.num_row_groups)]
        return {
            name: sum(group.column(places[column]).num_values for group in groups) for name, column in first.items()
        }

    def edges(self) -> list[int]:
        """Edges of the row groups."""
        return _edges(_open(self.path)[1])


def _scalar_names(metadata: JetMetadata, file: pq.ParquetFile) -> list[str]:
    lists = metadata.feature_schema.list_columns
    return [name for name in file.schema_arrow.names if name not in lists]


def _edges(file: pq.ParquetFile) -> list[int]:
    rows = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    return [0, *np.cumsum(rows).tolist()]


def _row_groups(
    path: Path, file: pq.ParquetFile, groups: range, columns: list[str] | None = None
) -> Iterator[pa.Table]:
    """Row group by row group; the next one is read while this one is used."""
    with ThreadPoolExecutor(max_workers=1) as reader:
        following: Future[pa.Table] | None = None
        for group in groups:
            current = following or reader.submit(read_row_group, path, file, group, columns)
            table = current.result()
            more = group + 1 in groups
            following = reader.submit(read_row_group, path, file, group + 1, columns) if more else None
            yield table


def to_arrow(jets: Jets) -> pa.Table:
    """Scalars and list columns as one arrow table."""
    table = jets.scalars
    for kind in jets.schema.constituents:
        ragged = jets.constituents[kind.name]
        offsets = pa.array(ragged.offsets.astype(np.int32))
        for position, column in enumerate(kind.columns):
            values = pa.array(np.ascontiguousarray(ragged.values[:, position]))
            table = table.append_column(column, pa.ListArray.from_arrays(offsets, values))
    return table


def from_arrow(path: Path, table: pa.Table, metadata: JetMetadata) -> Jets:
    """Jets from a table with our columns; `path` is for messages."""
    schema = metadata.feature_schema
    lists = _constituents(path, table, metadata)
    _refuse_missing(path, [*REQUIRED_SCALARS, *schema.jet_columns], table.column_names)
    # Lists that are not in the schema are features that are not read.
    scalars = table.select([column.name for column in table.schema if not _is_list(column.type)])
    return Jets(scalars.replace_schema_metadata(None), lists, schema=schema)


def _constituents(path: Path, table: pa.Table, metadata: JetMetadata) -> dict[str, Ragged]:
    """The constituents of a table by kind's name, in memory feature by feature."""
    schema = metadata.feature_schema
    _refuse_missing(path, sorted(schema.list_columns), table.column_names)
    lists = {}
    for kind in schema.constituents:
        lengths = _lengths(path, table, kind.columns[0])
        values = np.empty((len(kind.features), int(lengths.sum())), dtype=np.float32)
        for position, column in enumerate(kind.columns):
            if position and not np.array_equal(_lengths(path, table, column), lengths):
                raise InputFileError(path, f"{column} has lists of other lengths than {kind.columns[0]}")
            end = 0
            for chunk in table.column(column).chunks:
                flat = chunk.flatten()
                start, end = end, end + len(flat)
                values[position, start:end] = flat.to_numpy(zero_copy_only=False)
        padding = metadata.padding.get(kind.name, [0.0] * len(kind.features))
        lists[kind.name] = Ragged.from_lengths(values.T, lengths, np.asarray(padding, dtype=np.float32))
    return lists


def _refuse_missing(path: Path, names: Iterable[str], present: Sequence[str]) -> None:
    missing = [name for name in names if name not in present]
    if missing:
        raise MissingColumn(path, missing, present)


def _lengths(path: Path, table: pa.Table, column: str) -> IndexArray:
    chunks = table.column(column)
    if chunks.null_count:
        raise InputFileError(path, f"column {column} has {chunks.null_count} empty entries where lists should be")
    lengths = [np.diff(chunk.offsets.to_numpy()) for chunk in chunks.chunks]
    return np.concatenate([np.zeros(0, np.int64), *lengths]).astype(np.int64)


def _open(path: Path, schema: Schema | None = None) -> tuple[JetMetadata, pq.ParquetFile]:
    """An opened file and its metadata, reduced to the features of a schema if one is given."""
    file = open_parquet(path)
    raw = (file.metadata.metadata or {}).get(METADATA_KEY)
    if raw is None:
        raise InputFileError(
            path, "is a Parquet file, but not one of jets written by cr_trainer (its metadata are missing)"
        )
    try:
        content = json.loads(raw)
        version = content.get("format_version", FORMAT_VERSION)
        if type(version) is not int or not 0 < version <= FORMAT_VERSION:
            raise InputFileError(path, f"has format version {version!r:.40}; this program reads 1 to {FORMAT_VERSION}")
        metadata = JetMetadata.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise InputFileError(path, f"has unreadable metadata: {place}: {first['msg']}") from error
    except (ValueError, AttributeError, RecursionError) as error:
        raise InputFileError(path, f"has unreadable metadata: {error}") from error
    _refuse_foreign_types(path, file.schema_arrow, metadata.feature_schema)
    if mistake := padding_mistake(metadata.padding, metadata.feature_schema):
        raise InputFileError(path, f"has impossible metadata: {mistake}")
    return metadata if schema in (None, metadata.feature_schema) else _for_schema(path, metadata, schema), file


def _for_schema(path: Path, metadata: JetMetadata, schema: Schema) -> JetMetadata:
    """The metadata of a file of which the features of a schema are read; refuses what the file has in another way."""
    has = metadata.feature_schema
    present, wanted = has.columns, schema.columns
    _refuse_missing(path, wanted, list(present))
    for name, feature in wanted.items():
        for fact in ("unit", "scaling", "angle", "not_measured"):
            found, expected = getattr(present[name], fact), getattr(feature, fact)
            if found != expected:
                raise InputFileError(path, f"column {name} has the {fact} {found}, where {expected} is read")
    padding = {}
    for kind in schema.constituents:
        own = has.kind(kind.name)
        if own.limit < kind.limit:
            raise InputFileError(path, f"holds at most {own.limit} {kind.name} of a jet, where {kind.limit} are read")
        if kind.name in metadata.padding:
            row = dict(zip(own.columns, metadata.padding[kind.name], strict=True))
            padding[kind.name] = [row[column] for column in kind.columns]
    return metadata.model_copy(update={"feature_schema": schema, "padding": padding})


def _refuse_foreign_types(path: Path, columns: pa.Schema, schema: Schema) -> None:
    """Refuses columns that are not numbers, and constituents that are not lists of numbers; reports relevant nulls."""
    numbers = {name for name, kind in SCALAR_TYPES.items() if _is_number(kind)} | set(schema.jet_columns)
    for name, found in zip(columns.names, columns.types, strict=True):
        if name in schema.list_columns:
            if not (_is_list(found) and _is_number(found.value_type)):
                raise InputFileError(path, f"column {name} holds {found} where lists of numbers should be")
        elif name in numbers and not (_is_number(found) or pa.types.is_null(found)):
            raise InputFileError(path, f"column {name} holds {found} where numbers should be")


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))
