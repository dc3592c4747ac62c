"""Writes trained networks in the formats that other programs read, with a card: `cr_trainer convert training`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cal_ratio_trainer.building.scaling import scale
from cal_ratio_trainer.config.runs import ConvertTrainingSettings
from cal_ratio_trainer.formats.export import (
    Exported,
    NetworkToWrite,
    OnnxOptions,
    Probes,
    export_network,
    export_networks,
    fold_output,
    output_files,
)
from cal_ratio_trainer.formats.fdeep_file import is_sensitive
from cal_ratio_trainer.formats.model_card import FoldFacts, NetworkFacts
from cal_ratio_trainer.formats.onnx_graph import require_onnx
from cal_ratio_trainer.formats.probe_jets import (
    NetworkInputs,
    constituent_inputs,
    drawn_jets,
    jet_inputs,
    padded_inputs,
    probes_of,
)
from cal_ratio_trainer.formats.self_check import KnownScores
from cal_ratio_trainer.jets import Jets, Ragged
from cal_ratio_trainer.jets.cleaning import clean_for_training, with_missing_t0
from cal_ratio_trainer.jets.schema import GEV_A_TEV
from cal_ratio_trainer.network.batch import JetTensors
from cal_ratio_trainer.network.classifier import Classifier
from cal_ratio_trainer.network.scoring import scores_of
from cal_ratio_trainer.results import Result
from cal_ratio_trainer.runs.directory import RunError
from cal_ratio_trainer.runs.network_facts import (
    NoFigures,
    data_facts,
    network_facts,
    run_settings,
    test_figures,
    test_jets_of,
)
from cal_ratio_trainer.runs.networks import NamedFolds, NamedNetwork, find_network, find_networks
from cal_ratio_trainer.runs.test_sample import TestJets

_PROBED_JETS = 128
_FEWEST_SENSITIVE = 12
"""Jets that are not saturated, of which those for frugally-deep's load check are taken."""
_ALL_SATURATED = "All its scores are near 0 or 1, so the check of frugally-deep on loading sees large mistakes only"
_MASS_SEED = 2019
_LARGEST_MASS_TEV = 1.0


@dataclass(frozen=True, repr=False)
class TrainingExport(Result):
    """What was written, and the network that it is of."""

    name: str
    notes: tuple[str, ...]
    exported: Exported

    @property
    def headline(self) -> str:
        """See `Result`."""
        return f"{self.name} as {', '.join(map(str, self.exported.paths))}"

    def records(self) -> Sequence[Mapping[str, Any]]:
        """One row per file."""
        files = zip(self.exported.paths, self.exported.files, strict=True)
        return [{"path": path, **vars(file)} for path, file in files]


def export_training(settings: ConvertTrainingSettings) -> TrainingExport:
    """Find a network, write it in the wanted formats, check each file, and write the card.

    Raises:
        RunError: there is no such run or epoch.
        InputFileError: its .keras file is missing, damaged or no network of ours.
        ExportFailed, MissingOnnx, BadOpset, NonFiniteWeights: as `formats.export.export_network`; nothing is left.
    """
    files = output_files(settings.output_json, settings.format)
    if "onnx" in files:
        require_onnx()
    network = find_network(settings.training, settings.output_path, settings.rule)
    classifier = network.load()
    test = test_jets_of(network.run)
    facts = network_facts(network, classifier, test)
    probes = probes_for(classifier, facts, test, converted=settings.with_preprocessing)
    facts = with_note_of(probes, facts)
    options = OnnxOptions(settings.opset, settings.with_preprocessing)
    exported = export_network(files, facts, classifier.weights(), probes, options)
    return TrainingExport(facts.name, told_of(facts), exported)


def with_note_of(probes: Probes, facts: NetworkFacts) -> NetworkFacts:
    """The facts, with a note where no jet of the load check is a sensitive one."""
    if is_sensitive(probes.scaled.scores).any():
        return facts
    return replace(facts, notes=(*facts.notes, _ALL_SATURATED))


def told_of(facts: NetworkFacts) -> tuple[str, ...]:
    """What a user should know of what was written, a sentence each."""
    return facts.notes if facts.folds is None else (facts.folds.sentence, *facts.notes)


def probes_for(classifier: Classifier, facts: NetworkFacts, test: TestJets | None, converted: bool) -> Probes:
    """Jets of the run's own test part, where it has one, else drawn ones; those as converted are always drawn.

    Drawn ones stand behind a test part that has too few jets for the load check, or none but saturated ones.
    """
    drawn, fillings = probes_of(drawn_jets(_PROBED_JETS), _PROBED_JETS)
    built = _built(drawn, facts, test)
    scaled = _known_scores(classifier, built)
    as_converted = None
    if converted:
        masses = _masses(len(drawn), classifier.shape.masses)
        as_converted = KnownScores(_converted_inputs(drawn, classifier, masses), scaled.scores)
    if test is not None and len(test.jets):
        own_jets, own_fillings = probes_of(test.jets, _PROBED_JETS)
        own = _known_scores(classifier, own_jets)
        is_enough = np.count_nonzero(is_sensitive(own.scores)) >= _FEWEST_SENSITIVE
        scaled = own if is_enough else own.followed_by(scaled)
        fillings = own_fillings if is_enough else np.concatenate([own_fillings, fillings])
    return Probes(scaled, fillings, as_converted)


