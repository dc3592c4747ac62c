"""Many files: converted, shared, skipped and refused ones, and files that remain after errors."""

import importlib
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cal_ratio_trainer.config.convert import ConvertSettings
from cal_ratio_trainer.errors import ConfigError, SameOutput
from cal_ratio_trainer.files.atomic import UnusableOutput
from cal_ratio_trainer.files.leases import leased
from cal_ratio_trainer.jets.loading import read_jets
from cal_ratio_trainer.jets.store import read_metadata
from cal_ratio_trainer.ntuple import ConversionRow, ConversionSummary, Status, convert_files
from cal_ratio_trainer.ntuple.file_conversion import convert_whole
from cal_ratio_trainer.ntuple.request import ConversionRequest
from cal_ratio_trainer.ntuple.summary import failed_in
from cal_ratio_trainer.workers.executor import Report
from cal_ratio_trainer.workers.files import Pieces
from tests.factories.ntuples import event, random_events, write_ntuple

convert_module = importlib.import_module("cal_ratio_trainer.ntuple.convert")

TWO_JETS = [event((100, 0.0, 0.0), number=1), event((90, 0.0, 0.0), number=2)]

PRINT_STATUSES = """
import json, sys
from cal_ratio_trainer.config.convert import ConvertSettings
from cal_ratio_trainer.ntuple import convert_files
files, folder = sys.argv[1:-1], sys.argv[-1]
settings = ConvertSettings.make(input_files=files, data_type="qcd", output_path=folder, chunk_events=1)
print(json.dumps([[row.file, row.status] for row in convert_files(settings).rows]))
"""

STOP_HALF_WAY = """
import sys, time
from cal_ratio_trainer.config.convert import ConvertSettings
from cal_ratio_trainer.jets.store import JetsWriter
from cal_ratio_trainer.ntuple import convert_files
whole = JetsWriter.write
def half(writer, jets):
    whole(writer, jets)
    print("half", flush=True)
    time.sleep(600)
JetsWriter.write = half
convert_files(ConvertSettings.make(input_files=[sys.argv[1]], data_type="qcd", output_path=sys.argv[2]))
"""


def convert(folder: Path, *files: Path | str, data_type: str | None = "qcd", **settings: Any) -> ConversionSummary:
    """Converts files with the default settings except the given ones."""
    given = {"input_files": [str(file) for file in files], "data_type": data_type, "output_path": folder / "jets"}
    return convert_files(ConvertSettings.make(**(given | settings)))


def statuses(summary: ConversionSummary) -> list[Status]:
    """Status of each file."""
    return [row.status for row in summary.rows]


def names_in(folder: Path) -> list[str]:
    """All files in a folder, including hidden ones."""
    return sorted(path.name for path in folder.iterdir())


def kill_process(report: Report, request: ConversionRequest, may_be_cut: bool) -> ConversionRow | Pieces:
    """Kills the process at one file, as if memory were exhausted."""
    if "bad" in request.file:
        os._exit(9)
    return convert_whole(report, request, may_be_cut)


def fail_unpicklably(report: Report, request: ConversionRequest, may_be_cut: bool) -> ConversionRow | Pieces:
    """Conversion with an unexpected error that cannot be pickled."""
    if "bad" in request.file:
        error = RuntimeError("no such thing")
        error.add_note("a note")
        error.held = threading.Lock()  # type: ignore[attr-defined]
        raise error
    return convert_whole(report, request, may_be_cut)


def damaged(tmp_path: Path) -> dict[str, Path]:
    """Files that cannot be converted, by a word of the expected reason."""
    good = write_ntuple(tmp_path / "whole.root", random_events(1, 40))
    empty = tmp_path / "empty.root"
    empty.touch()
    truncated = tmp_path / "truncated.root"
    truncated.write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    text = tmp_path / "text.root"
    text.write_text("this is not ROOT")
    no_tree = tmp_path / "no_tree.root"
    import uproot

    with uproot.recreate(no_tree) as file:
        file["something_else"] = "no tree"
    return {
        "is truncated: it has": truncated,
        "is empty": empty,
        "cannot be opened": text,
        "no tree trees_DV_; it holds something_else": no_tree,
        "lacks clus_l2hcal": write_ntuple(tmp_path / "lacking.root", TWO_JETS, without=["clus_l2hcal"]),
        "data_type data": write_ntuple(tmp_path / "data.root", TWO_JETS, without=["mcEventWeight"]),
        "no such file": tmp_path / "nowhere.root",
        "is not a file": tmp_path,
    }


