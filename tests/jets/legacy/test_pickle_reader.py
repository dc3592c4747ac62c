"""Pickled frames are read; pickles with other content are refused before any of it runs."""

import copyreg
import io
import pickle
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.jets.legacy.pickles import ForbiddenPickle, read_frame

FRAME = pd.DataFrame({"a": np.arange(3.0), "b": np.arange(3), "c": np.array([1, 2, 3], dtype=np.float32)})


class Call:
    """Object whose pickle calls any function with any arguments."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


def text(word: str) -> bytes:
    """Opcode that pushes a short string."""
    return b"\x8c" + bytes([len(word)]) + word.encode()


def stack_global(module: str, name: str) -> bytes:
    """Opcodes that look up a name, with or without dots."""
    return text(module) + text(name) + b"\x93"


def write(folder: Path, content: bytes) -> Path:
    """A file with this content."""
    path = folder / "frame.pkl"
    path.write_bytes(content)
    return path


def plain(frame: pd.DataFrame) -> pd.DataFrame:
    """Frame with column names as the pandas of the earlier program stored them."""
    frame = frame.copy()
    frame.columns = pd.Index(list(frame.columns), dtype=object)
    return frame


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_a_frame_of_numbers_is_read_whatever_the_protocol(tmp_path: Path, protocol: int) -> None:
    path = write(tmp_path, pickle.dumps(plain(FRAME), protocol=protocol))
    frame = read_frame(path)
    assert {len(values) for values in frame.values()} == {3}
    assert list(frame) == ["a", "b", "c"]
    for name, values in frame.items():
        np.testing.assert_array_equal(values, FRAME[name])
        assert values.dtype == FRAME[name].dtype


def test_rows_with_labels_of_their_own_and_text_columns_are_read(tmp_path: Path) -> None:
    frame = plain(FRAME.set_index(pd.Index([7, 3, 5])))
    frame["sample"] = np.array(["x", "y", "z"], dtype=object)
    frame["sample"] = frame["sample"].astype(object)
    found = read_frame(write(tmp_path, pickle.dumps(frame)))
    assert found["sample"].tolist() == ["x", "y", "z"]
    assert found["a"].tolist() == [0, 1, 2]


def test_an_empty_frame_is_read(tmp_path: Path) -> None:
    assert read_frame(write(tmp_path, pickle.dumps(plain(FRAME[:0]))))["a"].tolist() == []


def ran(tmp_path: Path) -> Path:
    """File that an attack would leave."""
    return tmp_path / "ran"


ATTACKS: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "os.system": (lambda mark: pickle.dumps(Call(__import__("os").system, f"touch {mark}")), "posix.system"),
    "eval": (lambda mark: pickle.dumps(Call(eval, f"open({str(mark)!r}, 'w')")), "builtins.eval"),
    "getattr": (lambda mark: pickle.dumps(Call(getattr, "text", "format")), "builtins.getattr"),
    "subprocess": (
        lambda mark: pickle.dumps(Call(__import__("subprocess").Popen, ["touch", str(mark)])),
        "subprocess.Popen",
    ),
    "numpy.load": (lambda mark: pickle.dumps(Call(np.load, str(mark), None, True)), "numpy.load"),
    "pandas.read_pickle": (lambda mark: pickle.dumps(Call(pd.read_pickle, str(mark))), "read_pickle"),
    "protocol 0": (
        lambda mark: b"cposix\nsystem\n(Vtouch " + str(mark).encode() + b"\ntR.",
        "posix.system",
    ),
    "INST": (lambda mark: b"(Vtouch " + str(mark).encode() + b"\niposix\nsystem\n.", "posix.system"),
    "OBJ": (lambda mark: b"(cposix\nsystem\nVtouch " + str(mark).encode() + b"\no.", "posix.system"),
    "dots behind an admitted module": (
        lambda mark: b"\x80\x04" + stack_global("numpy", "f2py.os.system") + text(f"touch {mark}") + b"\x85R.",
        "numpy.f2py.os.system",
    ),
    "dots behind an admitted name": (
        lambda mark: b"\x80\x04" + stack_global("pandas", "DataFrame.eval.__globals__") + b".",
        "pandas.DataFrame.eval.__globals__",
    ),
    "another name of an admitted module": (
        lambda mark: b"\x80\x04" + stack_global("builtins", "exec") + text("1") + b"\x85R.",
        "builtins.exec",
    ),
    "a class called by NEWOBJ": (
        lambda mark: b"\x80\x04" + stack_global("pathlib", "Path") + b")\x81.",
        "pathlib.Path",
    ),
    "hidden in a frame": (
        lambda mark: pickle.dumps(
            plain(pd.DataFrame({"a": np.array([Call(__import__("os").system, f"touch {mark}")], dtype=object)}))
        ),
        "posix.system",
    ),
    "persistent id": (lambda mark: b"\x80\x04" + text("outside") + b"Q.", "outside object 'outside'"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_a_hostile_pickle_is_refused_by_what_it_asks_for(tmp_path: Path, name: str) -> None:
    make, asked_for = ATTACKS[name]
    path = write(tmp_path, make(ran(tmp_path)))
    with pytest.raises(ForbiddenPickle) as caught:
        read_frame(path)
    assert asked_for in str(caught.value)
    assert str(path) in str(caught.value)
    assert not ran(tmp_path).exists()


def test_a_code_of_copyreg_is_refused_even_if_another_pickle_made_it_known(tmp_path: Path) -> None:
    code = 0xC0
    copyreg.add_extension("posix", "system", code)
    try:
        content = b"\x80\x04\x82" + bytes([code]) + text(f"touch {ran(tmp_path)}") + b"\x85R."
        pickle.Unpickler(io.BytesIO(b"\x80\x04\x82" + bytes([code]) + b".")).load()  # noqa: S301
        with pytest.raises(ForbiddenPickle, match="extension with code 192 of copyreg"):
            read_frame(write(tmp_path, content))
    finally:
        copyreg.remove_extension("posix", "system", code)
    assert not ran(tmp_path).exists()


def _dtype(code: str, state: tuple[Any, ...] | None = None) -> bytes:
    """Opcodes of numpy.dtype(code), with a forged state."""
    made = stack_global("numpy", "dtype") + text(code) + b"\x89\x88\x87R"
    return made if state is None else made + pickle.dumps(state, 4)[2:-1] + b"b"


def _array_of(dtype: bytes, content: bytes, shape: bytes = b"K\x01\x85") -> bytes:
    """A pickle of one array made from a buffer."""
    return (
        b"\x80\x04"
        + stack_global("numpy.core.numeric", "_frombuffer")
        + b"("
        + (b"C" + bytes([len(content)]) + content)
        + dtype
        + shape
        + text("C")
        + b"tR."
    )


@pytest.mark.parametrize(
    ("dtype", "reason"),
    [
        (_dtype("O8"), "text and numbers"),
        (_dtype("V8"), "neither a number nor a label"),
        (_dtype("U8"), "neither a number nor a label"),
        (_dtype("i8", (3, "|", None, ("x",), {"x": ("O", 0)}, 8, 1, 0)), "not that of a plain number"),
        (_dtype("f8", (3, "<", ("O", (1,)), None, None, 8, 1, 0)), "not that of a plain number"),
    ],
)
def test_bytes_do_not_become_pointers_to_objects(tmp_path: Path, dtype: bytes, reason: str) -> None:
    with pytest.raises(InputFileError, match=reason):
        read_frame(write(tmp_path, _array_of(dtype, b"A" * 8)))


def test_an_array_larger_than_its_content_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="does not fit its content"):
        read_frame(write(tmp_path, _array_of(_dtype("f8"), b"A" * 8, b"K\x09\x85")))


@pytest.mark.parametrize("shape", [text("a") + text("b") + b"\x86", text("a") * 2 + b"J\xff\xff\xff\x7f\x87", b"]"])
def test_a_shape_that_is_no_tuple_of_lengths_is_refused(tmp_path: Path, shape: bytes) -> None:
    with pytest.raises(InputFileError, match="no tuple of lengths"):
        read_frame(write(tmp_path, _array_of(_dtype("f8"), b"A" * 8, shape)))


@pytest.mark.parametrize("opcode", [pickle.BYTEARRAY8, pickle.BINBYTES8, pickle.BINUNICODE8])
def test_a_length_beyond_the_end_of_the_file_takes_no_memory(tmp_path: Path, opcode: bytes) -> None:
    path = write(tmp_path, b"\x80\x05" + opcode + (1 << 40).to_bytes(8, "little") + b"short.")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputFileError, match=r"frame\.pkl: is no complete pickle"):
        read_frame(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 20


@pytest.mark.parametrize("target", [("pandas", "DataFrame"), ("numpy", "dtype"), ("builtins", "slice")])
def test_a_pickle_cannot_change_what_stands_for_an_admitted_name(tmp_path: Path, target: tuple[str, str]) -> None:
    state = pickle.dumps((None, {"__setstate__": 1, "as_columns": 2}), 4)[2:-1]
    with pytest.raises(InputFileError):
        read_frame(write(tmp_path, b"\x80\x04" + stack_global(*target) + state + b"b."))
    assert len(read_frame(write(tmp_path, pickle.dumps(plain(FRAME))))["a"]) == 3


@pytest.mark.parametrize("content", [{"a": 1}, [1, 2], "text", 5, None])
def test_a_pickle_of_something_else_says_what_it_holds(tmp_path: Path, content: object) -> None:
    with pytest.raises(InputFileError, match=f"holds a {type(content).__name__} where a pandas DataFrame"):
        read_frame(write(tmp_path, pickle.dumps(content)))


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.98])
def test_a_truncated_pickle_is_an_error_that_names_the_file(tmp_path: Path, share: float) -> None:
    content = pickle.dumps(plain(FRAME))
    path = write(tmp_path, content[: int(share * len(content))])
    with pytest.raises(InputFileError, match=r"frame\.pkl: is no complete pickle of a pandas DataFrame \(.+\)"):
        read_frame(path)


def test_no_damage_to_a_pickle_leads_to_anything_but_an_input_error(tmp_path: Path) -> None:
    content = bytearray(pickle.dumps(plain(FRAME)))
    random = np.random.default_rng(5)
    for _ in range(400):
        damaged = content.copy()
        for place in random.integers(0, len(content), 3):
            damaged[place] = random.integers(256)
        try:
            read_frame(write(tmp_path, bytes(damaged)))
        except InputFileError:
            continue


def test_a_frame_whose_columns_have_no_names_is_refused(tmp_path: Path) -> None:
    frame = pd.DataFrame(np.zeros((2, 2)))
    with pytest.raises(InputFileError, match="column names"):
        read_frame(write(tmp_path, pickle.dumps(frame)))


def _index(kind: str, labels: bytes = b"") -> bytes:
    """Opcodes of a pandas index."""
    module = "pandas.core.indexes.numeric" if kind == "Int64Index" else "pandas.core.indexes.base"
    return (
        stack_global("pandas.core.indexes.base", "_new_Index") + stack_global(module, kind) + b"}" + labels + b"\x86R"
    )


def _labels(*names: str) -> bytes:
    """Opcodes of {'data': array of names}, without the dict itself."""
    start = stack_global("numpy.core.multiarray", "_reconstruct") + stack_global("numpy", "ndarray")
    shape = b"K" + bytes([len(names)]) + b"\x85"
    content = b"](" + b"".join(map(text, names)) + b"e"
    state = b"(K\x01" + shape + _dtype("O8") + b"\x89" + content + b"t"
    return text("data") + start + b"K\x00\x85C\x01b\x87R" + state + b"bs"


def test_the_form_before_pandas_1_3_is_read(tmp_path: Path) -> None:
    values = _array_of(_dtype("f8"), np.arange(4.0).tobytes(), b"K\x02K\x02\x86")[2:-1]
    place = stack_global("builtins", "slice") + b"K\x00K\x02K\x01\x87R"
    block = b"}(" + text("values") + values + text("mgr_locs") + place + b"u"
    axes = text("axes") + b"](" + _index("Index", _labels("a", "b")) + _index("Int64Index") + b"e"
    state = b"}" + text("0.14.1") + b"}(" + axes + text("blocks") + b"](" + block + b"eus"
    manager = stack_global("pandas.core.internals.managers", "BlockManager") + b")\x81(NNN" + state + b"tb"
    frame = stack_global("pandas.core.frame", "DataFrame") + b")\x81}" + text("_data") + manager + b"sb."
    found = read_frame(write(tmp_path, b"\x80\x04" + frame))
    assert {name: column.tolist() for name, column in found.items()} == {"a": [0, 1], "b": [2, 3]}
