"""Damage of a file is detected if its format has checksums; files without them are reported."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot

from cal_ratio_trainer.config.convert import ConvertSettings
from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.ntuple import ConversionSummary, Status, convert_files
from cal_ratio_trainer.ntuple.checksums import codecs_verify
from cal_ratio_trainer.ntuple.reading import opened
from tests.factories.ntuples import random_events, write_ntuple


def convert(folder: Path, *files: Path) -> ConversionSummary:
    """Converts files of multijet simulation."""
    names = [str(file) for file in files]
    return convert_files(ConvertSettings.make(input_files=names, data_type="qcd", output_path=folder / "jets"))


def flip(file: Path, byte: int) -> None:
    """Changes one bit of a file."""
    content = bytearray(file.read_bytes())
    content[byte] ^= 4
    file.write_bytes(content)


def test_a_bit_flipped_in_any_page_refuses_the_file_and_names_the_page(tmp_path: Path) -> None:
    file = write_ntuple(tmp_path / "a.root", random_events(1, 3), splits=(2,))
    content = file.read_bytes()
    with opened(str(file)) as ntuple:
        names = ["jet_pT", "jet_isClean_LooseBadLLP", "track_jetIndex"]
        model = ntuple._tree.ntuple
        pages = [page.locator for cluster in model.page_link_list for column in cluster for page in column.pages]
        wanted = {column for name in names for column in _columns_of(ntuple._tree[name])}
        pages = [
            page.locator
            for cluster in model.page_link_list
            for number, column in enumerate(cluster)
            for page in column.pages
            if number in wanted
        ]
    assert len(pages) > len(names)
    for page in pages:
        for byte in (page.offset, page.offset + page.num_bytes - 1, page.offset + page.num_bytes + 7):
            file.write_bytes(content)
            flip(file, byte)
            with opened(str(file)) as ntuple, pytest.raises(InputFileError) as caught:
                ntuple.read(names, range(3))
            assert f"the checksum of the page at byte {page.offset} does not match" in str(caught.value)


def _columns_of(field: Any) -> list[int]:
    return [record.idx for each in (field, *field.values()) for record in each._ntuple._column_records_dict[each._fid]]


@pytest.mark.parametrize("part", ["Header", "Footer", "page list"])
def test_a_damaged_description_is_named(tmp_path: Path, part: str) -> None:
    file = write_ntuple(tmp_path / "a.root", random_events(1, 3))
    with opened(str(file)) as ntuple:
        model = ntuple._tree.ntuple
        place = model.footer.cluster_group_records[0].page_list_link.locator.offset
        place = place if part == "page list" else model.member(f"fSeek{part}")
    flip(file, place + 20)
    summary = convert(tmp_path, file)
    assert [row.status for row in summary.rows] == [Status.FAILED]
    assert f"the checksum of {'its' if part != 'page list' else 'the'} {part}" in summary.rows[0].reason


def test_files_without_checksums_are_named_in_the_summary(tmp_path: Path) -> None:
    without = write_ntuple(tmp_path / "without.root", random_events(1, 3), checksums=False)
    summary = convert(tmp_path, write_ntuple(tmp_path / "with.root", random_events(1, 3)), without)
    assert [row.unverified for row in summary.rows] == [False, True]
    assert [note for note in summary.notes() if note.startswith("Damage to these files") and str(without) in note]
    assert "with.root" not in summary.notes()[-1].replace("without.root", "")


@pytest.mark.parametrize(
    ("codec", "verified"),
    [(uproot.ZLIB(1), True), (uproot.LZ4(1), True), (uproot.LZMA(1), True), (uproot.ZSTD(1), False), (None, False)],
)
def test_codecs_that_notice_damage_are_known(tmp_path: Path, codec: Any, verified: bool) -> None:
    values = np.random.default_rng(1).normal(size=2000).round(2)
    with uproot.recreate(tmp_path / "a.root", compression=codec) as file:
        file.mktree("tree", {"x": "float64"}).extend({"x": values})
    with uproot.open(tmp_path / "a.root") as file:
        branch = file["tree"]["x"]
        start, size = branch.member("fBasketSeek")[0], branch.member("fBasketBytes")[0]
        assert codecs_verify(file["tree"], ["x"]) == verified
    noticed = 0
    content = (tmp_path / "a.root").read_bytes()
    for byte in np.linspace(start + 100, start + size - 100, 20).astype(int):
        (tmp_path / "a.root").write_bytes(content)
        flip(tmp_path / "a.root", int(byte))
        try:
            with uproot.open(tmp_path / "a.root") as file:
                file["tree"]["x"].array()
        except Exception:
            noticed += 1
    assert (noticed == 20) == verified
