"""Placement of constituents during a training."""

import gc
import json
import shutil
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.datasets import placement as places
from cal_ratio_trainer.datasets.data import choose_training_data, read_training_data
from cal_ratio_trainer.datasets.memory import USABLE
from cal_ratio_trainer.datasets.placement import DistantJets, Place, data_place
from cal_ratio_trainer.datasets.sample import TrainingData
from cal_ratio_trainer.jets import CONSTITUENTS
from cal_ratio_trainer.jets.filling import NoRoomOnDisk
from cal_ratio_trainer.network.batch import Batch, InputFilling, JetTensors
from cal_ratio_trainer.training.ranks import Ranks
from cal_ratio_trainer.training.setup import load_data
from cal_ratio_trainer.training.start import Start
from cal_ratio_trainer.training.train import train
from tests.factories.jets import synthetic_jets
from tests.training.test_engine_choice import settings_in

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
STEP = {"step": 1 << 20, "gathered": 0}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> TrainSettings:
    """Settings of a small training whose files exist."""
    return settings_in(tmp_path_factory.mktemp("data"), epoch_plots=False, tensorboard=False)


@pytest.fixture(scope="module")
def chosen(settings: TrainSettings) -> TrainingData:
    """Jets of this training."""
    return choose_training_data(settings, Path(settings.main_training_file), Path(settings.control_files["control"]))


def with_room(monkeypatch: pytest.MonkeyPatch, **free: int | None) -> None:
    monkeypatch.setattr(places, "free_bytes", lambda device: free[device.type])


def test_auto_takes_the_first_place_with_room_for_constituents_and_step(
    settings: TrainSettings, chosen: TrainingData, monkeypatch: pytest.MonkeyPatch
) -> None:
    size, plenty = data_place(settings, chosen, CPU, **STEP).size, 1 << 40
    for device, free, expected in (
        (CPU, {"cpu": plenty}, Place.DEVICE),
        (CPU, {"cpu": None}, Place.DEVICE),
        (CPU, {"cpu": size + STEP["step"]}, Place.DISK),
        (CUDA, {"cpu": size, "cuda": plenty}, Place.DEVICE),
        (CUDA, {"cpu": 2 * size, "cuda": size + STEP["step"]}, Place.HOST),
        (CUDA, {"cpu": size, "cuda": size + STEP["step"]}, Place.DISK),
    ):
        with_room(monkeypatch, **free)
        assert data_place(settings, chosen, device, **STEP).place is expected, (device, free)


