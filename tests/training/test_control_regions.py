"""Several control regions: compared within each, in their shares; regions that are judged only; resume."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.datasets.data import choose_training_data, read_training_data
from cal_ratio_trainer.datasets.sample import TrainingData
from cal_ratio_trainer.datasets.splits import Part
from cal_ratio_trainer.errors import ConfigError, InputFileError
from cal_ratio_trainer.evaluation.summary import figures_of_regions
from cal_ratio_trainer.jets.labels import CONTROL_DATA
from cal_ratio_trainer.jets.loading import read_jets
from cal_ratio_trainer.jets.store import read_metadata, write_jets
from cal_ratio_trainer.network.classifier import Classifier
from cal_ratio_trainer.network.domain.base import ControlJets, DomainSettings, StepSums
from cal_ratio_trainer.network.domain.distance import Distance
from cal_ratio_trainer.network.shape import DEFAULT_SHAPE
from cal_ratio_trainer.reporting.run_page import write_run_page
from cal_ratio_trainer.runs.figure_data import read_evaluation
from cal_ratio_trainer.runs.record import training_files
from cal_ratio_trainer.runs.run import Run
from cal_ratio_trainer.training.continuation import find_start
from cal_ratio_trainer.training.cuda_graph import StaticStep
from cal_ratio_trainer.training.start import Start
from cal_ratio_trainer.training.step import StepJets, TrainingStep
from cal_ratio_trainer.training.train import train
from tests.factories.files import write_training_files
from tests.factories.runs import TINY, train_set
from tests.training.steps import gradients_and_sums, in_double_precision
from tests.training.test_cuda_graph import CONTROL, MAIN, tensors

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A main file, and control regions of 400, 200 and 300 jets."""
    folder = tmp_path_factory.mktemp("data")
    named: dict[str, str] = {}
    for seed, (name, jets) in enumerate({"dijets": 400, "ttbar": 200, "other": 300}.items()):
        (folder / name).mkdir()
        main, control = write_training_files(folder / name, 500, jets, seed=10 + seed)
        jets_there = read_jets(control)
        # Events of its own: those of a training part are not judged.
        numbers = jets_there["eventNumber"] + 1_000_000 * seed
        write_jets(control, jets_there.with_columns({"eventNumber": numbers}), read_metadata(control))
        named |= {name: str(control), "main": named.get("main", str(main))}
    return named


def settings(files: dict[str, str], folder: Path, **changes: Any) -> TrainSettings:
    """Settings of a small training on two regions that judges a third one."""
    return TrainSettings.make(
        **{
            "main_training_file": files["main"],
            "cr_training_file": [f"dijets={files['dijets']}", f"ttbar={files['ttbar']}"],
            "cr_shares": {"dijets": 3, "ttbar": 1},
            "cr_judge_file": {"other": files["other"]},
            "agreement": "distance",
            "distance_rise": 0.0,
            **TINY,
            "train_fraction": 0.6,
            "plot_processes": 0,
            "epoch_plots": False,
            "output_path": folder,
            **changes,
        }
    )


def data_of(chosen: TrainSettings) -> TrainingData:
    """The jets of a training."""
    paths = [file.path for file in training_files(chosen)]
    return read_training_data(choose_training_data(chosen, *paths))[0]


def test_sums_of_data_and_simulation_are_equal_in_each_region_and_regions_have_their_shares(
    files: dict[str, str], tmp_path: Path
) -> None:
    data = data_of(settings(files, tmp_path))
    sums = {
        (region.name, is_data): region.weight[region.is_data == is_data].sum()
        for region in data.regions
        if region.share
        for is_data in (False, True)
    }
    assert sums["dijets", True] == pytest.approx(sums["dijets", False])
    assert sums["ttbar", True] == pytest.approx(sums["ttbar", False])
    assert sums["dijets", True] == pytest.approx(3 * sums["ttbar", True])
    assert data.control.region is not None
    np.testing.assert_array_equal(np.bincount(data.control.region), [400, 200])