def test_bad_files_are_named_with_their_reason_and_the_others_converted(tmp_path: Path) -> None:
    bad = damaged(tmp_path)
    good = write_ntuple(tmp_path / "good.root", TWO_JETS)
    summary = convert(tmp_path, *bad.values(), good)
    assert statuses(summary) == [Status.FAILED] * len(bad) + [Status.CONVERTED]
    assert len(summary.failed) == len(bad)
    for row, reason in zip(summary.rows, bad, strict=False):
        assert reason in row.reason
    assert names_in(tmp_path / "jets") == ["failed_files.txt", "good.parquet"]


def test_a_damaged_page_in_the_middle_of_a_file_is_its_own_fault(tmp_path: Path) -> None:
    file = write_ntuple(tmp_path / "a.root", random_events(1, 40))
    content = bytearray(file.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2000] = bytes(2000)
    file.write_bytes(content)
    summary = convert(tmp_path, file)
    assert statuses(summary) == [Status.FAILED]
    assert "cannot be read" in summary.rows[0].reason
    assert names_in(tmp_path / "jets") == ["failed_files.txt"]


def test_an_empty_tree_is_reported_and_keeps_its_normalisation(tmp_path: Path) -> None:
    file = write_ntuple(tmp_path / "a.root", [], event_count={"nEvents initial": 100.0, "sumOfWeights initial": 0.5})
    summary = convert(tmp_path, file)
    assert statuses(summary) == [Status.EMPTY]
    assert summary.failed == ()
    metadata = read_metadata(tmp_path / "jets" / "a.parquet")
    assert metadata.rows == 0
    assert metadata.normalisation is not None
    assert metadata.normalisation.event_count == {"nEvents initial": 100.0, "sumOfWeights initial": 0.5}


def test_a_file_without_a_jet_that_passes_becomes_one_without_rows(tmp_path: Path) -> None:
    summary = convert(tmp_path, write_ntuple(tmp_path / "a.root", [event((10, 0, 0))]))
    assert statuses(summary) == [Status.NO_JETS]
    assert len(read_jets(tmp_path / "jets" / "a.parquet")) == 0
    assert read_metadata(tmp_path / "jets" / "a.parquet").cutflow[0].events == 1


def test_the_metadata_say_what_was_done_to_what(tmp_path: Path) -> None:
    file = write_ntuple(tmp_path / "a.root", TWO_JETS, event_count={"nEvents initial": 9.0}, simulation="demo")
    convert(tmp_path, file, min_jet_pt=95)
    metadata = read_metadata(tmp_path / "jets" / "a.parquet")
    assert (metadata.stage, metadata.data_type, metadata.simulation) == ("converted", "qcd", "demo")
    assert metadata.options["min_jet_pt"] == 95
    assert metadata.inputs[0].path == str(file)
    assert metadata.inputs[0].size_bytes == file.stat().st_size
    assert metadata.inputs[0].sha256 is not None
    assert metadata.units["clus_pt"] == "MeV"
    assert metadata.rows == 1
    assert [step.jets for step in metadata.cutflow] == [2, 1, 1, 1]


def test_what_is_done_is_passed_over_until_it_is_to_be_overwritten(tmp_path: Path) -> None:
    file = write_ntuple(tmp_path / "a.root", TWO_JETS)
    first = convert(tmp_path, file)
    written = (tmp_path / "jets" / "a.parquet").stat().st_mtime_ns
    second = convert(tmp_path, file)
    assert statuses(second) == [Status.ALREADY_DONE]
    assert (second.rows[0].events, second.rows[0].jets) == (first.rows[0].events, first.rows[0].jets) == (2, 2)
    assert (tmp_path / "jets" / "a.parquet").stat().st_mtime_ns == written
    assert statuses(convert(tmp_path, file, overwrite=True)) == [Status.CONVERTED]
    assert (tmp_path / "jets" / "a.parquet").stat().st_mtime_ns != written


