"""Writes the pickle of a pandas frame row by row, without pandas.

The names that it uses are those of pandas 1.3 to 2 and numpy 1, so that the earlier program's environment reads it;
newer ones do too. Written by hand because pickling through today's libraries would name modules that those lack.
"""

import struct
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.jets.ragged import FloatArray

_PROTOCOL_4 = b"\x80\x04"
_LENGTH_OF_BYTES = struct.Struct("<Q")


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
        """Complete the pickle.

        Args:
            names: of the columns of the block.
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
        self._fill_in(len(names))

    def _fill_in(self, columns: int) -> None:
        self._file.seek(self._columns_at)
        self._emit(_integer(columns), _integer(self.rows))
        self._file.seek(self._length_at)
        self._emit(_LENGTH_OF_BYTES.pack(4 * columns * self.rows))
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
