"""Pickled frames of the earlier program: read without executing anything that a pickle asks for, and written."""

import math
import pickle
import re
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, NoReturn

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.errors import InputFileError, harmless
from cal_ratio_trainer.jets.ragged import FloatArray

_PROTOCOL_4 = b"\x80\x04"
_LENGTH_OF_BYTES = struct.Struct("<Q")
_NUMBERS = re.compile(r"[biuf][1248]")
_LABELS = (str, int, float, bool, type(None))
_BROKEN = (
    pickle.UnpicklingError,
    EOFError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    MemoryError,
    RecursionError,
    struct.error,
)


class ForbiddenPickle(InputFileError):
    """A pickle asked for something that is no part of a frame; names what it asked for. Nothing of it was run."""


def read_frame(path: Path) -> dict[str, NDArray[Any]]:
    """The columns of a pickled pandas frame by name, each [rows]; needs about as much memory as the file is large.

    Args:
        path: a file written by `DataFrame.to_pickle`, not compressed.

    Raises:
        ForbiddenPickle: the pickle asks for anything else than what a frame of numbers consists of.
        InputFileError: the file is truncated, is no pickle, or holds something else than a frame.
    """
    try:
        with path.open("rb") as file:
            content = _FrameUnpickler(file, path).load()
        if not isinstance(content, _Frame):
            raise InputFileError(path, f"holds a {_name_of(content)} where a pandas DataFrame was expected")
        return content.as_columns()
    except InputFileError:
        raise
    except OSError as error:
        raise InputFileError(path, f"cannot be read ({error})") from error
    except _BROKEN as error:
        # The error for a file that was cut has no message.
        why = str(error) or "it ends too early"
        raise InputFileError(path, f"is no complete pickle of a pandas DataFrame ({why:.200})") from error


# The unpickler in Python, not the one in C: it asks for every object by find_class, also for the codes of copyreg, and
# a damaged number in it claims no memory. A frame is a few thousand steps, whatever its size.
class _FrameUnpickler(pickle._Unpickler):
    def __init__(self, file: BinaryIO, path: Path) -> None:
        super().__init__(file, encoding="bytes")
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for an admitted name; exact names only, so 'a.b' never walks into a module."""
        admitted = _ADMITTED.get((module, name))
        if admitted is None:
            self._refuse(f"{module}.{name}")
        return admitted

    def get_extension(self, code: int) -> NoReturn:
        """Frames use no codes that stand for names."""
        self._refuse(f"the extension with code {code} of copyreg")

    def load_bytearray8(self) -> None:
        """Original opcode, except that a length beyond the end of the file allocates no memory."""
        length = int.from_bytes(self.read(8), "little")  # type: ignore[attr-defined]
        self.append(bytearray(self.read(length)))  # type: ignore[attr-defined]

    dispatch: ClassVar[dict[int, Any]] = {**pickle._Unpickler.dispatch, pickle.BYTEARRAY8[0]: load_bytearray8}

    def persistent_load(self, pid: Any) -> NoReturn:
        """Frames refer to nothing outside."""
        named = f" {pid!r:.80}" if isinstance(pid, str) else f" of type {_name_of(pid)}"
        self._refuse(f"the outside object{named}")

    def _refuse(self, wanted: str) -> NoReturn:
        newer = wanted.startswith(("pandas.", "pyarrow."))
        hint = " (a frame of pandas 3 with text in Arrow arrays can be given as Parquet file)" if newer else ""
        wanted = harmless(wanted[:100], kept="")
        raise ForbiddenPickle(
            self._path, f"is refused: it asks for {wanted}, which no frame of jets needs; nothing of it was run{hint}"
        )


class _Sealed(type):
    """A class that a pickle cannot change."""

    def __setattr__(cls, name: str, value: Any) -> None:
        raise AttributeError(f"{cls.__name__} cannot be changed")


class _Dtype(metaclass=_Sealed):
    """numpy.dtype of plain numbers or of objects; fields, subarrays and flags are refused."""

    __slots__ = ("kind", "order")

    def __init__(self, code: str, align: bool = False, copy: bool = False) -> None:
        self.kind = "O" if code in ("O8", "O") else _checked(code, str)
        self.order = "<"
        if self.kind != "O" and not _NUMBERS.fullmatch(self.kind):
            raise pickle.UnpicklingError(f"data type {self.kind:.40} is neither a number nor a label")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, order, subarray, names, fields, *_ = state
        if subarray is not None or names is not None or fields is not None or order not in ("<", ">", "|", "="):
            raise pickle.UnpicklingError("the state of a data type is not that of a plain number")
        self.order = order

    def array(self, content: Any, shape: tuple[int, ...], order: str) -> NDArray[Any]:
        if not isinstance(shape, tuple) or not all(type(length) is int and length >= 0 for length in shape):
            raise pickle.UnpicklingError("the shape of an array is no tuple of lengths")
        if self.kind == "O":
            return _labels(content, shape)
        dtype = np.dtype(self.kind).newbyteorder("=" if self.order == "|" else self.order)  # type: ignore[arg-type]
        if not isinstance(content, bytes | bytearray) or math.prod(shape) * dtype.itemsize != len(content):
            raise pickle.UnpicklingError(f"an array of shape {shape} does not fit its content")
        return np.frombuffer(content, dtype).reshape(shape, order="F" if order == "F" else "C")


def _labels(content: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    if not isinstance(content, list) or not all(type(item) in _LABELS for item in content):
        raise pickle.UnpicklingError("an array of objects holds something else than text and numbers")
    array = np.empty(len(content), dtype=object)
    array[:] = content
    return array.reshape(shape)


class _Array(metaclass=_Sealed):
    """numpy's _reconstruct(ndarray, (0,), b'b'), completed by its state."""

    __slots__ = ("values",)

    def __init__(self, kind: Any, shape: Any, code: Any) -> None:
        self.values: NDArray[Any] = np.empty(0)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, is_fortran, content = state
        self.values = _checked(dtype, _Dtype).array(content, shape, "F" if is_fortran else "C")


