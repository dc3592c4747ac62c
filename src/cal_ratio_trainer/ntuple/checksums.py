"""Checksums of the content of a tree: those of RNTuples, which uproot leaves unread, and what codecs of TTrees check.

The format is that of ROOT's RNTuple Binary Format Specification 1.0: an envelope ends with the XXH3 of what is before
it, and the XXH3 of a page as stored stands after it where the page list says so. ROOT writes that too, uproot does not.
"""

from collections.abc import Collection
from typing import Any

import uproot
import xxhash
from uproot.source.cursor import Cursor

_CHECKSUM_BYTES = 8


def verify_when_read(ntuple: Any) -> bool:
    """Verifies the description of an RNTuple opened by uproot, and the checksum of each page when it is read.

    Returns:
        True where all pages have a checksum.

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
        # Before uproot reads it, for numbers of a damaged one could ask for any amount of memory.
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
