"""One open DiVertAnalysis file: its branches as flat arrays, its events in chunks, its checksums."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import awkward as ak
import numpy as np
import uproot
import xxhash
from numpy.typing import NDArray
from uproot.source.cursor import Cursor

from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.files.cache import is_remote, local_copy
from cal_ratio_trainer.files.remote import in_words, opening_options, persistently, xrootd_hint
from cal_ratio_trainer.jets.ragged import IndexArray

_CHECKSUM_BYTES = 8

Doubles = NDArray[np.float64]

TREE = "trees_DV_"

EVENT_COUNT = "MetaData_EventCount"

SIMULATION = "cal_ratio_trainer_simulation"
"""Name of the string in a ROOT file that says what simulated it, if that was not the experiment, e.g. 'demo'."""

_Result = TypeVar("_Result")


def verify_when_read(ntuple: Any) -> bool:
    """Verifies the description of an RNTuple opened by uproot, and the checksum of each page when it is read.

    Returns:
        True if all pages have a checksum.

    Raises:
        ValueError: header, footer or a page list is damaged.
    """
    source = ntuple.file.source

    def unpacked(start: int, stored: int, size: int, checksum_bytes: int = 0) -> tuple[Any, Any]:
        """Content of some bytes of the file and where to begin in it; a checksum that follows it is verified."""
        chunk, cursor = source.chunk(start, start + stored + checksum_bytes), Cursor(start)
        if checksum_bytes:
            _verify(chunk, f"the page at byte {start}")
        if stored >= size:
            return chunk, cursor
        return uproot.compression.decompress(chunk, cursor, {}, stored, size), Cursor(0)

    for part in ("Header", "Footer"):
        # Before uproot reads it: numbers in a damaged one could ask for any amount of memory.
        _verify(unpacked(*(ntuple.member(f"f{name}{part}") for name in ("Seek", "NBytes", "Len")))[0], f"its {part}")
    page_lists = {group.page_list_link.locator.offset for group in ntuple.footer.cluster_group_records}
    pages: dict[int, Any] = {}

    def read_locator(locator: Any, size: int) -> tuple[Any, Any]:
        has_checksum = locator.offset in pages and pages[locator.offset].has_checksum
        content = unpacked(locator.offset, locator.num_bytes, size, _CHECKSUM_BYTES if has_checksum else 0)
        if locator.offset in page_lists:
            _verify(content[0], f"the page list at byte {locator.offset}")
        return content

    ntuple.read_locator = read_locator
    pages |= {
        page.locator.offset: page for cluster in ntuple.page_link_list for column in cluster for page in column.pages
    }
    return all(page.has_checksum for page in pages.values())


def codecs_verify(tree: Any, names: Collection[str]) -> bool:
    """True if unpacking these branches of a TTree detects damage.

    ZLIB (Adler-32), LZ4 (XXH64) and LZMA (CRC-32) have a checksum in ROOT's files; ZSTD has none, nor what is stored as
    it is.
    """
    # uproot writes 0 for the codec of a branch, and uses that of the file.
    codecs = [tree[name].compression or tree.file.compression for name in names]
    return all(isinstance(codec, uproot.ZLIB | uproot.LZ4 | uproot.LZMA) for codec in codecs)


def _verify(chunk: Any, what: str) -> None:
    """Raises ValueError if the last bytes are not the checksum of those before."""
    content = memoryview(chunk.raw_data).cast("B")
    expected = int.from_bytes(content[-_CHECKSUM_BYTES:], "little")
    if xxhash.xxh3_64_intdigest(content[:-_CHECKSUM_BYTES]) != expected:
        raise ValueError(f"the checksum of {what} does not match")


@dataclass(frozen=True)
class Lists:
    """One list of numbers per event: the list of event e is `values[offsets[e]:offsets[e + 1]]`.

    Attributes:
        values: [all numbers], in the precision of the file.
        offsets: [events + 1] int64, starting at 0.
    """

    values: NDArray[Any]
    offsets: IndexArray

    @property
    def counts(self) -> IndexArray:
        """Length of each event's list, [events] int64."""
        return np.diff(self.offsets)

    def events(self) -> IndexArray:
        """For each number the event it belongs to, counted in the chunk, [all numbers] int64."""
        return np.repeat(np.arange(len(self.offsets) - 1, dtype=np.int64), self.counts)


@dataclass(frozen=True)
class NestedLists:
    """A list of short lists per event, e.g. for each track the jets it belongs to.

    Attributes:
        outer: [events + 1] int64, where the inner lists of each event start.
        inner: content of each inner list.
    """

    outer: IndexArray
    inner: Lists


Column = NDArray[Any] | Lists | NestedLists
"""A branch: one number per event, one list per event, or one list of lists per event."""


