"""Untrusted zip files: parts that are read, and files that are refused."""

import io
import zipfile

import pytest

from cal_ratio_trainer.formats.keras_reading import BadKerasFile, read_parts


def zipped(parts: list[tuple[str, bytes]]) -> bytes:
    """A zip file of some parts."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts:
            archive.writestr(name, content)
    return buffer.getvalue()


def test_the_parts_asked_for_are_read() -> None:
    content = zipped([("one", b"1"), ("two", b"22"), ("three", b"333")])
    assert read_parts(content, {"two": 2, "one": 9}) == {"two": b"22", "one": b"1"}


def test_a_part_is_found_by_its_whole_name_and_once() -> None:
    with pytest.raises(BadKerasFile, match="holds 0 parts named one, expected 1"):
        read_parts(zipped([("../one", b""), ("folder/one", b"")]), {"one": 9})
    with pytest.warns(UserWarning, match="Duplicate name"):
        twice = zipped([("one", b"1"), ("one", b"2")])
    with pytest.raises(BadKerasFile, match="holds 2 parts named one, expected 1"):
        read_parts(twice, {"one": 9})


def test_a_part_that_says_how_large_it_is_is_not_unpacked_and_one_that_lies_not_to_its_end() -> None:
    content = zipped([("one", b" " * (1 << 18))])
    with pytest.raises(BadKerasFile, match="one unpacks to 262144 bytes; at most 1000 are read"):
        read_parts(content, {"one": 1000})
    lies = content.replace((1 << 18).to_bytes(4, "little"), (100).to_bytes(4, "little"))
    with pytest.raises(BadKerasFile, match="Bad CRC"):
        read_parts(lies, {"one": 1000})


def test_encrypted_parts_too_many_parts_and_other_files_are_refused() -> None:
    content = zipped([("one", b"1")])
    place = content.index(b"PK\x01\x02") + 8
    with pytest.raises(BadKerasFile, match="its part one is encrypted"):
        read_parts(content[:place] + b"\x01" + content[place + 1 :], {"one": 9})
    with pytest.raises(BadKerasFile, match="holds 1001 parts, expected 1"):
        read_parts(zipped([(f"{i}", b"") for i in range(1001)]), {"1": 9})
    for other in (b"", b"hello", content[:30]):
        with pytest.raises(BadKerasFile):
            read_parts(other, {"one": 9})


def test_a_name_that_runs_on_into_the_content_makes_no_endless_sentence() -> None:
    content = bytearray(zipped([("one", b"x" * 30_000)]))
    content[26:28] = (20_000).to_bytes(2, "little")  # how long the name of the part is, in its own header
    with pytest.raises(BadKerasFile, match="File name in directory 'one' and header") as caught:
        read_parts(bytes(content), {"one": 30_000})
    assert len(str(caught.value)) <= 250
