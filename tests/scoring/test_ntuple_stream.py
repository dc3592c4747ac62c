"""Ntuples are scored directly: the scores equal those after convert and build, and scores in the file are kept."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from cal_ratio_trainer.config.build import BuildSettings
from cal_ratio_trainer.config.convert import ConvertSettings
from cal_ratio_trainer.datasets.splits import event_words
from cal_ratio_trainer.errors import InputFileError, MissingColumn
from cal_ratio_trainer.jets.loading import read_jets
from cal_ratio_trainer.ntuple import convert_files
from cal_ratio_trainer.scoring.score import score_files
from cal_ratio_trainer.scoring.streams import official_score_branches
from tests.factories.ntuples import random_events, write_ntuple
from tests.scoring.small import score_settings, scores_in

OFFICIAL = "jet_nn_calRatio_main_sig_lowMass_v3Adv"


@pytest.fixture(scope="module")
def ntuple(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Events with all features, and one official score per jet: its pt."""
    events = [
        replace(event, further={**event.further, OFFICIAL: [jet[0] for jet in event.jets]})
        for event in random_events(3, 120)
    ]
    return write_ntuple(tmp_path_factory.mktemp("ntuple") / "tiny.root", events, splits=(40, 80), simulation="demo")


@pytest.mark.parametrize("data_type", ["qcd", "sig", "bib"])
def test_an_ntuple_is_scored_as_if_it_had_been_converted_and_built(
    data_type: str, ntuple: Path, network: Path, tmp_path: Path
) -> None:
    from cal_ratio_trainer.building import build_training_file

    given = {"data_type": data_type, "llp_mH": 125, "llp_mS": 55}
    score_files(score_settings(tmp_path, [ntuple], network, **given, chunk_events=40))
    table = pq.read_table(tmp_path / "scores" / "tiny.parquet")
    convert_files(ConvertSettings.make(input_files=[str(ntuple)], output_path=tmp_path / "converted", **given))
    converted = tmp_path / "converted" / "tiny.parquet"
    built = tmp_path / "built.parquet"
    build_training_file(BuildSettings.make(input_files=[str(converted)], output_file=built, shuffle=False))
    score_files(score_settings(tmp_path, [built], network))
    expected = pq.read_table(tmp_path / "scores" / "built.parquet")
    assert len(table) == len(expected) > 20
    np.testing.assert_allclose(scores_in(table), scores_in(expected), rtol=0, atol=1e-6)
    for name in ("runNumber", "eventNumber", "mcChannelNumber", "jet_index", "source_entry", "label", "mcEventWeight"):
        assert table.column(name).to_pylist() == expected.column(name).to_pylist(), name
    np.testing.assert_allclose(table.column("jet_pt").to_numpy(), read_jets(converted)["jet_pt"])


def test_events_have_the_same_words_in_ntuple_converted_file_and_training_file(
    ntuple: Path, network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cal_ratio_trainer.building import build_training_file
    from cal_ratio_trainer.jets import Jets
    from cal_ratio_trainer.scoring.scorer import Scorer

    met: list[np.ndarray] = []
    score = Scorer.scores_and_spread

    def watched(self: Scorer, jets: Jets, labelled: bool = True) -> tuple[np.ndarray, np.ndarray | None]:
        met.append(event_words(jets)[0])
        return score(self, jets, labelled)

    monkeypatch.setattr(Scorer, "scores_and_spread", watched)
    score_files(score_settings(tmp_path, [ntuple], network))
    convert_files(ConvertSettings.make(input_files=[str(ntuple)], output_path=tmp_path, data_type="qcd"))
    build_training_file(
        BuildSettings.make(
            input_files=[str(tmp_path / "tiny.parquet")], output_file=tmp_path / "built.parquet", shuffle=False
        )
    )
    words = np.concatenate(met)
    np.testing.assert_array_equal(words, event_words(read_jets(tmp_path / "tiny.parquet"))[0])
    np.testing.assert_array_equal(words, event_words(read_jets(tmp_path / "built.parquet"))[0])


def test_official_scores_and_further_branches_go_along_jet_by_jet(ntuple: Path, network: Path, tmp_path: Path) -> None:
    score_files(score_settings(tmp_path, [ntuple], network, keep_columns=["perEvent", "perJet"]))
    table = pq.read_table(tmp_path / "scores" / "tiny.parquet")
    np.testing.assert_allclose(table.column(OFFICIAL).to_numpy(), table.column("jet_pt").to_numpy(), rtol=1e-6)
    assert {"perEvent", "perJet"} <= set(table.column_names)
    with pytest.raises(MissingColumn, match="perJit"):
        score_files(score_settings(tmp_path, [ntuple], network, keep_columns=["perJit"]))


def test_without_a_type_every_jet_is_kept_and_nothing_is_claimed_of_it(
    ntuple: Path, network: Path, tmp_path: Path
) -> None:
    (scored,) = score_files(score_settings(tmp_path, [ntuple], network)).files
    table = pq.read_table(tmp_path / "scores" / "tiny.parquet")
    for name in ("label", "llp_mH", "llp_Lxy"):
        assert table.column(name).null_count == len(table) > 100
    assert scored.tally is not None
    assert scored.tally.fair_main_jets() is None
    assert {group.name for group in scored.tally.shares.counts} == {"jets"}
    assert any("no data_type was given" in note for note in scored.notes)
    assert scored.simulation == "demo"


def test_data_need_no_weights(network: Path, tmp_path: Path) -> None:
    file = write_ntuple(tmp_path / "data.root", random_events(5, 60), without=["mcEventWeight", "mcChannelNumber"])
    score_files(score_settings(tmp_path, [file], network, data_type="data"))
    table = pq.read_table(tmp_path / "scores" / "data.parquet")
    assert set(table.column("label").to_pylist()) == {2}
    assert set(table.column("mcEventWeight").to_pylist()) == {1.0}
    assert table.column("mcChannelNumber").null_count == len(table)
    with pytest.raises(InputFileError, match="mcEventWeight"):
        score_files(score_settings(tmp_path, [file], network, data_type="qcd"))


def test_signal_without_masses_has_none(ntuple: Path, network: Path, tmp_path: Path) -> None:
    score_files(score_settings(tmp_path, [ntuple], network, data_type="sig"))
    table = pq.read_table(tmp_path / "scores" / "tiny.parquet")
    assert table.column("llp_mH").null_count == len(table) > 0
    assert table.column("llp_Lxy").null_count == 0


def test_an_ntuple_without_events_or_without_kept_jets_gives_no_rows(network: Path, tmp_path: Path) -> None:
    none = write_ntuple(tmp_path / "none.root", random_events(1, 3))
    (scored,) = score_files(score_settings(tmp_path, [none], network, min_jet_pt=900, max_jet_pt=1000)).files
    assert scored.jets == 0
    assert len(pq.read_table(tmp_path / "scores" / "none.parquet")) == 0


def test_rankings_and_whole_events_are_no_scores() -> None:
    types = {
        OFFICIAL: "std::vector<double>",
        f"{OFFICIAL}_index": "std::vector<uint32_t>",
        "jet_nn_count": "int32_t",
        "nn_jet_index": "std::vector<int32_t>",
        "jet_nn_single": "std::vector<float>",
    }
    assert official_score_branches(types) == [OFFICIAL, "jet_nn_single"]