def test_what_is_judged_only_is_never_trained_on_and_shares_no_event_with_what_is(
    files: dict[str, str], tmp_path: Path
) -> None:
    # The judged region has the events of a region that is trained on, under other weights.
    chosen = settings(files, tmp_path, cr_judge_file={"again": files["dijets"], "other": files["other"]})
    data = data_of(chosen)
    assert data.judged is not None
    assert data.judged.region_names == ("again", "other")
    assert not len(data.judged.positions(Part.TRAIN))
    trained = data.control.events[data.control.positions(Part.TRAIN)]
    assert not np.isin(data.judged.events, trained).any()
    tested = data.control.events[data.control.positions(Part.TEST)]
    shared = np.isin(data.judged.events, tested)
    assert shared.any()
    assert set(data.judged.part[shared].tolist()) == {Part.TEST}
    # Events that only the judged file has are all used.
    assert len(data.regions[-1].jets) == 300


def distance_of(jets: ControlJets, shares: tuple[float, ...]) -> float:
    """The distance of a mini-batch alone."""
    loss = Distance(DomainSettings(1.0, pt_ranges=(0.25, 0.5), region_shares=shares))
    return float(loss.penalty(jets, len(jets.logits), StepSums(CPU, ("distance", "joint", "passed_over"))))


def test_the_distance_of_regions_is_that_of_each_in_its_share_not_that_of_their_mixture() -> None:
    random = torch.Generator().manual_seed(1)
    logits, inputs = torch.randn(800, 3, generator=random), torch.rand(800, 3, generator=random)
    is_data, region = (torch.arange(800) % 2).float(), (torch.arange(800) >= 400).to(torch.uint8)
    # Data and simulation differ in the first region by what they differ in the second, with the other sign.
    shift = torch.tensor([0.0, 2.0, 0.0]) * (is_data * (1 - 2 * region.float()))[:, None]
    both = ControlJets(logits + shift, is_data, torch.ones(800), inputs, region=region)
    mixed = ControlJets(logits + shift, is_data, torch.ones(800), inputs)
    assert distance_of(both, (0.5, 0.5)) > 3 * distance_of(mixed, (1.0,))
    # Cramer's distance alone does not depend on the other region's jets; the joint one has its units from all of them.
    loss = Distance(DomainSettings(1.0, pt_ranges=(0.25, 0.5), region_shares=(0.5, 0.5)))
    others = [is_data[:, None], torch.ones(800, 1), inputs[:, :1], region[:, None].float()]
    table = torch.cat([both.logits, *others], dim=1)
    alone = Distance(DomainSettings(1.0, pt_ranges=(0.25, 0.5)))
    parts = [table[region == number] for number in (0, 1)]
    first, second = (float(alone._distance(part[:, :-1])[0]) for part in parts)
    assert float(loss._distance(table)[0]) == pytest.approx((first + second) / 2, rel=1e-5)
    other = Distance(DomainSettings(1.0, pt_ranges=(0.25, 0.5), region_shares=(0.9, 0.1)))
    assert float(other._distance(table)[0]) == pytest.approx(0.9 * first + 0.1 * second, rel=1e-5)


def test_the_joint_distance_of_regions_has_their_shares() -> None:
    random = torch.Generator().manual_seed(1)
    is_data, pairs = torch.arange(400) % 2 == 1, torch.arange(200).repeat_interleave(2)
    # Each jet of the data has the inputs of one of the simulation, and in the first region another output.
    logits, inputs = torch.randn(200, 3, generator=random)[pairs], torch.rand(200, 3, generator=random)[pairs]
    first = ControlJets(
        logits + torch.tensor([0.0, 2.0, 0.0]) * is_data[:, None], is_data.float(), torch.ones(400), inputs
    )
    second = replace(first, logits=logits)
    found = {}
    columns = ("logits", "is_data", "weight", "inputs")
    for case, regions in {"one of them agrees": (first, second), "both alike": (first, first)}.items():
        jets = ControlJets(
            **{name: torch.cat([getattr(each, name) for each in regions]) for name in columns},
            region=(torch.arange(800) >= 400).to(torch.uint8),
        )
        for shares in ((0.9, 0.1), (0.1, 0.9)):
            loss = Distance(DomainSettings(1.0, region_shares=shares))
            found[case, shares] = float(loss._joint(loss._table(jets)))
    assert found["one of them agrees", (0.9, 0.1)] == pytest.approx(
        9 * found["one of them agrees", (0.1, 0.9)], rel=1e-4
    )
    alone = Distance(DomainSettings(1.0))
    for shares in ((0.9, 0.1), (0.1, 0.9)):
        assert found["both alike", shares] == pytest.approx(float(alone._joint(alone._table(first))), rel=1e-4)


