"""Features of a user: a YAML file adds a number of the jet and one of tracks, and no Python is written."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from cal_ratio_trainer.building import build_training_file
from cal_ratio_trainer.config.build import BuildSettings
from cal_ratio_trainer.config.convert import ConvertSettings
from cal_ratio_trainer.config.runs import ConvertTrainingSettings
from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.errors import ConfigError, InputFileError, MissingColumn
from cal_ratio_trainer.evaluation.variables import find_variable, values_of
from cal_ratio_trainer.formats.network_file import read_own_network
from cal_ratio_trainer.formats.registry import ALL, formats_named
from cal_ratio_trainer.jets.legacy.writer import FixedLayout
from cal_ratio_trainer.jets.loading import read_jets
from cal_ratio_trainer.jets.schema import ADDED_COLUMNS, CALRATIO_2019, MUON_SEGMENTS, extended_schema
from cal_ratio_trainer.jets.store import read_metadata, write_jets
from cal_ratio_trainer.ntuple import Status, convert_files
from cal_ratio_trainer.plotting.variables import axis_title
from cal_ratio_trainer.runs.network_export import export_training
from cal_ratio_trainer.scoring.score import score_files
from cal_ratio_trainer.training.start import Start
from cal_ratio_trainer.training.train import train
from tests.factories.jets import assert_same_jets
from tests.factories.ntuples import Event, cluster, event, segment, track, write_ntuple
from tests.scoring.small import score_settings, scores_in

OWN = """
jet:
  - {name: jet_width, unit: "1", title: Jet width}
constituents:
  tracks:
    features:
      - {name: dEdx, unit: MeV cm2 / g, branch: track_pixeldEdx, scaling: {subtract: 1, divide_by: 2}}
      - {name: PixelHits, network_input: true}