class _Buffer(_Array):
    """numpy's _frombuffer(buffer, dtype, shape, order)."""

    __slots__ = ()

    def __init__(self, content: Any, dtype: Any, shape: tuple[int, ...], order: str) -> None:
        self.values = _checked(dtype, _Dtype).array(content, shape, order)


class _Block(metaclass=_Sealed):
    """Columns of one data type: values [columns, rows] and the positions of the columns in the frame."""

    __slots__ = ("placement", "values")

    def __init__(self, values: Any, placement: Any, ndim: int = 2) -> None:
        self.values: NDArray[Any] = _checked(values, _Array).values
        self.placement = placement

    def positions(self, columns: int) -> NDArray[Any]:
        if isinstance(self.placement, slice):
            return np.arange(columns)[self.placement]
        positions: NDArray[Any] = _checked(self.placement, _Array).values
        return positions


class _BlockManager(metaclass=_Sealed):
    """Content of a frame: blocks, and the labels of columns and rows."""

    __slots__ = ("axes", "blocks")

    def __init__(self, blocks: Any = (), axes: Any = ()) -> None:
        self.blocks, self.axes = blocks, axes

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        # The form that pandas wrote before 1.3.
        content = state[3]["0.14.1"]
        self.axes = content["axes"]
        self.blocks = [_Block(block["values"], block["mgr_locs"]) for block in content["blocks"]]


class _Index(metaclass=_Sealed):
    """_new_Index(class, arguments), and the classes themselves, which are only named."""

    __slots__ = ("labels",)

    def __init__(self, kind: Any, arguments: Mapping[str, Any]) -> None:
        data = arguments.get("data")
        self.labels = data.values.tolist() if isinstance(data, _Array) else None


class _Frame(metaclass=_Sealed):
    """DataFrame."""

    __slots__ = ("manager",)

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.manager = _checked(state["_mgr"] if "_mgr" in state else state["_data"], _BlockManager)

    def as_columns(self) -> dict[str, NDArray[Any]]:
        """Column name -> values [rows], views of the blocks; a name that comes twice is an error."""
        names = _checked(self.manager.axes[0], _Index).labels
        if names is None or not all(isinstance(name, str) for name in names):
            raise pickle.UnpicklingError("its column names are no plain text")
        found: dict[str, NDArray[Any]] = {}
        for block in self.manager.blocks:
            values = _checked(_checked(block, _Block).values, np.ndarray)
            if values.ndim != 2:
                raise pickle.UnpicklingError(f"a block of columns and rows has {values.ndim} dimensions")
            for position, column in zip(block.positions(len(names)), values, strict=True):
                found[names[position]] = column
        lengths = {len(values) for values in found.values()}
        if len(found) != len(names) or len(lengths) > 1:
            raise pickle.UnpicklingError("its columns do not fit its column names, or a name comes twice")
        return {name: found[name] for name in names}


def _checked(value: Any, kind: type[Any]) -> Any:
    if not isinstance(value, kind):
        raise pickle.UnpicklingError(f"a {_name_of(value)} stands where a part of a frame should be")
    return value


def _name_of(value: Any) -> str:
    return type(value).__name__.removeprefix("_")


_ADMITTED: dict[tuple[str, str], Any] = {
    ("pandas._libs.internals", "_unpickle_block"): _Block,
    ("pandas.core.internals.managers", "BlockManager"): _BlockManager,
    ("pandas.core.indexes.base", "_new_Index"): _Index,
    ("pandas.core.indexes.range", "RangeIndex"): _Index,
    ("pandas.core.indexes.base", "Index"): _Index,
    ("pandas.core.indexes.numeric", "Int64Index"): _Index,
    ("pandas.core.frame", "DataFrame"): _Frame,
    ("pandas", "RangeIndex"): _Index,
    ("pandas", "Index"): _Index,
    ("pandas", "DataFrame"): _Frame,
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): _Array,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy.core.numeric", "_frombuffer"): _Buffer,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.numeric", "_frombuffer"): _Buffer,
    ("builtins", "slice"): slice,
}
"""Everything a pickled frame of numbers asks for, as pandas 1 to 3 and numpy 1 and 2 name it."""