def test_pieces_and_recorded_steps_give_the_gradients_of_the_whole() -> None:
    jets = StepJets(np.arange(MAIN), np.arange(MAIN, MAIN + CONTROL), np.arange(MAIN, MAIN + CONTROL))
    region, found = (torch.arange(MAIN + CONTROL) % 2).to(torch.uint8), []
    kinds: list[tuple[type[TrainingStep], int]] = [(TrainingStep, 1), (TrainingStep, 3), (StaticStep, 1)]
    for kind, pieces in kinds:
        shares = (0.75, 0.25)
        domain = Distance(DomainSettings(1.0, 2, (0.25, 0.5), control_jets=CONTROL, region_shares=shares))
        network = Classifier(DEFAULT_SHAPE, 1, "torch")
        settings = TrainSettings.make(regularization=0.0, dropout=0.0, seed=5, accumulate=pieces)
        step = kind(network, domain, settings)
        data = replace(in_double_precision(step, tensors()), region=region)
        found.append(gradients_and_sums(step, data, jets)[0])
    for each in found[1:]:
        torch.testing.assert_close(each, found[0], rtol=1e-8, atol=1e-11)


def trained(chosen: TrainSettings, continue_from: str | None = None) -> Run:
    """A training without plots."""
    given = {"output_path": chosen.output_path, "epochs": chosen.epochs}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cal_ratio_trainer.training.run_plots.DrawingPool.submit", lambda *given, **more: None)
        start = find_start([("defaults", {}), ("command line", given)], chosen, continue_from)
        summary = train(start if continue_from else Start(chosen), lambda text: None, lambda figures: "")
        return Run(summary.run.path)