def from_awkward(array: ak.Array) -> Column:
    """Splits an awkward array of at most two levels of lists.

    Raises:
        TypeError: the array is none of the three forms of `Column`.
        ValueError: lists start or end where no list can.
    """
    layout = array.layout
    if layout.purelist_parameter("__array__") is not None:
        raise TypeError(f"holds {layout.form.type}, where numbers are expected")
    if not layout.is_list:
        return _numbers(layout)
    outer, content = _list_of(layout)
    if not content.is_list:
        return Lists(_numbers(content), outer)
    inner, numbers = _list_of(content)
    return NestedLists(outer, Lists(_numbers(numbers), inner))


def _list_of(layout: Any) -> tuple[IndexArray, Any]:
    as_offsets = layout.to_ListOffsetArray64(True)
    offsets = np.asarray(as_offsets.offsets.data, dtype=np.int64)
    if (np.diff(offsets) < 0).any() or offsets[-1] > len(as_offsets.content):
        raise ValueError("its lists overlap or are longer than their content")
    return offsets, as_offsets.content[: int(offsets[-1])]


def _numbers(layout: Any) -> NDArray[Any]:
    if not (layout.is_numpy or layout.is_unknown) or layout.purelist_depth != 1:
        raise TypeError(f"holds {layout.form.type}, where numbers are expected")
    return np.asarray(layout.to_backend_array(allow_missing=False))


def as_doubles(values: NDArray[Any]) -> Doubles:
    """Numbers of the file in double precision."""
    return np.asarray(values, dtype=np.float64)


class Ntuple:
    """The tree `trees_DV_` of one open file (a TTree or an RNTuple; of several cycles the newest); made by `opened`.

    Attributes:
        file: name of the file, for messages.
        entries: number of events.
        branches: the names of its branches or fields, in order.
        typenames: their C++ types, by name.
    """

    def __init__(self, file: str, directory: Any, location: str | None = None) -> None:
        self.file = file
        self._location = location or file
        self._is_remote = is_remote(self._location)
        self._directory = directory
        names = self._reading("its list of objects", directory.keys, cycle=False)
        if TREE not in names:
            held = ", ".join(sorted(set(names))[:5]) or "nothing"
            raise InputFileError(file, f"has no tree {TREE}; it holds {held}")
        self._tree = self._reading(TREE, directory.__getitem__, TREE)
        ntuple = getattr(self._tree, "ntuple", None)
        self._all_verified = None if ntuple is None else self._reading(TREE, verify_when_read, ntuple)
        self.entries = int(self._reading(TREE, getattr, self._tree, "num_entries"))
        self.typenames: dict[str, str] = self._reading("its list of branches", self._tree.typenames, recursive=False)
        self.branches = tuple(self.typenames)
        self._clusters = [int(cluster.num_first_entry) for cluster in ntuple.cluster_summaries] if ntuple else []
        self._pages = _LastPages() if self._clusters else None

    def damage_is_noticed(self, names: Collection[str]) -> bool:
        """True if all stored data of these branches have checksums that are verified on reading."""
        if self._all_verified is not None:
            return self._all_verified
        return self._reading("its list of branches", codecs_verify, self._tree, names)

    def event_count(self) -> dict[str, float]:
        """The bins of `MetaData_EventCount` by label (by number if some have none); empty without it.

        Raises:
            InputFileError: it is no histogram, or damaged.
        """
        if EVENT_COUNT not in self._directory.keys(cycle=False):
            return {}
        histogram = self._reading(EVENT_COUNT, self._directory.__getitem__, EVENT_COUNT)
        return self._reading(EVENT_COUNT, _bins_by_label, histogram)

    def simulation(self) -> str | None:
        """Simulation of the events if the file names it, e.g. 'demo'; None for the experiment's own files."""
        if SIMULATION not in self._directory.keys(cycle=False):
            return None
        return str(self._reading(SIMULATION, self._directory.__getitem__, SIMULATION))

    def chunks(self, events: int, stop: int) -> Iterator[range]:
        """The entries from 0 to `stop` in pieces of at most `events`.

        uproot reads an RNTuple by whole clusters, so there a piece is as many clusters as fit, and at least one.
        """
        starts = [start for start in self._clusters if start < stop] or list(range(0, stop, events)) or [0]
        first = 0
        for start, following in zip(starts, [*starts[1:], stop], strict=True):
            too_long = following - first > events
            if too_long and start > first:
                yield range(first, start)
                first = start
        if first < stop:
            yield range(first, stop)

    def read(self, names: Sequence[str], entries: range) -> dict[str, Column]:
        """The named branches of some entries as flat arrays.

        Raises:
            InputFileError: the file is damaged, or a branch holds no numbers.
        """
        array = self._reading(
            f"entries {entries.start} to {entries.stop}",
            self._tree.arrays,
            filter_name=list(names),
            entry_start=entries.start,
            entry_stop=entries.stop,
            array_cache=self._pages,
        )
        # In a damaged file uproot may leave a branch out without a word.
        return {name: self._reading(f"branch {name}", lambda name=name: from_awkward(array[name])) for name in names}

    def forget_older_pages(self) -> None:
        """Releases data read before the last call; one call per chunk keeps memory bounded."""
        if self._pages is not None:
            self._pages.turn()

    def _reading(self, what: str, read: Callable[..., _Result], *arguments: Any, **options: Any) -> _Result:
        # A damaged file can make a parser fail in any way, so everything that uproot raises is the file's fault.
        try:
            if not self._is_remote:
                return read(*arguments, **options)
            return persistently(lambda: read(*arguments, **options), f"{self.file}: reading {what}")
        except MemoryError:
            raise
        except Exception as error:
            reason = self._truncated() or f"{what} cannot be read ({in_words(error)})"
            raise InputFileError(self.file, reason) from error

    def _truncated(self) -> str:
        """Sentence on a local file that is shorter than its header says, as an unfinished copy is; else empty."""
        if self._is_remote:
            return ""
        there, whole = Path(self._location).stat().st_size, self._directory.file.fEND
        return f"is truncated: it has {there} bytes, its header says {whole}; copy it again" if there < whole else ""


