"""Makes a run of this program from a training of the earlier one."""

import math
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cal_ratio_trainer.config.runs import ImportSettings
from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.errors import ConfigError, InputFileError, harmless
from cal_ratio_trainer.evaluation.ks import ks_of_control_jets
from cal_ratio_trainer.evaluation.scored import ScoredJets
from cal_ratio_trainer.files.atomic import sha256_of, write_text
from cal_ratio_trainer.formats.keras_encoders import keras_layers
from cal_ratio_trainer.formats.network_file import read_architecture, read_content
from cal_ratio_trainer.formats.registry import read_network
from cal_ratio_trainer.formats.safetensors_file import SUFFIX
from cal_ratio_trainer.formats.stored_network import StoredNetwork
from cal_ratio_trainer.jets.metadata import LEGACY_SCALING
from cal_ratio_trainer.network.shape import OUTPUTS
from cal_ratio_trainer.progress import progress
from cal_ratio_trainer.results import Result
from cal_ratio_trainer.runs.earlier_run import EarlierRun, earlier_run, imported_settings, listed, read_history
from cal_ratio_trainer.runs.networks import write_network
from cal_ratio_trainer.runs.record import machine, now, versions
from cal_ratio_trainer.runs.run import Run
from cal_ratio_trainer.runs.stored import HISTORY_NAMES, IMPORTED, HistoryRow, write_history

_MAX_DETAILS_BYTES = 1 << 20


@dataclass(frozen=True, repr=False)
class ImportSummary(Result):
    """Result of an import.

    Attributes:
        run: the run that was made.
        epochs: epochs with weights.
        description: of the networks, in a sentence.
        notes: unknown and assumed values, one sentence each.
    """

    run: Run
    epochs: tuple[int, ...]
    description: str
    notes: tuple[str, ...]

    @property
    def headline(self) -> str:
        """See `Result`."""
        return f"imported as {self.run.name}: {self.description}"


@dataclass(frozen=True)
class _Training:
    """A training as it was read, before anything is written.

    Attributes:
        source: its files.
        epochs: networks by epoch.
        newest: the network after the last epoch.
        newest_file: its file.
        history: one row per epoch; None where there is none.
        notes: notes for the user.
    """

    source: EarlierRun
    epochs: dict[int, StoredNetwork]
    newest: StoredNetwork
    newest_file: Path
    history: list[HistoryRow] | None
    notes: tuple[str, ...]


def import_training(settings: ImportSettings) -> ImportSummary:
    """Reads a training of the earlier program and makes a run of it.

    Args:
        settings: training to import, and its name.

    Raises:
        InputFileError: a file is damaged, of another kind or of another network; nothing is written then.
        ConfigError: the path gives no name for the model, or the training's settings are none.
    """
    training = _read(settings.path)
    name = settings.model_name or _model_name(training.source)
    given = {"model_name": name, "output_path": settings.output_path}
    train_settings, notes = imported_settings(training.source.settings, training.newest, given)
    training = replace(training, notes=(*training.notes, *_notes(training, train_settings), *notes))
    run = Run.make(settings.output_path, name)
    try:
        with run.lock():
            _write(run, training, train_settings)
    except BaseException:
        shutil.rmtree(run.path, ignore_errors=True)
        with suppress(OSError):
            run.path.parent.rmdir()
        raise
    return ImportSummary(run, tuple(training.epochs), _description(training), training.notes)


def _read(path: Path) -> _Training:
    source = earlier_run(path)
    architecture = read_architecture(source.model) if source.model is not None else None
    files = [*source.epochs.values(), *([source.newest] if source.newest is not None else [])]
    networks: dict[Path, StoredNetwork] = {}
    with progress("read networks", len(files), "files") as line:
        for file in files:
            networks[file] = read_network(file, architecture)
            line.advance()
    first = next(iter(networks.values()))
    for file, network in networks.items():
        if network.shape != first.shape:
            raise InputFileError(file, f"holds a network of other widths than {files[0].name}")
    epochs = {epoch: networks[file] for epoch, file in source.epochs.items()}
    history, notes = _history(source)
    newest, more_notes = _newest(source, history)
    if history is not None:
        history = history[: max(source.epochs, default=-1) + 1] if newest != source.newest else history
    return _Training(source, epochs, networks[newest], newest, history, (*notes, *more_notes))


def _newest(source: EarlierRun, history: list[HistoryRow] | None) -> tuple[Path, list[str]]:
    """The file of the newest network. The history ends with it: what has no weights any more is of no use."""
    if source.newest is not None:
        return source.newest, []
    last = max(source.epochs)
    if history is not None and len(history) > last + 1:
        return source.epochs[last], [f"Its history after epoch {last}, the last one with weights, is left out."]
    return source.epochs[last], []