@pytest.fixture(scope="module")
def run(files: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of two epochs."""
    return trained(settings(files, tmp_path_factory.mktemp("runs")))


def test_a_run_on_several_regions_goes_on_exactly(run: Run, files: dict[str, str], tmp_path: Path) -> None:
    trained(settings(files, tmp_path, epochs=1))
    parts = trained(settings(files, tmp_path, epochs=1), "0")
    assert parts.history_file.read_bytes() == run.history_file.read_bytes()
    first, second = (load_file(each.checkpoint_file) for each in (run, parts))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_each_region_has_its_figures_in_history_record_and_evaluation(run: Run) -> None:
    row = run.read_history()[-1]
    for name in ("dijets", "ttbar", "other"):
        assert 0 < row[f"cr_{name}_ks_qcd_hist"] < 3
        assert f"cr_{name}_c2st_auc" in row
    described = run.read_record()["data"]
    assert [each["name"] for each in described["control"]["regions"]] == ["dijets", "ttbar"]
    assert [each["name"] for each in described["judged"]["regions"]] == ["other"]
    _, figures = read_evaluation(run.evaluation_file)
    assert [(each.name, each.is_judged_only) for each in figures.regions] == [
        ("dijets", False),
        ("ttbar", False),
        ("other", True),
    ]
    names = {drawing.name for drawing in run.drawings}
    assert {"cr_dijets_ks_qcd", "cr_other_ks_bib", "cr_other_sig_predictions"} <= names
    page = write_run_page(run).read_text("utf-8")
    for words in ("Control regions, test part", "MC and data in each control region", "control: ttbar", "judged only"):
        assert words in page
    # The test part is scored anew from its files.
    sample = run.test_sample()
    networks = run.networks_at().load()
    again = figures_of_regions(sample.scored_by(networks)[1], sample.judged_by(networks), sample.pt_ranges)
    assert [each.numbers() for each in again] == [
        pytest.approx({name: value for name, value in each.numbers().items() if "c2st" not in name}, nan_ok=True)
        for each in figures.regions
    ]


def test_without_several_regions_nothing_has_a_name(files: dict[str, str], tmp_path: Path) -> None:
    chosen = settings(files, tmp_path, cr_training_file={"dijets": files["dijets"]}, cr_shares=None, cr_judge_file=None)
    alone = data_of(chosen)
    assert not alone.compares_regions
    assert [region.name for region in alone.regions] == ["dijets"]
    assert alone.judged is None


def test_one_region_is_judged_beside_another_and_trained_as_without_it(files: dict[str, str], tmp_path: Path) -> None:
    alone = {"cr_training_file": files["dijets"], "cr_shares": None, "epochs": 1}
    beside, without = (
        trained(settings(files, tmp_path / name, **alone, **more)).read_history()[0]
        for name, more in (("beside", {}), ("without", {"cr_judge_file": None}))
    )
    assert {name: beside[name] for name in without if "c2st" not in name} == pytest.approx(
        {name: value for name, value in without.items() if "c2st" not in name}, nan_ok=True, abs=0, rel=0
    )
    assert beside["cr_control_ks_qcd_hist"] == beside["ks_qcd_hist"] != beside["cr_other_ks_qcd_hist"]


def test_a_fold_set_keeps_the_regions_and_their_shares(files: dict[str, str], tmp_path: Path) -> None:
    chosen = settings(files, tmp_path, folds=2, epochs=1)
    fold_set = train_set(chosen).run
    _, figures = read_evaluation(fold_set.evaluation_file)
    assert [each.name for each in figures.regions] == ["dijets", "ttbar", "other"]
    control = fold_set.test_sample().control
    names, region = control.regions
    assert region is not None
    sums = {name: control.weights[region == number].sum() for number, name in enumerate(names)}
    assert sums["dijets"] == pytest.approx(3 * sums["ttbar"], rel=0.5)


def test_misfits_are_refused_in_a_sentence(files: dict[str, str], tmp_path: Path) -> None:
    jets = read_jets(Path(files["ttbar"]))
    only_data = tmp_path / "only_data.parquet"
    write_jets(only_data, jets.where(jets.label == CONTROL_DATA), read_metadata(Path(files["ttbar"])))
    with pytest.raises(InputFileError, match=r"only_data.parquet.* control-region weights sum to 0 for MC"):
        data_of(settings(files, tmp_path, cr_judge_file=[f"other={only_data}"]))
    for wrong, match in (
        ({"cr_training_file": ["a=x", "a=y"], "cr_shares": None}, "two control regions are called a: x and y"),
        ({"cr_judge_file": {"ttbar": "x"}}, "two control regions are called ttbar"),
        ({"cr_shares": {"dijets": 1}}, r"cr_shares should name the regions of cr_training_file \(dijets, ttbar\)"),
        ({"cr_shares": {"dijets": 1, "ttbar": 0}}, "cr_shares should be above 0"),
        ({"cr_shares": ["dijets"]}, "should be NAME=NUMBER, got 'dijets'"),
        ({"cr_training_file": ["a b.parquet", "c.parquet"], "cr_shares": None}, "no usable name of a region"),
        ({"cr_training_file": {"": "x"}, "cr_shares": None}, "cr_training_file: '' of x is no usable name of a region"),
        ({"cr_judge_file": {"../a": "x"}}, r"cr_judge_file: '\.\./a' of x is no usable name of a region"),
        ({"cr_judge_file": {"a": None}}, "cr_judge_file: region 'a' has no file"),
        ({"cr_judge_file": {}}, "cr_judge_file: names no file"),
        ({"cr_shares": {}}, "names no region; null is for equal shares"),
        ({"cr_shares": ["dijets=1", "ttbar=1", "dijets=2"]}, "region dijets has two shares, 1 and 2"),
    ):
        with pytest.raises(ValueError, match=match):
            settings(files, tmp_path, **wrong)
    with pytest.raises(ConfigError, match="the demo has one control region"):
        training_files(TrainSettings.make(cr_judge_file="demo"))
