"""Reweighting and limits of weights in a build, and its report."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cal_ratio_trainer.building import build_training_file
from cal_ratio_trainer.config.build import BuildSettings
from cal_ratio_trainer.errors import ConfigError, InputFileError
from cal_ratio_trainer.jets import DataType, Jets
from cal_ratio_trainer.jets.loading import read_jets
from cal_ratio_trainer.jets.metadata import CutflowStep, Cuts, JetMetadata, Normalisation
from cal_ratio_trainer.jets.store import read_metadata, write_jets
from cal_ratio_trainer.reporting.build_report import write_build_report
from tests.building.jet_files import settings_for
from tests.factories.jets import converted_jets

CHANNEL = 364701
SAMPLES = {CHANNEL: {"cross_section_pb": 50.0}}


def write(folder: Path, data_type: DataType, jets: Jets, **metadata: Any) -> Path:
    """A converted file of these jets."""
    path = folder / f"{data_type}.parquet"
    sums = Normalisation(
        event_count={"sumOfWeights initial": 10.0},
        events_read=len(jets),
        channel_numbers=[CHANNEL] if data_type.is_simulation else [],
        run_numbers=[284500],
    )
    flow = [CutflowStep(step="read", events=900, jets=2000, sum_of_weights=9.0)]
    write_jets(
        path, jets, JetMetadata(stage="converted", data_type=data_type, normalisation=sums, cutflow=flow, **metadata)
    )
    return path


@pytest.fixture
def control(tmp_path: Path) -> list[Path]:
    """Simulation and data whose spectra in pt and pile-up differ."""
    random = np.random.default_rng(5)
    pt, mu = 40 + 450 * random.uniform(size=1500) ** 2, random.normal(33, 5, 1500)
    data = converted_jets(1500, DataType.DATA, jet_pt=pt.astype(np.float32), mu=mu, mcEventWeight=np.ones(1500))
    simulation = converted_jets(4000, mu=random.normal(26, 8, 4000), seed=1)
    return [write(tmp_path, DataType.QCD, simulation), write(tmp_path, DataType.DATA, data)]


def of_label(jets: Jets, label: int) -> Jets:
    """The jets of one label."""
    return jets.where(jets.label == label)


def test_simulation_is_distributed_as_data_and_sums_to_it(tmp_path: Path, control: list[Path]) -> None:
    settings = settings_for(tmp_path / "out.parquet", *control, kind="control", reweight_mc=["jet_pt", "mu"])
    summary = build_training_file(settings)
    jets = read_jets(tmp_path / "out.parquet")
    simulation, data = of_label(jets, 0), of_label(jets, 2)
    assert set(data["mcEventWeight"]) == {1.0}
    assert simulation["mcEventWeight"].sum() == pytest.approx(1500)
    for low, high in ((0.08, 0.2), (0.2, 0.5), (0.5, 1.0)):
        found = simulation["mcEventWeight"][(simulation["jet_pt"] >= low) & (simulation["jet_pt"] < high)].sum()
        wanted = int(np.count_nonzero((data["jet_pt"] >= low) & (data["jet_pt"] < high)))
        assert found == pytest.approx(wanted, rel=0.08)
    assert "its 4000 jets have an effective sample size of" in summary.as_text()


def test_every_class_becomes_flat_and_keeps_its_sum(tmp_path: Path, control: list[Path]) -> None:
    before = {kind: read_jets(path)["mcEventWeight"].sum() for kind, path in zip((0, 2), control, strict=True)}
    build_training_file(settings_for(tmp_path / "out.parquet", *control, kind="control", flatten=["jet_pt"]))
    jets = read_jets(tmp_path / "out.parquet")
    for label, total in before.items():
        own = of_label(jets, label)
        assert own["mcEventWeight"].sum() == pytest.approx(total)
        sums = np.histogram(own["jet_pt"], np.linspace(0.09, 0.97, 6), weights=own["mcEventWeight"])[0]
        np.testing.assert_allclose(sums / sums.mean(), 1, atol=0.15)


def test_weights_stay_with_their_jets_through_the_shuffle(tmp_path: Path, control: list[Path]) -> None:
    options = {"kind": "control", "flatten": ["jet_pt"], "max_weight_share": 0.01}
    build_training_file(settings_for(tmp_path / "a.parquet", *control, shuffle=False, **options))
    build_training_file(settings_for(tmp_path / "b.parquet", *control, seed=9, **options))
    first, second = read_jets(tmp_path / "a.parquet"), read_jets(tmp_path / "b.parquet")

    def by_identity(jets: Jets) -> dict[tuple[Any, ...], float]:
        columns = (jets["label"], jets["eventNumber"], jets["jet_index"], jets["jet_pt"])
        return dict(zip(zip(*(column.tolist() for column in columns), strict=True), jets["mcEventWeight"], strict=True))

    assert by_identity(first) == by_identity(second)


def test_the_largest_share_is_limited_and_said(tmp_path: Path) -> None:
    weights = np.concatenate([np.ones(99), [101.0]])
    path = write(tmp_path, DataType.QCD, converted_jets(100, mcEventWeight=weights))
    summary = build_training_file(settings_for(tmp_path / "out.parquet", path, max_weight_share=0.1))
    jets = read_jets(tmp_path / "out.parquet")
    # c = 0.1 (99 + c): c = 11.
    assert sorted(jets["mcEventWeight"])[-2:] == pytest.approx([1, 11])
    (group,) = summary.classes
    assert group.largest_share == pytest.approx(0.1)
    assert (
        "QCD: 1 of 100 weights were lowered to 11 (max_weight_share 0.1), which lowers their sum by 45 %"
        in summary.as_text()
    )


def test_without_any_of_this_weights_are_those_of_the_files_nulls_too(tmp_path: Path) -> None:
    jets = converted_jets(6).without_columns(["mcEventWeight"])
    path = write(tmp_path, DataType.QCD, jets)
    build_training_file(settings_for(tmp_path / "out.parquet", path))
    assert read_jets(tmp_path / "out.parquet").scalars.column("mcEventWeight").null_count == 6
    with pytest.raises(InputFileError, match="lacks mcEventWeight"):
        build_training_file(settings_for(tmp_path / "o.parquet", path, flatten=["jet_pt"]))


def test_variables_that_are_not_known_are_named(tmp_path: Path, control: list[Path]) -> None:
    def build(**changes: Any) -> None:
        build_training_file(settings_for(tmp_path / "out.parquet", *control, kind="control", **changes))

    with pytest.raises(ConfigError, match=r"has no column jet_pT .*did you mean jet_pt.*--keep_branches jet_pT"):
        build(flatten=["jet_pT"])
    few = read_jets(control[1]).slice(0, 10)
    write_jets(control[1], few, read_metadata(control[1]))
    with pytest.raises(ConfigError, match=r"10 jets of multijet data .* are too few"):
        build(reweight_mc=["jet_pt"])
    holes = few.with_columns({"mu": np.array([np.nan] + [1.0] * 9)})
    write_jets(control[1], holes, read_metadata(control[1]))
    with pytest.raises(InputFileError, match="mu is not known for 1 jets"):
        build(flatten=["mu"])
    with pytest.raises(ValueError, match="reweight_mc needs kind control"):
        settings_for(tmp_path / "out.parquet", *control, reweight_mc=["jet_pt"])


def test_the_report_holds_tables_cutflow_and_figures(tmp_path: Path, control: list[Path]) -> None:
    changes: dict[str, Any] = {"reweight_mc": ["jet_pt"], "flatten": ["jet_pt", "mu"], "report": True}
    settings = BuildSettings.make(
        input_files=[str(path) for path in control],
        output_file=tmp_path / "control.parquet",
        kind="control",
        samples=SAMPLES,
        **changes,
    )
    page = write_build_report(settings, build_training_file(settings))
    assert page == tmp_path / "control_report.html"
    text = (tmp_path / "control_report.md").read_text("utf-8")
    # 900 events of weight 9 before any cut, 50 pb / 10 a weight.
    assert "| read | 900 | 2000 | 9 | 45 |" in text
    assert "| taken | 2000 | 4000 |" in text
    assert "| 364701 | - | 1 (0, 0) | 50 | 1 | 10 | 5 |" in text
    names = sorted(path.stem for path in (tmp_path / "control_report_figures").iterdir())
    expected = ["samples_before_jet_pt", "samples_after_jet_pt"]
    for variable in ("jet_pt", "jet_eta"):
        expected += [f"{step}_{when}_{variable}" for step in ("reweight_mc", "flatten") for when in ("before", "after")]
    assert names == sorted([*expected, "flatten_before_mu", "flatten_after_mu"])


def test_a_report_of_a_build_that_changes_no_weight(tmp_path: Path, control: list[Path]) -> None:
    settings = settings_for(tmp_path / "c.parquet", *control, kind="control", report=True)
    write_build_report(settings, build_training_file(settings))
    assert "Weights are those of the files." in (tmp_path / "c_report.md").read_text("utf-8")
    assert len(list((tmp_path / "c_report_figures").iterdir())) == 2


def test_the_cuts_of_the_inputs_are_kept_and_compared(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cuts = [Cuts(data_types=[kind], min_jet_pt=40, max_jet_pt=500) for kind in (DataType.QCD, DataType.SIGNAL)]
    inputs = [write(tmp_path, each.data_types[0], converted_jets(5, each.data_types[0]), cuts=[each]) for each in cuts]
    filtered = {"input_file": str(inputs[1]), "event_filter": "jet_pt > 10"}
    build_training_file(settings_for(tmp_path / "a.parquet", inputs[0], filtered))
    found = read_metadata(tmp_path / "a.parquet").cuts
    assert [(each.data_types, each.event_filter) for each in found] == [(["qcd"], None), (["sig"], "jet_pt > 10")]
    assert "different" not in caplog.text
    write(
        tmp_path,
        DataType.SIGNAL,
        converted_jets(5, DataType.SIGNAL),
        cuts=[cuts[1].model_copy(update={"min_jet_pt": 60.0})],
    )
    build_training_file(settings_for(tmp_path / "b.parquet", *inputs))
    assert "converted with different min_jet_pt, which a network can learn: 40.0 (qcd); 60.0 (sig)" in caplog.text


def test_cuts_of_files_of_before_come_from_their_options(tmp_path: Path) -> None:
    path = write(tmp_path, DataType.QCD, converted_jets(5), options={"min_jet_pt": 30.0, "max_jet_pt": 400.0})
    build_training_file(settings_for(tmp_path / "a.parquet", path))
    (cuts,) = read_metadata(tmp_path / "a.parquet").cuts
    assert (cuts.data_types, cuts.min_jet_pt, cuts.max_jet_pt) == (["qcd"], 30, 400)
