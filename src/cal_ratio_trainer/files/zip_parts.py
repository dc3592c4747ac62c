"""Parts of a zip file that nobody vouches for: found by their whole names, read into memory up to a limit each."""

import io
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

_MAX_PARTS = 1000
_PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Compression methods that Keras and numpy write; memory for unpacking others would depend on the file."""


class BadZip(ValueError):
    """A zip file without what is looked for, or with too much; says which part."""


class DamagedZip(BadZip):
    """Not a zip file, or a damaged one; the message describes the damage."""


def read_parts(source: Path | bytes, largest: Mapping[str, int]) -> dict[str, bytes]:
    """Reads some parts of a zip file without following paths inside it.

    Args:
        source: the file or its content.
        largest: names of the parts, and how many bytes each may have once it is unpacked.

    Raises:
        FileNotFoundError: there is no such file.
        BadZip: a part is missing, there twice, encrypted, too large or neither stored nor deflated, or there are over
            1000 parts.
        DamagedZip: it is none, or damaged.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(source) if isinstance(source, bytes) else source) as archive:
            if len(archive.infolist()) > _MAX_PARTS:
                raise BadZip(f"holds {len(archive.infolist())} parts, expected {len(largest)}")
            return {name: _part(archive, name, most) for name, most in largest.items()}
    except (BadZip, FileNotFoundError):
        raise
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, OSError, ValueError, RuntimeError) as error:
        # The library quotes as much of the file as it takes for a name.
        raise DamagedZip(f"{error!s:.200}") from error


def _part(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    found = [item for item in archive.infolist() if item.filename == name]
    if len(found) != 1:
        raise BadZip(f"holds {len(found)} parts named {name}, expected 1")
    if found[0].flag_bits & 1:
        raise BadZip(f"its part {name} is encrypted")
    if found[0].compress_type not in _PACKINGS:
        raise BadZip(f"its part {name} is packed by method {found[0].compress_type}; stored and deflated ones are read")
    if found[0].file_size > most:
        raise BadZip(f"its part {name} unpacks to {found[0].file_size} bytes; at most {most} are read")
    with archive.open(found[0]) as part:
        content = part.read(most + 1)
    if len(content) > most:
        raise BadZip(f"its part {name} unpacks to more than the {most} bytes that are read")
    return content