@pytest.mark.parametrize(
    ("name", "then", "now"),
    [
        ("min_jet_pt", 40.0, 50.0),
        ("max_jet_pt", 500.0, 400.0),
        ("max_events", None, 1),
        ("data_type", "qcd", "data"),
        ("keep_branches", [], ["pileupWeight"]),
    ],
)
def test_other_options_are_an_error_that_names_them(tmp_path: Path, name: str, then: Any, now: Any) -> None:
    file = write_ntuple(tmp_path / "a.root", [event((100, 0, 0), further={"pileupWeight": 1.0})])
    convert(tmp_path, file, **{name: then})
    summary = convert(tmp_path, file, **{name: now})
    assert statuses(summary) == [Status.FAILED]
    assert f"({name} {then} then, {now} now)" in summary.rows[0].reason
    assert "--overwrite" in summary.rows[0].reason
    assert statuses(convert(tmp_path, file, overwrite=True, **{name: now})) == [Status.CONVERTED]


def test_the_size_of_the_chunks_is_no_other_option(tmp_path: Path) -> None:
    file = write_ntuple(tmp_path / "a.root", TWO_JETS)
    convert(tmp_path, file)
    assert statuses(convert(tmp_path, file, chunk_events=1, workers=2)) == [Status.ALREADY_DONE]


def test_a_changed_input_is_an_error_and_a_moved_one_is_done(tmp_path: Path) -> None:
    file = write_ntuple(tmp_path / "a.root", TWO_JETS)
    convert(tmp_path, file)
    (tmp_path / "moved").mkdir()
    moved = file.rename(tmp_path / "moved" / "a.root")
    assert statuses(convert(tmp_path, moved)) == [Status.ALREADY_DONE]
    write_ntuple(moved, random_events(1, 10))
    summary = convert(tmp_path, moved)
    assert statuses(summary) == [Status.FAILED]
    assert "was made from" in summary.rows[0].reason


def test_a_foreign_file_in_the_way_is_not_replaced_unasked(tmp_path: Path) -> None:
    file = write_ntuple(tmp_path / "a.root", TWO_JETS)
    (tmp_path / "jets").mkdir()
    (tmp_path / "jets" / "a.parquet").write_text("mine")
    summary = convert(tmp_path, file)
    assert statuses(summary) == [Status.FAILED]
    assert "in the way" in summary.rows[0].reason
    assert (tmp_path / "jets" / "a.parquet").read_text() == "mine"


def test_an_overwriting_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    file = write_ntuple(tmp_path / "a.root", TWO_JETS)
    for layout in ("ragged", "flat"):
        folder = tmp_path / layout
        convert(folder, file, layout=layout)
        before = {name: (folder / "jets" / name).read_bytes() for name in names_in(folder / "jets")}
        summary = convert(folder, file, layout=layout, data_type="bib", keep_branches=[], max_hlt_delta_r=1)
        assert summary.failed
        assert {name: (folder / "jets" / name).read_bytes() for name in names_in(folder / "jets")} == before


def test_only_the_first_events_are_read_on_request(tmp_path: Path) -> None:
    file = write_ntuple(tmp_path / "a.root", random_events(3, 30), splits=(7, 20))
    whole = convert(tmp_path / "whole", file)
    part = convert(tmp_path / "part", file, max_events=9, chunk_events=4)
    assert (whole.rows[0].events, part.rows[0].events) == (30, 9)
    jets = read_jets(tmp_path / "part" / "jets" / "a.parquet")
    expected = read_jets(tmp_path / "whole" / "jets" / "a.parquet")
    assert jets["source_entry"].tolist() == [entry for entry in expected["source_entry"].tolist() if entry < 9]
    metadata = read_metadata(tmp_path / "part" / "jets" / "a.parquet")
    assert any("first 9 of 30" in note for note in metadata.notes)


def test_several_processes_give_what_one_gives(tmp_path: Path) -> None:
    files = [write_ntuple(tmp_path / f"{number}.root", random_events(number, 20)) for number in range(4)]
    bad = tmp_path / "bad.root"
    bad.write_text("no ROOT")
    one = convert(tmp_path / "one", *files, bad)
    two = convert(tmp_path / "two", *files, bad, workers=2)
    assert statuses(two) == statuses(one) == [Status.CONVERTED] * 4 + [Status.FAILED]
    assert [(row.file, row.events, row.jets) for row in two.rows] == [
        (row.file, row.events, row.jets) for row in one.rows
    ]
    for row, other in zip(one.rows[:4], two.rows[:4], strict=True):
        assert row.output is not None
        assert other.output is not None
        assert read_jets(row.output).scalars.equals(read_jets(other.output).scalars)


