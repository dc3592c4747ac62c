"""The whole demo: exact counts, reproducibility, independence of the number of processes, refused settings."""

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
import yaml

from cal_ratio_trainer.building import build_training_file
from cal_ratio_trainer.config.build import BuildSettings
from cal_ratio_trainer.config.convert import ConvertSettings, DemoSettings
from cal_ratio_trainer.jets.labels import Label
from cal_ratio_trainer.jets.loading import read_jets
from cal_ratio_trainer.jets.store import read_metadata
from cal_ratio_trainer.ntuple import convert_files
from cal_ratio_trainer.simulation import DemoSummary, OutputNotEmpty, simulate
from cal_ratio_trainer.simulation.simulation import LostFiles, write_recipes

JETS, CONTROL_JETS = 400, 300


def tiny(output: Path, seed: int = 5, workers: int = 1, mismodelling: float = 1.0) -> DemoSummary:
    return simulate(
        DemoSettings.make(
            output_path=output, jets=40, control_jets=30, seed=seed, workers=workers, mismodelling=mismodelling
        )
    )


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> DemoSummary:
    """A tiny demo of seed 5, made by one process."""
    return tiny(tmp_path_factory.mktemp("one"))


def contents(summary: DemoSummary) -> dict[str, ak.Array]:
    return {file.path.name: uproot.open(file.path)["trees_DV_"].arrays() for file in summary.files}


def test_summary_counts_exactly_the_jets_that_were_asked_for(demo: DemoSummary) -> None:
    jets = Counter[tuple[str, str]]()
    for file in demo.files:
        jets[file.role, file.data_type.value] += file.jets
    assert jets == {
        ("main", "sig"): JETS,
        ("main", "qcd"): JETS,
        ("main", "bib"): JETS,
        ("control", "qcd"): CONTROL_JETS,
        ("control", "data"): CONTROL_JETS,
    }


def test_convert_and_build_in_the_folder_give_exactly_the_jets_that_were_asked_for(
    demo: DemoSummary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(demo.output_path)
    converted = convert_files(ConvertSettings.make(**yaml.safe_load(demo.convert_config.read_text("utf-8"))))
    assert not converted.failed
    for config, expected in (
        (demo.build_main_config, {Label.QCD: JETS, Label.SIGNAL: JETS, Label.BIB: JETS}),
        (demo.build_control_config, {Label.QCD: CONTROL_JETS, Label.BIB: CONTROL_JETS}),
    ):
        settings = BuildSettings.make(**yaml.safe_load(config.read_text("utf-8")))
        build_training_file(settings)
        jets = read_jets(settings.output_file)
        assert dict(zip(*np.unique(jets.label, return_counts=True), strict=True)) == expected
        assert read_metadata(settings.output_file).simulation == "demo"


def test_the_same_seed_gives_the_same_content_with_one_process_or_two(one: DemoSummary, tmp_path: Path) -> None:
    first, second = contents(one), contents(tiny(tmp_path / "two", workers=2))
    assert first.keys() == second.keys()
    for name, array in first.items():
        assert ak.array_equal(array, second[name]), name


def test_another_seed_gives_other_content_of_the_same_size(one: DemoSummary, tmp_path: Path) -> None:
    other = tiny(tmp_path, seed=6)
    assert [file.jets for file in one.files] == [file.jets for file in other.files]
    bib = [next(file.path for file in summary.files if file.sample == "bib") for summary in (one, other)]
    pts = [uproot.open(path)["trees_DV_"]["jet_pT"].array() for path in bib]
    assert not ak.array_equal(pts[0], pts[1])


def test_only_control_data_are_mismodelled_and_every_file_says_so(one: DemoSummary, tmp_path: Path) -> None:
    twice = tiny(tmp_path, mismodelling=2.0)
    first, second = contents(one), contents(twice)
    assert [name for name, array in first.items() if not ak.array_equal(array, second[name])] == [
        "control_data_0000.root"
    ]
    stated = {str(uproot.open(file.path)["cal_ratio_trainer_simulation"]) for file in twice.files}
    assert stated == {"demo (mismodelling 2)"}
    assert yaml.safe_load(twice.samples_table.read_text("utf-8"))["settings"]["mismodelling"] == 2.0


def test_a_sample_is_the_same_whatever_else_is_simulated(one: DemoSummary, tmp_path: Path) -> None:
    alone = simulate(DemoSettings.make(output_path=tmp_path, jets=1, control_jets=30, seed=5, workers=1))
    first, second = (
        uproot.open(next(file.path for file in summary.files if file.sample == "control_data"))["trees_DV_"].arrays()
        for summary in (alone, one)
    )
    assert ak.array_equal(first, second)


def test_a_folder_with_ntuples_is_refused_by_name(one: DemoSummary) -> None:
    with pytest.raises(OutputNotEmpty, match=r"already holds ntuples .*\.root"):
        tiny(one.output_path)


def test_files_that_are_removed_while_others_are_written_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def remove_and_write(output: Path, *given: Any) -> Any:
        shutil.rmtree(output)
        return write_recipes(output, *given)

    monkeypatch.setattr("cal_ratio_trainer.simulation.simulation.write_recipes", remove_and_write)
    with pytest.raises(LostFiles, match=r"files of the demo were removed .* while it was made, .*_0000\.root for one"):
        tiny(tmp_path / "demo")


def test_a_demo_of_one_jet_of_each_class_is_possible(tmp_path: Path) -> None:
    summary = simulate(DemoSettings.make(output_path=tmp_path, jets=1, control_jets=1, seed=1, workers=1))
    assert summary.jets == 5
    assert len(summary.files) == 5