def _known_scores(classifier: Classifier, jets: Jets) -> KnownScores:
    masses = _masses(len(jets), classifier.shape.masses)
    return KnownScores(padded_inputs(jets, classifier.shape, masses), _scores(classifier, jets, masses))


def _built(converted: Jets, facts: NetworkFacts, test: TestJets | None) -> Jets:
    """What `build`, and then the loading for training, make of converted jets."""
    scaled = scale(converted, facts.preprocessing.scaling).jets
    if facts.preprocessing.missing_t0 is not None:
        scaled, _ = with_missing_t0(scaled, facts.preprocessing.missing_t0)
    jets, _ = clean_for_training(scaled)
    if test is None:
        return jets
    lists = {
        name: Ragged(ragged.values, ragged.offsets, test.padding[name]) for name, ragged in jets.constituents.items()
    }
    return replace(jets, constituents=lists)


def _converted_inputs(jets: Jets, classifier: Classifier, masses: NDArray[np.float32] | None) -> NetworkInputs:
    in_gev = None if masses is None else masses * np.float32(GEV_A_TEV)
    return NetworkInputs((*constituent_inputs(jets, classifier.shape), jet_inputs(jets, in_gev)))


def _masses(jets: int, count: int) -> NDArray[np.float32] | None:
    if not count:
        return None
    drawn = np.random.default_rng(_MASS_SEED).uniform(0, _LARGEST_MASS_TEV, (jets, count))
    masses: NDArray[np.float32] = drawn.astype(np.float32)
    return masses


def _scores(classifier: Classifier, jets: Jets, masses: NDArray[np.float32] | None) -> NDArray[np.float32]:
    return scores_of(classifier, JetTensors.from_jets([jets], torch.device("cpu"), masses))


def write_training(settings: ConvertTrainingSettings) -> TrainingExport:
    """Write the network, or with `folds` every network of a set, in the wanted formats with the card.

    Raises:
        RunError: there is no such run or epoch; or `folds` is given without a fold set, or the other way round.
        InputFileError, ExportFailed, MissingOnnx, BadOpset, NonFiniteWeights: as `export_training`; nothing is left.
    """
    found = find_networks(settings.training, settings.output_path, settings.rule)
    if isinstance(found, NamedFolds) and settings.folds:
        return _export_folds(found, settings)
    if isinstance(found, NamedFolds):
        count, first = found.fold_set.rule.count, found.networks[0].name
        raise RunError(
            f"{found.run.name} is a set of {count} networks: --folds writes all of them and the rule which jet gets "
            f"which; one of them is named like {first}"
        )
    if settings.folds:
        raise RunError(f"{found.name} is no fold set, so --folds has nothing to write; leave it out")
    return export_training(settings)


def _export_folds(found: NamedFolds, settings: ConvertTrainingSettings) -> TrainingExport:
    networks = [_to_write(fold, network, settings) for fold, network in enumerate(found.networks)]
    facts = _facts_of_set(found, [network.facts for network in networks])
    options = OnnxOptions(settings.opset, settings.with_preprocessing)
    exported = export_networks(networks, facts, settings.output_json, options)
    return TrainingExport(facts.name, told_of(facts), exported)


def _to_write(fold: int, network: NamedNetwork, settings: ConvertTrainingSettings) -> NetworkToWrite:
    classifier, test = network.load(), test_jets_of(network.run)
    facts = network_facts(network, classifier, test)
    probes = probes_for(classifier, facts, test, converted=settings.with_preprocessing)
    return NetworkToWrite(
        files=output_files(fold_output(settings.output_json, fold), settings.format),
        facts=with_note_of(probes, facts),
        weights=classifier.weights(),
        probes=probes,
        details={"fold": fold},
    )


def _facts_of_set(found: NamedFolds, facts: Sequence[NetworkFacts]) -> NetworkFacts:
    rule, notes = found.fold_set.rule, dict.fromkeys(note for each in facts for note in each.notes)
    figures: dict[str, float] = {}
    try:
        test = test_jets_of(found.run)
        figures = test_figures(found.run, run_settings(found.run), found.load(), test)
    except NoFigures as error:
        notes[f"{error}, so there are no figures of merit"] = None
    training: Mapping[str, Any] = {
        **facts[0].training,
        "run": found.run.name,
        "epoch": [network.epoch for network in found.networks],
    }
    return replace(
        facts[0],
        name=found.name,
        training=training,
        data=data_facts(found.run.read_record()) or facts[0].data,
        figures=figures,
        notes=tuple(notes),
        folds=FoldFacts(found.run.name, rule.expression, rule.count),
    )