def test_two_processes_share_a_list_without_doing_a_file_twice(tmp_path: Path) -> None:
    splits = tuple(range(1, 15))
    files = [write_ntuple(tmp_path / f"{i}.root", random_events(i, 15), splits=splits) for i in range(4)]
    words = [sys.executable, "-c", PRINT_STATUSES, *map(str, files), str(tmp_path / "jets")]
    running = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    rows = [row for process in running for row in json.loads(process.communicate(timeout=120)[0])]
    done = Counter(file for file, status in rows if status == Status.CONVERTED)
    assert done == dict.fromkeys(map(str, files), 1)
    others = {status for _, status in rows if status != Status.CONVERTED}
    assert others <= {Status.ALREADY_DONE, Status.ELSEWHERE}
    assert names_in(tmp_path / "jets") == [f"{number}.parquet" for number in range(4)]


def test_a_file_that_another_process_converts_is_left_to_it(tmp_path: Path) -> None:
    file = write_ntuple(tmp_path / "a.root", TWO_JETS)
    with leased(tmp_path / "jets" / "a.parquet") as lease:
        assert lease is not None
        summary = convert(tmp_path, file)
    assert statuses(summary) == [Status.ELSEWHERE]
    assert summary.failed == ()
    assert statuses(convert(tmp_path, file)) == [Status.CONVERTED]


def test_a_file_that_another_process_has_done_meanwhile_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_ntuple(tmp_path / "a.root", TWO_JETS)
    convert(tmp_path, file)
    # As if the other process releases its lease after this one has skipped the file.
    monkeypatch.setattr("cal_ratio_trainer.files.leases.Lease.take", lambda lease: False)
    assert statuses(convert(tmp_path, file)) == [Status.ALREADY_DONE]


