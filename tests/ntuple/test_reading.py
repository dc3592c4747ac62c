"""Opened files, their chunks, and their metadata."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cal_ratio_trainer.config.convert import ConvertSettings
from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.ntuple import ConversionSummary, Status, convert_files
from cal_ratio_trainer.ntuple.reading import Lists, NestedLists, _bins_by_label, check_index, codecs_verify, opened
from tests.factories.ntuples import event, random_events, write_ntuple

ONE = [event((100, 0.0, 0.0))]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(splits=st.sets(st.integers(1, 29), max_size=6), chunk=st.integers(1, 40), stop=st.integers(0, 30))
def test_chunks_cover_all_entries_once_by_whole_clusters(
    tmp_path: Path, splits: set[int], chunk: int, stop: int
) -> None:
    edges = sorted(splits)
    file = write_ntuple(tmp_path / "a.root", ONE * 30, splits=edges)
    with opened(str(file)) as ntuple:
        chunks = list(ntuple.chunks(chunk, stop))
    assert [entry for each in chunks for entry in each] == list(range(stop))
    assert all(each.start in {0, *edges} for each in chunks)
    largest_cluster = max(b - a for a, b in zip([0, *edges], [*edges, 30], strict=True))
    assert all(0 < len(each) <= max(chunk, largest_cluster) for each in chunks)


def test_real_chunks_of_a_ttree_are_as_long_as_asked(real: Path) -> None:
    with opened(str(real / "ntuples" / "bib.root")) as ntuple:
        assert list(ntuple.chunks(4, ntuple.entries)) == [range(0, 4), range(4, 8), range(8, 10)]


def test_pages_of_older_chunks_are_forgotten(tmp_path: Path) -> None:
    file = write_ntuple(tmp_path / "a.root", random_events(1, 12), splits=range(1, 12))
    with opened(str(file)) as ntuple:
        held = []
        for entries in ntuple.chunks(1, 12):
            ntuple.read(["jet_pT", "jet_eta"], entries)
            ntuple.forget_older_pages()
            pages = ntuple._pages
            assert pages is not None
            held.append(len(pages) + len(pages._older))
    # Two columns of offsets and numbers each, of this cluster and of the next.
    assert max(held) <= 8


def test_what_simulated_the_events_is_read(tmp_path: Path) -> None:
    with opened(str(write_ntuple(tmp_path / "a.root", ONE, simulation="demo"))) as ntuple:
        assert ntuple.simulation() == "demo"
        assert ntuple.event_count() == {}
    with opened(str(write_ntuple(tmp_path / "b.root", ONE))) as ntuple:
        assert ntuple.simulation() is None


def test_bins_without_labels_are_called_by_their_numbers(tmp_path: Path) -> None:
    import hist
    import uproot

    file = write_ntuple(tmp_path / "a.root", ONE)
    with uproot.update(file) as updated:
        updated["MetaData_EventCount"] = hist.Hist(hist.axis.Regular(2, 0, 2), data=np.array([7.0, 3.5]))
    with opened(str(file)) as ntuple:
        assert ntuple.event_count() == {"1": 7.0, "2": 3.5}


def test_an_event_count_that_is_no_histogram_is_the_fault_of_the_file(tmp_path: Path) -> None:
    import uproot

    file = write_ntuple(tmp_path / "a.root", ONE)
    with uproot.update(file) as updated:
        updated["MetaData_EventCount"] = "words"
    with opened(str(file)) as ntuple, pytest.raises(InputFileError, match="MetaData_EventCount cannot be read"):
        ntuple.event_count()


def test_bins_of_which_only_some_have_labels_are_called_by_their_numbers() -> None:
    class Histogram:
        def values(self) -> object:
            return np.array([7.0, 3.5])

        def axis(self) -> "Histogram":
            return self

        def labels(self) -> list[str]:
            return ["nEvents initial"]

    assert _bins_by_label(Histogram()) == {"1": 7.0, "2": 3.5}


def test_a_colon_in_a_folder_is_no_name_of_a_tree(tmp_path: Path) -> None:
    folder = tmp_path / "user:me"
    folder.mkdir()
    with opened(str(write_ntuple(folder / "a.root", ONE))) as ntuple:
        assert ntuple.entries == 1


def test_a_missing_protocol_package_is_named() -> None:
    with pytest.raises(InputFileError, match=r"xrootd|cannot be opened"), opened("root://nowhere.invalid//a.root"):
        pass


def lists(*lengths: int) -> Lists:
    return Lists(np.arange(sum(lengths)), np.concatenate([[0], np.cumsum(lengths)]))


@pytest.mark.parametrize("index", [lists(3, 5), lists(4, 5), NestedLists(lists(3, 5).offsets, lists(*[1] * 8))])
def test_jet_indices_of_other_objects_are_refused(index: Lists | NestedLists) -> None:
    with pytest.raises(InputFileError, match="clus_pt and cluster_jetIndex hold lists of different lengths"):
        check_index("a.root", {"clus_pt": lists(4, 4), "cluster_jetIndex": index}, "cluster_jetIndex", "clus_pt")


def test_a_jet_index_that_is_one_number_an_event_is_refused() -> None:
    with pytest.raises(InputFileError, match="cluster_jetIndex holds one number per event"):
        check_index("a.root", {"clus_pt": lists(4), "cluster_jetIndex": np.zeros(1)}, "cluster_jetIndex", "clus_pt")


def test_a_branch_of_words_is_refused_by_name(tmp_path: Path) -> None:
    file = write_ntuple(tmp_path / "a.root", [event((100, 0, 0), further={"campaign": "mc16a"})])
    with opened(str(file)) as ntuple, pytest.raises(InputFileError, match="branch campaign"):
        ntuple.read(["campaign"], range(1))


def test_a_jet_index_of_fractions_is_refused() -> None:
    index = Lists(np.array([0.0, np.nan]), lists(2).offsets)
    with pytest.raises(InputFileError, match="cluster_jetIndex holds float64, where whole numbers are expected"):
        check_index("a.root", {"clus_pt": lists(2), "cluster_jetIndex": index}, "cluster_jetIndex", "clus_pt")


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