def _history(source: EarlierRun) -> tuple[list[HistoryRow] | None, list[str]]:
    if source.history is None:
        return None, [
            "It has no history, so its best epoch is not known: analyze judges its epochs on files that you give."
        ]
    rows, unknown = read_history(source.history, HISTORY_NAMES)
    if not rows:
        return None, ["Its history is empty."]
    # Figures that stand in today's histories behind the earlier program's.
    nothing = np.zeros(0)
    no_jets = ScoredJets.control(np.zeros((0, OUTPUTS)), np.zeros(0, dtype=bool), nothing, nothing)
    nowhere = dict.fromkeys((*ks_of_control_jets(no_jets).to_dict(), "val_auc"), math.nan)
    notes = [f"Figures of its history that are not known here are left out: {listed(unknown)}."] if unknown else []
    notes.append("Its history has no AUC, so the rule auc-near-lowest-ks finds no best epoch in it; the others do.")
    return [row | nowhere | row for row in rows], notes


def _model_name(source: EarlierRun) -> str:
    try:
        return ImportSettings.make(path=source.path, model_name=source.name).model_name or ""
    except ValueError as error:
        raise ConfigError([f"{source.path} gives no name for the model; say one with --model_name"]) from error


def _notes(training: _Training, settings: TrainSettings) -> Iterator[str]:
    network = training.newest
    yield f"How its training jets were scaled is not recorded: {LEGACY_SCALING} is assumed, the range of build."
    yield "Which jets it was trained on is not recorded: on its own training files, figures of merit are too good."
    yield (
        "Its adversary and optimisers are not imported: train --continue makes a new run that starts from its newest "
        "weights, with a fresh adversary, fresh optimisers and a new split."
    )
    names = {each.layer_names for each in (network, *training.epochs.values()) if each.layer_names}
    if names - {tuple(layer.name for layer in keras_layers(network.shape))}:
        yield "Its layers have other names than here. Exports have the names of this program, so their hash differs."
    if not network.dropout_is_said:
        yield f"Its network files do not give the dropout: {settings.dropout:g} is assumed. No score depends on it."
    if network.shape.masses == 1:
        column = settings.parametrised_masses[0]
        yield f"It reads one mass, which is assumed to be {column} in TeV."
    yield from dict.fromkeys(note for each in (network, *training.epochs.values()) for note in each.notes)
    file = training.source.path
    if file.is_file() and file.name.startswith("final_model.") and file.suffix != SUFFIX:
        yield "The earlier program's final_model.keras holds the weights from before the training."


def _description(training: _Training) -> str:
    file, network = training.newest_file, training.newest
    parameters = sum(weights.size for weights in network.weights.values())
    epochs = list(training.epochs)
    several = f"weights of {len(epochs)} epochs ({epochs[0]} to {epochs[-1]}), " if len(epochs) > 1 else ""
    one = f"weights of epoch {epochs[0]}, " if len(epochs) == 1 else ""
    source = harmless(f"{file.name} ({network.form})", kept="")
    return f"{several or one}{parameters:,} parameters, from {source}"


def _write(run: Run, training: _Training, settings: TrainSettings) -> None:
    network = training.newest
    shape, run_id = replace(network.shape, dropout=settings.dropout), secrets.token_hex(16)
    for epoch, each in training.epochs.items():
        write_network([run.weights_file(epoch)], shape, each.weights, run_id, epoch)
    newest = len(training.history) - 1 if training.history is not None else None
    write_network([run.path / "keras" / "final_model.keras"], shape, network.weights, run_id, newest)
    if training.history is not None:
        write_history(run.path, training.history)
    known = {"id": run_id, "settings_sha256": run.write_settings(settings)}
    write_text(run.path / "training_details.txt", _details(training))
    run.write_record(known | _record(training, settings))


def _record(training: _Training, settings: TrainSettings) -> dict[str, Any]:
    newest, network = training.newest_file, training.newest
    source = training.source
    files = dict.fromkeys(
        file for file in (*source.epochs.values(), source.newest, source.history, source.settings) if file is not None
    )
    epochs = len(training.history) if training.history is not None else max(training.epochs, default=-1) + 1
    return {
        "status": IMPORTED,
        "started": now(),
        "ended": now(),
        "tag": settings.tag,
        "note": settings.note,
        "command": " ".join(sys.argv),
        "seed": settings.seed,
        "planned_epochs": epochs,
        "finished_epochs": epochs,
        "versions": versions(),
        "machine": machine(),
        "data": {},
        "notes": list(training.notes),
        "imported": {
            "from": harmless(str(source.path), kept=""),
            "newest": harmless(newest.name, kept=""),
            "form": network.form,
            "epochs": list(training.epochs),
            "layers": list(network.layer_names),
            "assumed_scaling_gev": [LEGACY_SCALING.min_jet_pt, LEGACY_SCALING.max_jet_pt],
            "files": {
                harmless(file.name, kept=""): {"size_bytes": file.stat().st_size, "sha256": sha256_of(file)}
                for file in files
            },
        },
    }


def _details(training: _Training) -> str:
    source = harmless(str(training.source.path), kept="")
    lines = [f"Imported from {source}: {_description(training)}", *training.notes]
    text = "\n".join(lines) + "\n"
    if training.source.details is not None:
        earlier = read_content(training.source.details, _MAX_DETAILS_BYTES).decode("utf-8", errors="replace")
        text += f"\n--- training_details.txt of the earlier program ---\n{earlier}"
    return text