class FramePickle:
    """The pickle of one frame: a float32 block that grows row by row, and the other columns at the end.

    The structure is DataFrame.__new__(), then its state {'_mgr': BlockManager(blocks, axes), ...}; each block is
    _unpickle_block(array, placement, 2); each array is _reconstruct(ndarray, (0,), b'b') and its state.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.rows = 0
        self._emit(_PROTOCOL_4, _global("pandas.core.frame", "DataFrame"), b")\x81", b"}(", _text("_mgr"))
        self._emit(_global("pandas.core.internals.managers", "BlockManager"), b"((")
        # The state of an array starts with version, shape, type and order, none of which is content but the shape;
        # its number of rows and the length of the content are filled in at the end.
        self._emit(_global("pandas._libs.internals", "_unpickle_block"), b"(", _NEW_ARRAY, b"(", _integer(1))
        self._columns_at = file.tell()
        self._emit(_integer(0), _integer(0), b"\x86", _dtype(np.dtype(np.float32)), b"\x88", b"\x8e")
        self._length_at = file.tell()
        self._emit(_LENGTH_OF_BYTES.pack(0))

    def append_rows(self, rows: FloatArray) -> None:
        """Appends rows [rows, columns] float32 to the block."""
        self._file.write(np.ascontiguousarray(rows, dtype="<f4").tobytes())
        self.rows += len(rows)

    def finish(self, names: Sequence[str], others: Mapping[str, NDArray[Any]], order: Sequence[str]) -> None:
        """Completes the pickle.

        Args:
            names: names of the columns of the block.
            others: further columns [rows] by name.
            order: all names in the order of the frame.
        """
        place = {name: position for position, name in enumerate(order)}
        self._emit(b"tb", _array(np.array([place[name] for name in names], dtype=np.int64)), _integer(2), b"tR")
        for name, values in others.items():
            self._emit(_global("pandas._libs.internals", "_unpickle_block"), b"(")
            self._emit(_array(values.reshape(1, -1)), _array(np.array([place[name]])), _integer(2), b"tR")
        self._emit(b"t](", _index(order), _range_index(self.rows), b"etR")
        self._emit(_text("_typ"), _text("dataframe"), _text("_metadata"), b"]", _text("attrs"), b"}")
        self._emit(_text("_flags"), b"}", _text("allows_duplicate_labels"), b"\x88s", b"ub.")
        self._file.seek(self._columns_at)
        self._emit(_integer(len(names)), _integer(self.rows))
        self._file.seek(self._length_at)
        self._emit(_LENGTH_OF_BYTES.pack(4 * len(names) * self.rows))
        self._file.seek(0, 2)

    def _emit(self, *parts: bytes) -> None:
        self._file.write(b"".join(parts))


def _text(text: str) -> bytes:
    encoded = text.encode()
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def _integer(number: int) -> bytes:
    # Always LONG1 of eight bytes, so that a number can be filled in later.
    return b"\x8a\x08" + struct.pack("<q", number)


def _global(module: str, name: str) -> bytes:
    return _text(module) + _text(name) + b"\x93"


def _dtype(dtype: np.dtype[Any]) -> bytes:
    code = dtype.str[1:]
    order = b"|" if dtype.itemsize == 1 or dtype.kind == "O" else b"<"
    flags = 63 if dtype.kind == "O" else 0
    state = [_integer(3), _text(order.decode()), b"NNN", _integer(-1), _integer(-1), _integer(flags)]
    return _global("numpy", "dtype") + _text(code) + b"\x89\x88\x87R(" + b"".join(state) + b"tb"


_NEW_ARRAY = (
    _global("numpy.core.multiarray", "_reconstruct") + _global("numpy", "ndarray") + _integer(0) + b"\x85C\x01b\x87R"
)


def _array(values: NDArray[Any]) -> bytes:
    shape = b"(" + b"".join(map(_integer, values.shape)) + b"t"
    little = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
    content = b"\x8e" + _LENGTH_OF_BYTES.pack(little.nbytes) + little.tobytes()
    return _NEW_ARRAY + b"(" + _integer(1) + shape + _dtype(little.dtype) + b"\x89" + content + b"tb"


def _index(names: Sequence[str]) -> bytes:
    labels = b"](" + b"".join(map(_text, names)) + b"e"
    shape = _integer(len(names)) + b"\x85"
    data = _NEW_ARRAY + b"(" + _integer(1) + shape + _dtype(np.dtype(object)) + b"\x89" + labels + b"tb"
    start = _global("pandas.core.indexes.base", "_new_Index") + _global("pandas.core.indexes.base", "Index")
    return start + b"}(" + _text("data") + data + _text("name") + b"Nu\x86R"


def _range_index(rows: int) -> bytes:
    start = _global("pandas.core.indexes.base", "_new_Index") + _global("pandas.core.indexes.range", "RangeIndex")
    numbers = _text("start") + _integer(0) + _text("stop") + _integer(rows) + _text("step") + _integer(1)
    return start + b"}(" + _text("name") + b"N" + numbers + b"u\x86R"
