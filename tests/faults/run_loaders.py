"""Files of a run, read as continue, score, analyze, plot and the table of runs read them."""

import hashlib
import json
from dataclasses import asdict
from functools import cache
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save

from cal_ratio_trainer.config.runs import RunsSettings
from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.errors import UserError
from cal_ratio_trainer.evaluation.ks import ks_of_control_jets
from cal_ratio_trainer.evaluation.summary import evaluate_test_sample
from cal_ratio_trainer.formats.keras_file import keras_model_bytes
from cal_ratio_trainer.jets.metadata import Scaling
from cal_ratio_trainer.network.shape import NetworkShape, branch_shape
from cal_ratio_trainer.plotting.catalogue import epoch_drawings, final_drawings
from cal_ratio_trainer.reporting.runs import run_rows, runs_csv
from cal_ratio_trainer.runs.figure_data import (
    EpochHistograms,
    histograms_of,
    ranges_of,
    read_evaluation,
    write_evaluation,
)
from cal_ratio_trainer.runs.finding import find_network
from cal_ratio_trainer.runs.networks import with_digest
from cal_ratio_trainer.runs.record import machine
from cal_ratio_trainer.runs.run import Run
from cal_ratio_trainer.scoring.analyzed_run import read_run
from cal_ratio_trainer.training.checkpoint import TrainingState, load_checkpoint, save_checkpoint, state_bytes
from cal_ratio_trainer.training.continuation import find_start
from cal_ratio_trainer.training.start import Start
from cal_ratio_trainer.training.step import TrainingStep
from tests.factories.runs import history_row, write_run
from tests.factories.scored_jets import plausible_control_jets, plausible_jets
from tests.faults.campaign import Loader
from tests.faults.damage import damaged_text
from tests.training.steps import new_step

RUN_ID = "5e" * 16
SHAPE = NetworkShape(
    (branch_shape("clusters", (4,), 2), branch_shape("tracks", (4,), 2), branch_shape("muon_segments", (4,), 2)), (4, 4)
)
HISTORY = [history_row(0.9, 1.0), history_row(0.95, 0.8)]
PROGRESS = TrainingState(epoch=2, step=1, sums={"main": 0.5}, history=HISTORY, threads=1)


@cache
def trained_step() -> TrainingStep:
    """A small network and its adversary, with optimisers that have made a step."""
    step = new_step(shape=SHAPE, engine="torch")
    for _, module, optimizer in step.trained_modules():
        assert optimizer is not None
        for weight in module.parameters():
            weight.grad = torch.ones_like(weight)
        optimizer.step()
    return step


def interrupted_run(folder: Path, digests: bool = True) -> Run:
    """Interrupted run with all files except jets; without digests, as an earlier version wrote it."""
    files = {
        kind: {"file": f"{kind}.parquet", "sha256": kind[0] * 64, "simulation": "demo", "notes": ["a note"]}
        | {"scaling": Scaling(min_jet_pt=0, max_jet_pt=500).model_dump(), "jets_used": 100, "size_bytes": 1000}
        for kind in ("main", "control")
    }
    record = {
        "id": RUN_ID if digests else None,
        "status": "interrupted",
        "planned_epochs": 5,
        "machine": machine(),
        "versions": {"torch": str(torch.__version__)},
        "computed_by": {"device": "cpu", "processes": 1},
        "history_references": {"clueless_loss": 0.69, "main_majority": 0.4},
        "data": files,
    }
    run = write_run(folder / "m" / "00000", HISTORY, record)
    if digests:
        known = run.write_settings(TrainSettings.make(model_name="m"))
        run.write_record({**run.read_record(), "settings_sha256": known})
    run_id = RUN_ID if digests else None
    save_checkpoint(run.checkpoint_file, trained_step(), PROGRESS, run_id)
    network = keras_model_bytes(SHAPE, trained_step().classifier.weights())
    run.weights_file(0).write_bytes(with_digest(network, run_id, 0) if digests else network)
    main, control = plausible_jets(60), plausible_control_jets(60)
    write_evaluation(run.evaluation_file, 1, evaluate_test_sample(main, control))
    histograms = histograms_of(main, control, ks_of_control_jets(control, ranges_of([0.25, 0.5])))
    for epoch in (0, 1):
        histograms.write(run.histograms_file(epoch))
    return run


def _run_of(file: Path) -> Run:
    folders = [folder for folder in file.parents if (folder / "run.json").exists()]
    return Run(folders[0])


def _start(run: Run) -> Start:
    flags = {"output_path": str(run.path.parents[1]), "model_name": "m"}
    layers = [("packaged defaults", TrainSettings.defaults()), ("command line", flags)]
    return find_start(layers, TrainSettings.make(**flags), "0")


def _checkpoint(digests: bool) -> Loader:
    def load(file: Path) -> object:
        progress = load_checkpoint(file, trained_step(), RUN_ID if digests else None)
        return (repr(progress), hashlib.sha256(state_bytes(trained_step())).hexdigest()) if digests else None

    def make(folder: Path) -> Path:
        trained_step.cache_clear()
        file = interrupted_run(folder, digests).checkpoint_file
        if not digests:
            with safe_open(file, framework="pt") as opened:
                tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
            state = json.dumps({"format_version": 1, **asdict(PROGRESS)})
            file.write_bytes(save(tensors, metadata={"training_state": state}))
        return file

    return Loader(make, load)


def _network(file: Path) -> object:
    weights = find_network("m/0/0", file.parents[3]).load().weights()
    return {name: values.tobytes() for name, values in weights.items()}


def _settings(digests: bool) -> Loader:
    def load(file: Path) -> object:
        settings = _start(_run_of(file)).settings.model_dump(mode="json", exclude={"output_path"})
        return settings if digests else None

    return Loader(lambda folder: interrupted_run(folder, digests).settings_file, load, damaged_text)


def _read_all(file: Path) -> None:
    """Reads a run as every command does; a file counts as refused if one of them refuses it."""
    run = _run_of(file)
    rows = run_rows(RunsSettings.make(output_path=run.path.parents[1]))
    runs_csv(rows)
    if rows[0].run.trouble:
        raise UserError(rows[0].run.trouble)
    start = _start(run)
    start.epochs_in_all(len(HISTORY))
    run.figure_labels()
    assert run.drawings
    for row in read_run(run, torch.device("cpu")).rows:
        sum(row.values())


def _evaluation(file: Path) -> None:
    final_drawings(read_evaluation(_run_of(file).evaluation_file)[1])


def _histograms(file: Path) -> None:
    stored = EpochHistograms.read(file)
    epoch_drawings(1, stored.histograms, stored.ks)


RUN_LOADERS: dict[str, Loader] = {
    "checkpoint": _checkpoint(True),
    "checkpoint of an earlier version": _checkpoint(False),
    "kept network of a run": Loader(lambda folder: interrupted_run(folder).weights_file(0), _network),
    "training_params.yaml of a run": _settings(True),
    "training_params.yaml of an earlier version": _settings(False),
    "run.json": Loader(lambda folder: interrupted_run(folder).record_file, _read_all, damaged_text),
    "history.json": Loader(lambda folder: interrupted_run(folder).history_file, _read_all, damaged_text),
    "evaluation.json": Loader(lambda folder: interrupted_run(folder).evaluation_file, _evaluation, damaged_text),
    "histograms of an epoch": Loader(
        lambda folder: interrupted_run(folder).histograms_file(1), _histograms, damaged_text
    ),
}
