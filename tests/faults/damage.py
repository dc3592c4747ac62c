"""Damaged copies of good files, reproducible by the seed."""

import io
import re
import zipfile

import numpy as np

Generator = np.random.Generator

_NUMBERS = (0, 1, 0x7F, 0xFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF)
_WORDS = ("null", "true", "-1", "0", "1e999", "9" * 30, "NaN", '""', "[]", "{}", '"\\ud800"', "[[[[", "text")
_TOKEN = re.compile(rb"[A-Za-z0-9_.+-]+|\"[^\"]*\"")


def damaged_bytes(content: bytes, generator: Generator) -> bytes:
    """A copy with one bit flipped, a few bytes overwritten, a part cut out, doubled or zeroed, or its end missing."""
    if not content:
        return b"\0"
    start = int(generator.integers(len(content)))
    length = int(generator.integers(1, 65))
    changed = bytearray(content)
    match generator.choice(["bit", "bit", "bit", "byte", "number", "zeros", "cut", "double", "end"]):
        case "bit":
            changed[start] ^= 1 << int(generator.integers(8))
        case "byte":
            changed[start] = int(generator.integers(256))
        case "number":
            width = int(generator.choice([1, 2, 4, 8]))
            number = _NUMBERS[int(generator.integers(len(_NUMBERS)))] & (256**width - 1)
            changed[start : start + width] = number.to_bytes(width, "little")
        case "zeros":
            changed[start : start + length] = bytes(len(changed[start : start + length]))
        case "cut":
            del changed[start : start + length]
        case "double":
            changed[start:start] = changed[start : start + length]
        case "end":
            del changed[start:]
    return bytes(changed)


def damaged_text(content: bytes, generator: Generator) -> bytes:
    """Copy of JSON or YAML with one unusual word, or with damaged bytes."""
    tokens = list(_TOKEN.finditer(content))
    if not tokens or generator.random() < 0.3:
        return damaged_bytes(content, generator)
    token = tokens[int(generator.integers(len(tokens)))]
    word = _WORDS[int(generator.integers(len(_WORDS)))].encode()
    return content[: token.start()] + word + content[token.end() :]


def damaged_zip(content: bytes, generator: Generator) -> bytes:
    """A copy damaged inside one member, packed again with the right checksum; sometimes the zip itself is damaged."""
    if generator.random() < 0.1:
        return damaged_bytes(content, generator)
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        members = {info.filename: file.read(info) for info in file.infolist()}
    name = sorted(members)[int(generator.integers(len(members)))]
    is_text = name.endswith((".json", ".yaml", ".txt"))
    members[name] = (damaged_text if is_text else damaged_bytes)(members[name], generator)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        for member, inside in members.items():
            file.writestr(member, inside)
    return packed.getvalue()
