"""Facts of a network besides its weights, collected from its run: for the card beside an exported file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from cal_ratio_trainer.datasets.splits import FoldRule
from cal_ratio_trainer.evaluation.summary import evaluate_test_sample
from cal_ratio_trainer.formats.model_card import FoldFacts, NetworkFacts
from cal_ratio_trainer.formats.onnx_graph import Preprocessing
from cal_ratio_trainer.jets import Label
from cal_ratio_trainer.jets.metadata import LEGACY_SCALING, Scaling
from cal_ratio_trainer.jets.schema import CALRATIO_2019, Schema
from cal_ratio_trainer.network.classifier import Classifier
from cal_ratio_trainer.runs.networks import NetworkFile, Networks
from cal_ratio_trainer.runs.run import Run
from cal_ratio_trainer.runs.stored import RunError, without_query
from cal_ratio_trainer.runs.test_sample import CONTROL_FILE, MAIN_FILE, RunSample, TestJets
from cal_ratio_trainer.version import __version__

_MASSES = {"mH_parametrization": "llp_mH", "mS_parametrization": "llp_mS"}
_UNKNOWN_MASS = "mass"
_FILE_FACTS = ("size_bytes", "sha256", "jets_used", "simulation", "events_told_apart_by")
_TRAINING_FACTS = ("tag", "note", "started", "seed", "planned_epochs", "finished_epochs")


def test_jets_of(folder: Path | None) -> TestJets | None:
    """The main test jets in the folder of a run; None if it has none (imported, or not finished).

    Raises:
        InputFileError, MissingColumn: they are damaged, or without what is needed.
    """
    if folder is None or not (folder / MAIN_FILE).is_file():
        return None
    return TestJets.read(folder / MAIN_FILE)


def network_facts(network: NetworkFile, classifier: Classifier, test: TestJets | None) -> NetworkFacts:
    """Facts about a network in its run.

    Args:
        network: the network; without a run few facts are known.
        classifier: the network itself, on the CPU.
        test: the run's main test jets; the figures of merit are those of this network on them and on its control
            region.

    Raises:
        InputFileError: the network reads masses that the test jets lack.
    """
    run = None if network.folder is None else Run(network.folder)
    record = run.record if run else {}
    settings = run_settings(run)
    scaling, notes = _scaling(record, test)
    mass_names = _mass_names(settings, classifier.shape.masses)
    if _UNKNOWN_MASS in mass_names:
        notes.append("Which mass the network reads is not known: mH or mS, as it was trained")
    if str(record.get("data", {}).get("main", {}).get("simulation")).startswith("demo"):
        notes.append("Trained on the built-in demo: of no use for physics")
    if differing := _differing_inputs(classifier.shape.schema):
        notes.append(
            f"It differs from the network of 2019 in {differing}: the software that runs it must fill its inputs"
        )
    figures: dict[str, float] = {}
    if run:
        try:
            figures = test_figures(run, settings, Networks((classifier,)), test)
        except NoFigures as error:
            notes.append(f"{error}, so there are no figures of merit")
    return NetworkFacts(
        name=network.name if run else network.file.name,
        shape=classifier.shape,
        preprocessing=Preprocessing(scaling, settings.get("missing_t0"), _padding(test)),
        mass_names=mass_names,
        training=_training(run, network.epoch, record),
        data=data_facts(record),
        figures=figures,
        notes=(*notes, *(str(note).rstrip(".") for note in record.get("notes", ()))),
        folds=_fold_facts(run, settings),
    )


def _differing_inputs(schema: Schema) -> str:
    """The inputs and limits that networks of 2019 do not have, for a sentence; empty where there are none."""
    usual = CALRATIO_2019.inputs
    names = [name for name in schema.inputs if name not in usual]
    names += [f"{name} (not read)" for name in usual if name not in schema.inputs]
    for kind in schema.constituents:
        if kind.limit != CALRATIO_2019.kind(kind.name).limit:
            names.append(f"up to {kind.limit} {kind.name}")
    return ", ".join(names)


def _fold_facts(run: Run | None, settings: Mapping[str, Any]) -> FoldFacts | None:
    count, fold = settings.get("folds"), settings.get("fold")
    if run is None or count is None or fold is None:
        return None
    set_name = run.name.rpartition("/")[0] if run.network_number is not None else run.name
    return FoldFacts(set_name, FoldRule(count).expression, count, fold)


def run_settings(run: Run | None) -> Mapping[str, Any]:
    """The settings of a run under today's names, with unchecked values; empty where there is no run or no file.

    Raises:
        InputFileError: they cannot be read, or were changed since the run wrote them.
    """
    return {} if run is None or not run.settings_file.exists() else run.read_settings()


def _scaling(record: Mapping[str, Any], test: TestJets | None) -> tuple[Scaling, list[str]]:
    if test and test.metadata.scaling:
        return test.metadata.scaling, []
    said = record.get("data", {}).get("main", {}).get("scaling")
    if said:
        return Scaling.model_validate(said), []
    if "imported" in record:
        return LEGACY_SCALING, []  # the import said so, and its notes go on the card
    note = f"How the training jets were scaled is not known: {LEGACY_SCALING} is assumed, the usual range"
    return LEGACY_SCALING, [note]


def _mass_names(settings: Mapping[str, Any], count: int) -> tuple[str, ...]:
    names = tuple(name for setting, name in _MASSES.items() if settings.get(setting))
    if len(names) == count:
        return names
    return tuple(_MASSES.values()) if count == len(_MASSES) else (_UNKNOWN_MASS,) * count


def _padding(test: TestJets | None) -> dict[str, tuple[float, ...]]:
    if test is None:
        return {}
    rows = test.padding
    kinds = test.jets.schema.constituents
    return {kind.name: tuple(float(value) for value in rows[kind.name][list(kind.inputs)]) for kind in kinds}


def _training(run: Run | None, epoch: int | None, record: Mapping[str, Any]) -> dict[str, Any]:
    if "imported" in record:
        # Versions, seed and times of such a record are those of the import, not of the training.
        origin = _origin(record["imported"])
    else:
        origin = {**{name: record.get(name) for name in _TRAINING_FACTS}, "versions": record.get("versions", {})}
    facts: dict[str, Any] = {
        "run": run.name if run else None,
        "epoch": epoch,
        **origin,
        "exported_by": f"cal_ratio_trainer {__version__}",
    }
    return {name: value for name, value in facts.items() if value not in (None, {})}


def _origin(imported: Mapping[str, Any]) -> dict[str, Any]:
    checksums = {name: about.get("sha256") for name, about in imported.get("files", {}).items()}
    source = _short(str(imported.get("from", "")))
    return {"imported_from": source, "newest_weights_from": imported.get("newest"), "form": imported.get("form")} | (
        {"sha256": checksums} if checksums else {}
    )


def data_facts(record: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Facts of the training files in run.json, without the folders of this machine."""
    return {
        name: {
            "file": _short(str(about.get("file", ""))),
            **{fact: about[fact] for fact in _FILE_FACTS if about.get(fact)},
        }
        for name, about in record.get("data", {}).items()
        if isinstance(about, Mapping)
    }