def test_a_killed_conversion_leaves_no_output_and_is_done_again(tmp_path: Path) -> None:
    file = write_ntuple(tmp_path / "a.root", TWO_JETS, splits=(1,))
    folder = tmp_path / "jets"
    process = subprocess.Popen(
        [sys.executable, "-c", STOP_HALF_WAY, str(file), str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "half\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    remains = [name for name in names_in(folder) if ".part." in name]
    assert len(remains) == 1
    assert not (folder / "a.parquet").exists()
    assert statuses(convert(tmp_path, file)) == [Status.CONVERTED]
    assert names_in(folder) == ["a.parquet"]


def test_what_a_killed_command_left_is_removed_though_its_file_is_not_converted_again(tmp_path: Path) -> None:
    files = [write_ntuple(tmp_path / f"{name}.root", TWO_JETS) for name in ("done", "busy")]
    folder = tmp_path / "jets"
    convert(tmp_path, *files, layout="flat")
    left = [
        *(".done.12-89abcdef.part.parquet", ".done.parquet.metadata.12-89abcdef.part.json"),
        *(".done.parquet.0123456789abcdef.piece", "..done.parquet.0123456789abcdef.12-89abcdef.part.piece"),
    ]
    others = [".other.12-89abcdef.part.parquet", ".busy.12-89abcdef.part.parquet"]
    for name in (*left, *others):
        (folder / name).write_text("half")
    with leased(folder / "busy.parquet"):
        convert(tmp_path, *files, layout="flat")
    remaining = names_in(folder)
    assert [name for name in left if name in remaining] == []
    assert [name for name in others if name in remaining] == others


def test_a_file_at_which_every_worker_dies_fails_with_a_word_and_the_others_are_converted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [write_ntuple(tmp_path / f"{name}.root", TWO_JETS) for name in ("a", "bad", "b")]
    steps = replace(convert_module._STEPS, whole=kill_process)
    monkeypatch.setattr(convert_module, "_STEPS", steps)
    summary = convert(tmp_path, *files, workers=2)
    assert statuses(summary) == [Status.CONVERTED, Status.FAILED, Status.CONVERTED]
    assert "worker process died" in summary.rows[1].reason
    assert names_in(tmp_path / "jets") == ["a.parquet", "b.parquet", "failed_files.txt"]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_that_nobody_thought_of_is_a_row_and_the_log_says_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, workers: int
) -> None:
    files = [write_ntuple(tmp_path / f"{name}.root", TWO_JETS) for name in ("a", "bad", "b")]
    monkeypatch.setattr(convert_module, "_STEPS", replace(convert_module._STEPS, whole=fail_unpicklably))
    with caplog.at_level(logging.INFO):
        summary = convert(tmp_path, *files, workers=workers)
    assert statuses(summary) == [Status.CONVERTED, Status.FAILED, Status.CONVERTED]
    assert summary.rows[1].reason == "an error that no check foresaw (RuntimeError: no such thing); -v shows where"
    assert list(failed_in(tmp_path / "jets")) == [str(files[1])]
    assert "in fail_unpicklably" in caplog.text


def test_an_error_of_the_output_ends_the_command(tmp_path: Path) -> None:
    file = write_ntuple(tmp_path / "a.root", TWO_JETS)
    (tmp_path / "jets").write_text("in the way")
    with pytest.raises(UnusableOutput, match=r"output_path: .*jets is no folder"):
        convert(tmp_path, file)


def test_files_of_any_name_are_converted_or_listed_so_that_the_list_finds_them(tmp_path: Path) -> None:
    good = write_ntuple(tmp_path / "good.root", TWO_JETS)
    for name in ("with\nnew line.root", "\x1b[31mred.root", " space .root", "x" * 240 + ".root"):
        shutil.copy(good, tmp_path / name)
    listed = {os.fsdecode(b"not\xffutf8.root"), "x" * 250 + ".root", "lost\n\x1b.root", "# .root"}
    for name in listed - {"lost\n\x1b.root", "# .root"}:
        shutil.copy(good, tmp_path / name)
    summary = convert(tmp_path, *(tmp_path / name for name in listed), tmp_path / "*.root")
    assert {Path(row.file).name for row in summary.failed} == listed
    assert {Path(name).name for name in failed_in(tmp_path / "jets")} == listed
    again = convert(tmp_path, f"@{tmp_path / 'jets' / 'failed_files.txt'}")
    assert {row.file for row in again.failed} == {row.file for row in summary.failed}
    (tmp_path / "jets" / "failed_files.txt").read_text("utf-8")


def test_two_files_with_one_output_are_refused_before_anything_is_done(tmp_path: Path) -> None:
    first = write_ntuple(tmp_path / "a.root", TWO_JETS)
    (tmp_path / "other").mkdir()
    second = write_ntuple(tmp_path / "other" / "a.root", TWO_JETS)
    third = write_ntuple(tmp_path / "b.root", TWO_JETS)
    with pytest.raises(SameOutput) as caught:
        convert(tmp_path, third, first, second)
    assert str(first) in str(caught.value)
    assert str(second) in str(caught.value)
    assert not (tmp_path / "jets").exists()


def test_a_file_that_two_patterns_name_is_done_once(tmp_path: Path) -> None:
    write_ntuple(tmp_path / "a.root", TWO_JETS)
    write_ntuple(tmp_path / "b.root", TWO_JETS)
    summary = convert(tmp_path, tmp_path / "*.root", tmp_path / "a*", tmp_path / "a.root")
    assert [Path(row.file).name for row in summary.rows] == ["a.root", "b.root"]


def test_a_pattern_without_a_match_fails_and_the_rest_goes_on(tmp_path: Path) -> None:
    summary = convert(tmp_path, tmp_path / "*.none", write_ntuple(tmp_path / "a.root", TWO_JETS))
    assert statuses(summary) == [Status.CONVERTED, Status.FAILED]
    assert "matches no file" in summary.rows[1].reason


def test_entries_of_the_list_have_folders_types_and_masses_of_their_own(tmp_path: Path) -> None:
    decay = (50.0, 0.0, 0.0, 2000.0, 0.0)
    file = write_ntuple(tmp_path / "a.root", [event((100, 0.0, 0.0), llps=[decay])])
    summary = convert_files(
        ConvertSettings.make(
            input_files=[
                {"input_file": str(file), "output_dir": "signal", "data_type": "sig", "mH": 600, "llp_mS": 150},
                str(file),
            ],
            data_type="qcd",
            output_path=tmp_path / "jets",
        )
    )
    assert statuses(summary) == [Status.CONVERTED] * 2
    signal_jets = read_jets(tmp_path / "jets" / "signal" / "a.parquet")
    assert (signal_jets["llp_mH"].tolist(), signal_jets["llp_mS"].tolist()) == ([600.0], [150.0])
    qcd = read_jets(tmp_path / "jets" / "a.parquet")
    assert (qcd.label.tolist(), qcd["llp_mH"].tolist()) == ([0], [0.0])
    assert sorted(summary.cutflows()) == ["qcd", "sig"]


def test_what_is_missing_from_the_settings_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        convert_files(
            ConvertSettings.make(input_files=["a.root", {"input_file": "b.root", "data_type": "sig", "mH": 125}])
        )
    assert len(caught.value.mistakes) == 2
    assert "a.root: its data_type must be given" in str(caught.value)
    assert "b.root: signal needs llp_mS" in str(caught.value)
    with pytest.raises(ConfigError, match="no files are given"):
        convert(tmp_path)


@pytest.mark.parametrize("flat_format", ["parquet", "pkl"])
def test_the_flat_layout_is_written_and_known_to_be_done(tmp_path: Path, flat_format: str) -> None:
    from cal_ratio_trainer.jets.loading import open_jets, read_jets

    file = write_ntuple(tmp_path / "a.root", random_events(5, 20))
    convert(tmp_path / "ragged", file)
    summary = convert(tmp_path / "flat", file, layout="flat", flat_format=flat_format)
    assert statuses(summary) == [Status.CONVERTED]
    flat = tmp_path / "flat" / "jets" / f"a.{flat_format}"
    assert summary.outputs == (flat,)
    expected = read_jets(tmp_path / "ragged" / "jets" / "a.parquet")
    loaded = open_jets(flat)
    assert loaded.load()["jet_pt"].tolist() == expected["jet_pt"].tolist()
    assert loaded.load().constituents["tracks"].values.tolist() == expected.constituents["tracks"].values.tolist()
    assert statuses(convert(tmp_path / "flat", file, layout="flat", flat_format=flat_format)) == [Status.ALREADY_DONE]
    other = convert(tmp_path / "flat", file, layout="flat", flat_format=flat_format, max_jet_pt=400)
    assert statuses(other) == [Status.FAILED]


def test_oddities_are_summed_over_the_files(tmp_path: Path) -> None:
    without_clusters = [event((100, 0.0, 0.0), (90, 0.0, 0.0), clusters=[])]
    files = [write_ntuple(tmp_path / f"{number}.root", without_clusters) for number in range(2)]
    summary = convert(tmp_path, *files)
    assert statuses(summary) == [Status.NO_JETS] * 2
    assert summary.notes() == ["4 jets were left out because they have no clusters."]
    assert "2 jets were left out" in read_metadata(tmp_path / "jets" / "0.parquet").notes[0]


def test_seconds_are_those_of_the_file(tmp_path: Path) -> None:
    start = time.monotonic()
    summary = convert(tmp_path, write_ntuple(tmp_path / "a.root", TWO_JETS))
    assert 0 < summary.rows[0].seconds <= time.monotonic() - start


def test_an_absolute_output_dir_below_output_path_is_taken(tmp_path: Path) -> None:
    file = write_ntuple(tmp_path / "a.root", TWO_JETS)
    given = [{"input_file": str(file), "output_dir": tmp_path / "jets" / "qcd"}]
    summary = convert_files(ConvertSettings.make(input_files=given, data_type="qcd", output_path=tmp_path / "jets"))
    assert [row.output for row in summary.rows] == [tmp_path / "jets" / "qcd" / "a.parquet"]


@pytest.mark.parametrize("folder", ["../..", "../elsewhere", "below/../../elsewhere", "/tmp", "~"])
def test_a_sample_whose_output_dir_leads_out_of_output_path_is_named_and_nothing_is_written(
    tmp_path: Path, folder: str
) -> None:
    given = [{"input_file": f"{name}.root", "output_dir": each} for name, each in (("in", "below/a"), ("out", folder))]
    settings = ConvertSettings.make(input_files=given, data_type="qcd", output_path=tmp_path / "deep" / "results")
    with pytest.raises(ConfigError) as caught:
        convert_files(settings)
    (mistake,) = caught.value.mistakes
    assert mistake.startswith("out.root: its output_dir should be a folder below output_path")
    assert not list(tmp_path.iterdir())