class _LastPages(dict[str, Any]):
    """Pages of the last chunk: uproot always reads one additional cluster, which belongs to the next chunk."""

    def __init__(self) -> None:
        super().__init__()
        self._older: dict[str, Any] = {}

    def turn(self) -> None:
        """A new chunk begins: keep what the last one used, forget the rest."""
        self._older = dict(self)
        self.clear()

    def get(self, key: str, default: Any = None) -> Any:
        """A page of this chunk or of the one before."""
        if key not in self and key in self._older:
            self[key] = self._older.pop(key)
        return super().get(key, default)


@contextmanager
def opened(file: str, cache_path: Path | None = None) -> Iterator[Ntuple]:
    """Opens a file, local or remote, and finds its tree.

    Args:
        file: name of the file.
        cache_path: folder with copies of remote files, which are read in their place; None streams them.

    Raises:
        InputFileError: no such file, no complete ROOT file, no tree `trees_DV_`, or the protocol needs a package that
            is not installed.
    """
    location = str(local_copy(file, cache_path)) if cache_path is not None and is_remote(file) else file

    try:
        # The dict form keeps uproot from taking a colon in the name for the name of an object in the file.
        directory = (
            persistently(lambda: uproot.open({location: None}, **opening_options(location)), f"{location}: opening")
            if is_remote(location)
            else uproot.open({location: None})
        )
    except FileNotFoundError as error:
        raise InputFileError(file, "no such file" + " (404 Not Found)" * is_remote(location)) from error
    except ImportError as error:
        hint = xrootd_hint(file, error) or in_words(error)
        raise InputFileError(file, f"cannot be opened, a package is missing: {hint}") from error
    except MemoryError:
        raise
    except Exception as error:
        is_empty = not is_remote(location) and Path(location).is_file() and Path(location).stat().st_size == 0
        reason = "is empty" if is_empty else f"cannot be opened as a ROOT file ({in_words(error)})"
        raise InputFileError(file, reason) from error
    with directory:
        yield Ntuple(file, directory, location)


def lists_of(file: str, columns: dict[str, Column], name: str) -> Lists:
    """A branch that must hold one list per event. Raises InputFileError if it does not."""
    column = columns[name]
    if not isinstance(column, Lists):
        found = "lists of lists" if isinstance(column, NestedLists) else "one number"
        raise InputFileError(file, f"branch {name} holds {found} an event, where a list of numbers is expected")
    return column


def same_lengths(file: str, columns: dict[str, Column], names: Sequence[str]) -> list[Lists]:
    """Branches that describe the same objects. Raises InputFileError if their lists differ in length."""
    lists = [lists_of(file, columns, name) for name in names]
    for name, each in zip(names, lists, strict=True):
        if len(each.values) != len(lists[0].values) or not (each.offsets == lists[0].offsets).all():
            raise InputFileError(file, f"branches {names[0]} and {name} hold lists of different lengths")
    return lists


def check_index(file: str, columns: dict[str, Column], name: str, of: str) -> None:
    """Checks that the jet indices `name` are whole numbers, one or a list for each object of branch `of`.

    Raises:
        InputFileError: they are not; constituents would go to jets that are not theirs.
    """
    index, objects = columns[name], lists_of(file, columns, of)
    if not isinstance(index, Lists | NestedLists):
        raise InputFileError(file, f"branch {name} holds one number per event, where a list is expected")
    offsets = index.outer if isinstance(index, NestedLists) else index.offsets
    if not np.array_equal(offsets, objects.offsets):
        raise InputFileError(file, f"branches {of} and {name} hold lists of different lengths")
    values = index.inner.values if isinstance(index, NestedLists) else index.values
    # Branches of empty lists alone may have any type.
    if len(values) and values.dtype.kind not in "iu":
        raise InputFileError(file, f"branch {name} holds {values.dtype}, where whole numbers are expected")


def _bins_by_label(histogram: Any) -> dict[str, float]:
    values, labels = histogram.values(), histogram.axis().labels() or []
    if len(labels) != len(values):
        labels = range(1, len(values) + 1)
    return {str(label): float(value) for label, value in zip(labels, values, strict=True)}