def _short(file: str) -> str:
    """A file's name without the folders of this machine; a URL without what may be secret behind its question mark."""
    return without_query(file) if "://" in file else Path(file).name


class NoFigures(Exception):
    """A run has no figures of merit; the message tells why."""


def test_figures(run: Run, settings: Mapping[str, Any], networks: Networks, test: TestJets | None) -> dict[str, float]:
    """Figures of merit of the networks of a run on the test jets that it keeps.

    Args:
        run: its folder, or that of the set.
        settings: as `run_settings` gives them.
        networks: on the CPU.
        test: the main test jets.

    Raises:
        NoFigures: the run has none; says why.
        InputFileError: the network reads masses that the test jets lack.
    """
    if test is None:
        raise NoFigures("The run keeps no test jets")
    if settings.get("cr_training_file", "") is None:
        control = test.without_jets()
    elif (run.path / CONTROL_FILE).is_file():
        control = TestJets.read(run.path / CONTROL_FILE)
    else:
        raise NoFigures("The run keeps no test jets of its control region")
    try:
        sample = RunSample(test, control, run.settings, torch.device("cpu"))
        main, control_region = sample.scored_by(networks)
    except RunError as error:
        # The message of the error names folders of this machine.
        raise NoFigures("The run's settings cannot be used") from error
    counts = {f"jets_{label.output}": float(main.count(label)) for label in Label}
    return {**counts, **evaluate_test_sample(main, control_region, pt_ranges=sample.pt_ranges).numbers()}