def test_auto_counts_what_is_gathered_where_the_constituents_do_not_lie(
    settings: TrainSettings, chosen: TrainingData, monkeypatch: pytest.MonkeyPatch
) -> None:
    size, free = data_place(settings, chosen, CPU, **STEP).size, 1 << 30
    room = int(USABLE * free)
    with_room(monkeypatch, cpu=free, cuda=free)
    for step, gathered, expected in (
        (room - size - 1, room, Place.DEVICE),
        (room - size + 1, size - 2, Place.DISK),
        # Moving them would not leave more room for a step.
        (room - size + 1, size + 2, Place.DEVICE),
    ):
        assert data_place(settings, chosen, CPU, step=step, gathered=gathered).place is expected
    with_room(monkeypatch, cpu=int(1.2 * size), cuda=size)
    for gathered, expected in ((0, Place.HOST), (int(0.2 * size), Place.DISK)):
        assert data_place(settings, chosen, CUDA, step=size // 2, gathered=gathered).place is expected


def test_a_step_that_fits_nowhere_moves_no_constituents(
    settings: TrainSettings, chosen: TrainingData, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_room(monkeypatch, cpu=1 << 30)
    assert data_place(settings, chosen, CPU, step=1 << 40, gathered=0).place is Place.DEVICE


def test_on_a_cpu_the_host_is_the_device(settings: TrainSettings, chosen: TrainingData) -> None:
    host = settings.model_copy(update={"data_place": "host"})
    assert data_place(host, chosen, CPU, **STEP).place is Place.DEVICE
    assert data_place(host, chosen, CUDA, **STEP).place is Place.HOST
    assert data_place(host, chosen, CUDA, **STEP).tensors is DistantJets
    assert data_place(host, chosen, CPU, **STEP).tensors is JetTensors


def test_the_size_is_that_of_what_is_filled(settings: TrainSettings, chosen: TrainingData) -> None:
    data, inputs = read_training_data(chosen, data_place(settings, chosen, CPU, **STEP).fill_folder)
    tested = [part.test_constituents.values() for part in (data.main, data.control)]
    filled = sum(each.nbytes for each in inputs.values.values())
    filled += sum(ragged.values.nbytes for part in tested for ragged in part)
    assert data_place(settings, chosen, CPU, **STEP).size == pytest.approx(filled, rel=0.05)


def test_a_disk_without_room_is_refused_before_anything_is_read(
    settings: TrainSettings, chosen: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    wanted = settings.model_copy(update={"data_place": "disk", "cache_path": tmp_path / "not" / "there"})
    with pytest.raises(NoRoomOnDisk, match=r"there has 0\.0 MiB free.*cache_path names another folder"):
        data_place(wanted, chosen, CPU, **STEP)


def test_constituents_on_disk_train_the_same_network_and_leave_nothing_there(
    settings: TrainSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Drawing takes most of the time of so small a training.
    monkeypatch.setattr("cal_ratio_trainer.training.run_plots.DrawingPool.submit", lambda *given, **more: None)
    runs = {}
    for place in ("device", "disk"):
        said: list[str] = []
        changes = {"data_place": place, "output_path": tmp_path / place, "cache_path": tmp_path / "cache"}
        summary = train(Start(settings.model_copy(update=changes)), say=said.append, details=lambda figures: "")
        runs[place] = summary.run.path
        assert any("lie on disk, in unnamed files" in line for line in said) == (place == "disk")
        memory = json.loads((runs[place] / "run.json").read_text())["memory"]
        assert (memory["data_place"], memory["gathered_bytes"] > 0) == (place, place == "disk")
    # The file contains the id of its run.
    states = [load_file(run / "keras" / "checkpoint.safetensors") for run in runs.values()]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    for name in ("history.json", "test_sample.parquet", "evaluation.json"):
        first, second = ((run / name).read_bytes() for run in runs.values())
        assert first == second, name
    assert list((tmp_path / "cache").iterdir()) == []


def test_the_unused_half_is_not_held(settings: TrainSettings) -> None:
    half = settings.model_copy(update={"sample_fraction": 0.5})
    files = Path(settings.main_training_file), Path(settings.control_files["control"])
    some = choose_training_data(half, *files)
    data, inputs = read_training_data(some, data_place(half, some, CPU, **STEP).fill_folder)
    jets = len(data.main.jets) + len(data.control.jets)
    assert jets == pytest.approx(250, abs=40)
    for name, values in inputs.values.items():
        assert len(values) == inputs.offsets[name][-1] + 1
        assert len(inputs.offsets[name]) == jets + 1


def test_of_several_processes_none_looks_for_room_before_all_are_there(
    settings: TrainSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Several(Ranks):
        def barrier(self) -> None:
            done.append("met")

    def free_bytes(device: torch.device) -> int:
        done.append("looked")
        return 1 << 40

    done: list[str] = []
    monkeypatch.setattr(places, "free_bytes", free_bytes)
    load_data(settings, Several())
    assert done == ["met", "looked"]


CPU = torch.device("cpu")
JETS = synthetic_jets(np.arange(60) % 3, 1)
MASSES = np.random.default_rng(2).random((60, 2)).astype(np.float32)
NEAR = JetTensors.from_jets([JETS], CPU, MASSES)


def distant(folder: Path | None) -> DistantJets:
    filling = InputFilling(60, {kind.name: 0 for kind in CONSTITUENTS}, folder)
    filling.append(JETS.constituents)
    return DistantJets.of_filling(filling, [JETS], CPU, MASSES)


def assert_same(first: Batch, second: Batch) -> None:
    assert torch.equal(first.jet, second.jet)
    for name, branch in first.branches.items():
        other = second.branches[name]
        assert branch.counts == other.counts
        assert torch.equal(branch.values, other.values)
        assert torch.equal(branch.inverse, other.inverse)


@pytest.fixture(params=["memory", "disk"])
def far(request: pytest.FixtureRequest, tmp_path: Path) -> DistantJets:
    return distant(tmp_path if request.param == "disk" else None)


def test_batches_are_those_of_jets_on_the_device_expected_or_not(far: DistantJets) -> None:
    rng = np.random.default_rng(3)
    steps = [rng.permutation(60)[:20] for _ in range(5)]
    far.expect(steps)
    surprise = np.arange(59, 49, -1)
    for jets in steps:
        for asked in (np.tile(jets[:7], 2), jets, surprise, surprise[:3], jets[::-1].copy()):
            assert_same(far.batch(asked), NEAR.batch(asked))
    assert_same(far.batch(surprise), NEAR.batch(surprise))


def test_a_share_of_a_mini_batch_has_the_masks_that_it_has_on_the_device(far: DistantJets) -> None:
    jets, share = np.random.default_rng(4).permutation(60)[:30], np.array([0, 3, 4, 17, 29])
    far.expect([jets])
    found, expected = far.batch(jets, share), NEAR.batch(jets, share)
    assert_same(found, expected)
    masks = [(found.mask_rows, expected.mask_rows)]
    masks += [(found.branches[name].mask_rows, branch.mask_rows) for name, branch in expected.branches.items()]
    for one, other in masks:
        assert one is not None
        assert other is not None
        assert torch.equal(one.numbers, other.numbers)
        assert one.whole == other.whole


def test_pieces_come_one_after_the_other(far: DistantJets) -> None:
    pieces = [np.arange(10, 30), np.arange(0), np.arange(30, 60)]
    for found, jets in zip(far.batches(pieces), pieces, strict=True):
        assert_same(found, NEAR.batch(jets))


def test_what_is_expected_is_read_once_and_one_step_ahead_only(
    far: DistantJets, monkeypatch: pytest.MonkeyPatch
) -> None:
    gathered: list[int] = []
    gather = DistantJets._gather

    def counting(self: DistantJets, jets: np.ndarray) -> object:
        gathered.append(int(jets[0]))
        return gather(self, jets)

    monkeypatch.setattr(DistantJets, "_gather", counting)
    far.expect([np.array([step]) for step in range(4)])
    for step in range(4):
        far.batch(np.array([step]))
        far.batch(np.array([step, step]))
        assert max(gathered) <= step + 1
    assert sorted(gathered) == [0, 1, 2, 3]


def test_where_no_more_is_expected_nothing_is_held_any_longer(tmp_path: Path) -> None:
    jets = distant(tmp_path)
    jets.expect([np.arange(20), np.arange(20, 40)])
    jets.batch(np.arange(20))
    held = weakref.ref(jets)
    gc.disable()
    try:
        jets.expect(())
        del jets
        assert held() is None
    finally:
        gc.enable()


def test_only_the_jets_own_numbers_take_room_on_the_device(far: DistantJets) -> None:
    assert far.bytes_on_device == 60 * (3 + 2) * 4
    assert NEAR.bytes_on_device > 20 * far.bytes_on_device