"""
SCHEMA = extended_schema("own.yaml", yaml.safe_load(OWN))


@dataclass(frozen=True)
class Chain:
    """Files of one chain from ntuples to a trained network."""

    folder: Path
    ntuple: Path
    converted: Path
    training_file: Path
    network: Path


def events(count: int) -> Iterator[Event]:
    random = np.random.default_rng(1)
    for number in range(count):
        jets = [(float(random.uniform(50, 400)), float(random.uniform(-2, 2)), float(random.uniform(-3, 3)))]
        eta, phi = jets[0][1:]
        tracks = [
            track(0, pt=float(random.uniform(1, 9)), eta=eta, phi=phi, dEdx=float(random.uniform(1, 5)))
            for _ in range(random.integers(0, 4))
        ]
        yield event(
            *jets,
            clusters=[cluster(0, pt=5000.0, eta=eta, phi=phi, l1ecal=3.0, l2ecal=1.0)],
            tracks=tracks,
            segments=[segment(0, etaPos=eta, phiPos=phi, t0=2.0)],
            llps=[(50.0, eta, phi, 3000.0 if abs(eta) < 1.4 else 0.0, 0.0 if abs(eta) < 1.4 else 4500.0)],
            trigger_jets=[(*jets[0], 1)],
            number=number,
            further={"jet_width": [float(random.uniform(0, 0.3))]},
        )


def convert(folder: Path, schema: Path | None, **given: Any) -> Path:
    ntuples = {kind: given.pop(kind) for kind in ("sig", "qcd", "bib") if kind in given}
    settings = ConvertSettings.make(
        input_files=[{"input_file": str(file), "data_type": kind} for kind, file in ntuples.items()],
        output_path=folder,
        llp_mH=125,
        llp_mS=25,
        schema_file=schema,
        **given,
    )
    summary = convert_files(settings)
    assert [row.status for row in summary.rows] == [Status.CONVERTED] * len(ntuples), summary.rows
    return folder


def build(output: Path, converted: Path, **changes: object) -> Path:
    build_training_file(
        BuildSettings.make(
            input_files=[str(file) for file in sorted(converted.glob("*.parquet"))],
            output_file=output,
            report=False,
            **changes,
        )
    )
    return output


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    folder = tmp_path_factory.mktemp("own")
    own = folder / "own.yaml"
    own.write_text(OWN)
    ntuples = {
        kind: write_ntuple(
            folder / f"{kind}.root", [replace(e, number=e.number + start) for e in events(60)], schema=SCHEMA
        )
        for kind, start in (("sig", 0), ("qcd", 1000), ("bib", 2000))
    }
    converted = convert(folder / "converted", own, **ntuples)
    training_file = build(folder / "main.parquet", converted)
    settings = TrainSettings.make(
        main_training_file=str(training_file),
        cr_training_file=None,
        adversary_weight=0,
        epochs=1,
        num_splits=2,
        sample_fraction=1,
        output_path=folder / "runs",
        model_name="own",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cal_ratio_trainer.training.run_plots.DrawingPool.submit", lambda *given, **more: None)
        train(Start(settings), say=lambda text: None, details=lambda figures: "")
    network = folder / "runs" / "own" / "00000" / "keras" / "final_model.keras"
    return Chain(folder, ntuples["qcd"], converted / "qcd.parquet", training_file, network)


def score(chain: Chain, file: Path, folder: str, **changes: object) -> np.ndarray:
    summary = score_files(score_settings(chain.folder / folder, [file], chain.network, **changes))
    assert not summary.failed, summary.failed[0].reason
    return scores_in(pq.read_table(chain.folder / folder / "scores" / f"{file.stem}.parquet"))


def test_features_of_the_schema_file_are_in_the_files_and_scaled(chain: Chain) -> None:
    converted, built = read_jets(chain.converted), read_jets(chain.training_file)
    assert read_metadata(chain.converted).feature_schema == built.schema == SCHEMA
    assert 0 < converted["jet_width"].min() < converted["jet_width"].max() < 0.3
    dedx = SCHEMA.kind("tracks").position("dEdx")
    assert 1 < converted.constituents["tracks"].values[:, dedx].min() < 5
    assert read_metadata(chain.training_file).units["track_dEdx"] == "2 MeV cm2 / g after 1 MeV cm2 / g were subtracted"


def test_the_network_reads_them_and_says_so(chain: Chain) -> None:
    stored = read_own_network(chain.network)
    shape, weights = stored.shape, stored.weights
    assert shape.schema == SCHEMA
    assert shape.jet_inputs == 4
    assert [branch.inputs for branch in shape.branches] == [12, 12, 6]
    assert weights["tracks.dense.0.kernel"].shape[0] == 12


def test_ntuples_converted_files_and_training_files_are_scored_alike(chain: Chain) -> None:
    of_ntuple = score(chain, chain.ntuple, "of_ntuple", data_type="qcd")
    of_converted = score(chain, chain.converted, "of_converted")
    np.testing.assert_allclose(of_ntuple, of_converted, rtol=0, atol=1e-6)
    changed = read_jets(chain.converted)
    changed = changed.with_columns({"jet_width": changed["jet_width"] + np.float32(3)})
    file = chain.folder / "changed.parquet"
    write_jets(file, changed, read_metadata(chain.converted))
    assert np.abs(score(chain, file, "of_changed") - of_converted).max() > 1e-4


def test_a_file_that_lacks_a_feature_is_refused_by_its_name(chain: Chain, tmp_path: Path) -> None:
    plain = convert(tmp_path / "plain", None, qcd=chain.ntuple) / "qcd.parquet"
    with pytest.raises(MissingColumn, match=r"lacks jet_width \(did you mean jet_pt\?\), track_dEdx"):
        score_files(score_settings(tmp_path, [plain], chain.network))
    (tmp_path / "mixed").mkdir()
    for number, file in enumerate((chain.converted, plain)):
        (tmp_path / "mixed" / f"{number}.parquet").symlink_to(file)
    with pytest.raises(MissingColumn, match=r"lacks jet_width .*, track_dEdx"):
        build(tmp_path / "mixed.parquet", tmp_path / "mixed")


def test_a_file_of_2019_is_read_by_its_own_schema_and_by_no_other(chain: Chain, tmp_path: Path) -> None:
    plain = convert(tmp_path / "plain", None, qcd=chain.ntuple) / "qcd.parquet"
    assert read_metadata(plain).feature_schema == CALRATIO_2019
    assert b"feature_schema" not in plain.read_bytes()
    ours = read_jets(chain.converted, schema=CALRATIO_2019)
    np.testing.assert_array_equal(ours.constituents["tracks"].values, read_jets(plain).constituents["tracks"].values)
    settings = ConvertSettings.make(
        input_files=[str(chain.ntuple)],
        data_type="qcd",
        output_path=plain.parent,
        schema_file=chain.folder / "own.yaml",
    )
    (row,) = convert_files(settings).rows
    assert "was converted with other options (another feature schema)" in row.reason


def test_an_ntuple_without_the_branch_is_refused_by_its_name(chain: Chain, tmp_path: Path) -> None:
    file = write_ntuple(tmp_path / "qcd.root", list(events(3)), without=["jet_width"])
    settings = ConvertSettings.make(
        input_files=[str(file)], data_type="qcd", output_path=tmp_path, schema_file=chain.folder / "own.yaml"
    )
    (row,) = convert_files(settings).rows
    assert row.reason == "lacks jet_width (did you mean jet_pT?), track_pixeldEdx (did you mean track_PixelShared?)"


def test_a_schema_file_is_a_file_and_never_a_packaged_configuration(chain: Chain) -> None:
    settings = ConvertSettings.make(input_files=[str(chain.ntuple)], data_type="qcd", schema_file="calratio2019")
    with pytest.raises(InputFileError, match=r"^calratio2019: no such file$"):
        convert_files(settings)


def test_pieces_of_a_file_hold_them_too(chain: Chain, tmp_path: Path) -> None:
    ntuple = write_ntuple(tmp_path / "qcd.root", list(events(60)), splits=range(10, 60, 10), schema=SCHEMA)
    for folder, options in (("whole", {"scheduler": "none"}), ("pieces", {"workers": 2})):
        pieces = {**options, "chunk_events": 10, "piece_events": 20}
        convert(tmp_path / folder, chain.folder / "own.yaml", qcd=ntuple, **pieces)
    whole, pieced = (read_jets(tmp_path / folder / "qcd.parquet") for folder in ("whole", "pieces"))
    assert pieced.schema == SCHEMA
    assert_same_jets(whole, pieced)


def test_the_flat_layout_says_that_it_cannot_hold_them(chain: Chain, tmp_path: Path) -> None:
    with pytest.raises(FixedLayout, match="features of 2019 only"):
        build(tmp_path / "flat.parquet", chain.converted.parent, layout="flat")
    settings = {"schema": str(chain.folder / "own.yaml"), "layout": "flat"}
    with pytest.raises(ValueError, match="schema_file needs the ragged layout"):
        ConvertSettings.make(**settings)


def test_plots_know_them_by_their_titles(chain: Chain) -> None:
    jets = read_jets(chain.converted)
    for name, title in (("jet_width", "Jet width"), ("track_dEdx_0", "Leading track dEdx [MeV cm2 / g]")):
        variable = find_variable([name], jets.scalars.column_names, jets.schema)
        assert variable is not None
        assert len(values_of(variable, jets).values)
        assert axis_title(variable, jets.schema.columns[variable.column].unit, None) == title


def test_every_format_holds_the_network_and_gives_its_scores(chain: Chain) -> None:
    settings = ConvertTrainingSettings.make(
        training=str(chain.network), output_json=chain.folder / "exported.json", format="all", with_preprocessing=True
    )
    written = export_training(settings)
    assert "jet_width, track_PixelHits, track_dEdx" in " ".join(written.notes)
    assert {file.format for file in written.exported.files} == {each.name for each in formats_named(ALL)}
    assert all(file.largest_difference < 1e-5 for file in written.exported.files)
    card = (chain.folder / "exported.card.md").read_text()
    assert "track_dEdx" in card
    assert "(track_dEdx - 1) / 2" in card


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("jets: []", "jets is unknown .did you mean jet"),
        ("jet: [{name: jet_width}]", "jet.jet_width.unit: field required"),
        ("jet: [{name: jet_pt, unit: MeV}]", "jet_pt should be feature 1 as in calratio2019"),
        ("jet: [{name: runNumber, unit: '1'}]", "several columns would be called runNumber"),
        (
            "jet: [{name: jet_id, unit: '1'}, {name: weight, unit: '1'}]",
            "several columns would be called jet_id, weight",
        ),
        ("constituents: {photons: {limit: 3}}", "constituents.photons is unknown; the kinds are clusters, tracks"),
        ("constituents: {tracks: {limit: 500}}", "constituents.tracks.limit: input should be less than or equal to"),
        (
            "constituents: {tracks: {features: [{name: a, unit: mm, scaling: {divide_by: 0}}]}}",
            "constituents.tracks.features.a.scaling: divide_by must not be 0",
        ),
        (
            "constituents: {tracks: {features: [{name: a, unit: mm, scaling: log}]}}",
            "a.scaling: should be pt_range, fraction, side or .subtract: a, divide_by: b., got 'log'",
        ),
        ("jet: [{name: a, unit: mm, 1: 2}]", "jet.a.1: keys should be strings"),
        ("constituents: {tracks: {1: 2}}", "constituents.tracks.1: keys should be strings"),
        (
            f"jet: [{', '.join(f'{{name: {name}, network_input: false}}' for name in CALRATIO_2019.jet_inputs)}]",
            "jet: network_input must be true for at least one feature",
        ),
        (
            "constituents: {muon_segments: {features: "
            f"[{', '.join(f'{{name: {each.name}, network_input: false}}' for each in MUON_SEGMENTS.features)}]}}}}",
            "constituents.muon_segments: network_input must be true for at least one feature",
        ),
    ],
)
def test_mistakes_of_a_schema_file_name_the_place(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        extended_schema("own.yaml", yaml.safe_load(text))


def test_columns_that_the_program_adds_are_no_features(chain: Chain) -> None:
    converted = set(read_jets(chain.converted).scalars.column_names)
    run = chain.network.parent.parent
    added = [set(read_jets(path).scalars.column_names) - converted for path in run.glob("*test_sample.parquet")]
    assert added
    assert all(names <= ADDED_COLUMNS for names in added)
