"""Writes trained networks in the formats that other programs read, with a card: `cr_trainer convert training`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cal_ratio_trainer.building.scaling import scale
from cal_ratio_trainer.config.runs import ConvertTrainingSettings
from cal_ratio_trainer.datasets.splits import EnsembleRule, FoldRule
from cal_ratio_trainer.formats.export import Exported, export_networks, output_files, output_of_set
from cal_ratio_trainer.formats.fdeep_file import is_sensitive
from cal_ratio_trainer.formats.model_card import FoldFacts, NetworkFacts
from cal_ratio_trainer.formats.onnx_graph import require_onnx
from cal_ratio_trainer.formats.probe_jets import (
    KnownScores,
    PaddedJets,
    constituent_inputs,
    drawn_jets,
    jet_inputs,
    padded_inputs,
    probes_of,
)
from cal_ratio_trainer.formats.registry import ALL, formats, formats_named
from cal_ratio_trainer.formats.self_check import NetworkToWrite, Probes
from cal_ratio_trainer.jets import Jets, Ragged
from cal_ratio_trainer.jets.cleaning import clean_for_training, with_missing_t0
from cal_ratio_trainer.jets.schema import GEV_A_TEV
from cal_ratio_trainer.network.batch import JetTensors
from cal_ratio_trainer.results import Result
from cal_ratio_trainer.runs.finding import find_networks
from cal_ratio_trainer.runs.network_facts import (
    NoFigures,
    data_facts,
    network_facts,
    run_settings,
    test_figures,
    test_jets_of,
)
from cal_ratio_trainer.runs.networks import NamedNetworks, Networks
from cal_ratio_trainer.runs.run import Run
from cal_ratio_trainer.runs.stored import RunError
from cal_ratio_trainer.runs.test_sample import TestJets

_PROBED_JETS = 128
_MIN_SENSITIVE = 12
"""Jets that are not saturated, of which those for frugally-deep's load check are taken."""
_ALL_SATURATED = "All its scores are near 0 or 1, so the check of frugally-deep on loading sees large mistakes only"
_MASS_SEED = 2019
_MAX_MASS_TEV = 1.0


@dataclass(frozen=True, repr=False)
class TrainingExport(Result):
    """Files of an export, and the network that they are of."""

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
    """Writes a network, or with `folds` all networks of a set, in the wanted formats, checked, with a card.

    An ensemble without `folds` becomes one file, with the mean of its members' scores.

    Raises:
        RunError: there is no such run or epoch; or `folds` is given for a single network, or not given for folds.
        InputFileError: a network file is missing, damaged or no network of this program.
        UnknownFormat: there is no format of this name.
        CannotHold, CannotAverage, ExportFailed, MissingOnnx, BadOpset, NonFiniteWeights: as
            `formats.export.export_networks`; nothing is left.
    """
    found = find_networks(settings.training, settings.output_path, settings.rule)
    rule = found.rule
    if isinstance(rule, FoldRule) and not settings.folds:
        raise RunError(
            f"{found.name.rpartition('/')[0]} is a set of {rule.count} networks: --folds writes all of them and "
            f"the rule which jet gets which; one of them is named like {found.files[0].name}"
        )
    if settings.folds and rule is None:
        raise RunError(f"{found.name} is no fold set or ensemble, so --folds has nothing to write; leave it out")
    if any(each.name == "onnx" for each in formats_named(settings.format)):
        require_onnx()
    loaded = found.load()
    parts = [(found.files[0], loaded, settings.output_json)]
    if rule is not None and settings.folds:
        parts = [
            (file, network, output_of_set(settings.output_json, rule.word, number))
            for number, (file, network) in enumerate(zip(found.files, loaded.members, strict=True))
        ]
    networks = []
    for number, (file, together, output) in enumerate(parts):
        first, *others = together.classifiers
        test = test_jets_of(file.folder)
        facts = network_facts(file, first, test)
        probes = _probes_for(together, facts, test, converted=settings.with_preprocessing)
        if not is_sensitive(probes.scaled.scores).any():
            facts = replace(facts, notes=(*facts.notes, _ALL_SATURATED))
        files = output_files(output, settings.format)
        if settings.format == ALL:
            padding = facts.preprocessing.padding
            holding = {name for name, each in formats().items() if each.holds(first.shape, padding)}
            averaging = {name for name, each in formats().items() if each.averages or not others}
            files = {name: path for name, path in files.items() if name in holding & averaging}
        if isinstance(rule, EnsembleRule) and others:
            facts = _facts_of_set(found, loaded, [facts])
        details = {rule.word: number} if rule is not None and settings.folds else {}
        averaged_with = tuple(each.weights() for each in others)
        weights, scales_jets = first.weights(), settings.with_preprocessing
        networks.append(
            NetworkToWrite(facts, weights, probes, files, details, averaged_with, settings.opset, scales_jets)
        )
    facts = networks[0].facts
    if rule is not None and settings.folds:
        facts = _facts_of_set(found, loaded, [network.facts for network in networks])
    exported = export_networks(networks, facts, settings.output_json)
    notes = facts.notes if facts.folds is None else (facts.folds.sentence, *facts.notes)
    return TrainingExport(facts.name, notes, exported)


def _probes_for(networks: Networks, facts: NetworkFacts, test: TestJets | None, converted: bool) -> Probes:
    """Jets of the run's own test part, where it has one, else drawn ones; those as converted are always drawn.

    Drawn ones stand behind a test part that has too few jets for the load check, or none but saturated ones.
    """
    drawn, fillings = probes_of(drawn_jets(_PROBED_JETS, networks.shape.schema), _PROBED_JETS)
    built = _built(drawn, facts, test)
    scaled = _known_scores(networks, built)
    as_converted = None
    if converted:
        masses = _masses(len(drawn), networks.shape.masses)
        in_gev = None if masses is None else masses * np.float32(GEV_A_TEV)
        inputs = PaddedJets((*constituent_inputs(drawn, networks.shape), jet_inputs(drawn, in_gev)))
        as_converted = KnownScores(inputs, scaled.scores)
    if test is not None and len(test.jets):
        own_jets, own_fillings = probes_of(test.jets, _PROBED_JETS)
        own = _known_scores(networks, own_jets)
        is_enough = np.count_nonzero(is_sensitive(own.scores)) >= _MIN_SENSITIVE
        scaled = own if is_enough else own.followed_by(scaled)
        fillings = own_fillings if is_enough else np.concatenate([own_fillings, fillings])
    return Probes(scaled, fillings, as_converted)


def _known_scores(networks: Networks, jets: Jets) -> KnownScores:
    masses = _masses(len(jets), networks.shape.masses)
    scores = networks.scores(jets, JetTensors.from_jets([jets], torch.device("cpu"), masses), "the jets of the check")
    return KnownScores(padded_inputs(jets, networks.shape, masses), scores)


def _built(converted: Jets, facts: NetworkFacts, test: TestJets | None) -> Jets:
    """Converted jets after `build` and the loading for training."""
    scaled = scale(converted, facts.preprocessing.scaling).jets
    if facts.preprocessing.missing_t0 is not None:
        lists, _ = with_missing_t0(scaled.constituents, facts.preprocessing.missing_t0)
        scaled = replace(scaled, constituents=lists)
    jets, _ = clean_for_training(scaled)
    if test is None:
        return jets
    lists = {
        name: Ragged(ragged.values, ragged.offsets, test.padding[name]) for name, ragged in jets.constituents.items()
    }
    return replace(jets, constituents=lists)


def _masses(jets: int, count: int) -> NDArray[np.float32] | None:
    if not count:
        return None
    drawn = np.random.default_rng(_MASS_SEED).uniform(0, _MAX_MASS_TEV, (jets, count))
    masses: NDArray[np.float32] = drawn.astype(np.float32)
    return masses


def _facts_of_set(found: NamedNetworks, loaded: Networks, facts: Sequence[NetworkFacts]) -> NetworkFacts:
    """Facts of a set from those of its networks."""
    assert found.folder is not None, "a set of networks has a folder"
    run, rule = Run(found.folder), found.rule
    notes = dict.fromkeys(note for each in facts for note in each.notes)
    if isinstance(rule, EnsembleRule):
        seeds = ", ".join(str(each.read_record().get("seed")) for each in run.networks)
        sentence = (
            f"{found.name} is an ensemble of {rule.count} networks (seeds {seeds}): its scores are the mean of theirs"
        )
        notes = {sentence: None} | notes
    figures: dict[str, float] = {}
    try:
        figures = test_figures(run, run_settings(run), loaded, test_jets_of(run.path))
    except NoFigures as error:
        notes[f"{error}, so there are no figures of merit"] = None
    return replace(
        facts[0],
        name=found.name,
        training={**facts[0].training, "run": run.name, "epoch": [file.epoch for file in found.files]},
        data=data_facts(run.read_record()) or facts[0].data,
        figures=figures,
        notes=tuple(notes),
        folds=FoldFacts(run.name, rule.expression, rule.count) if isinstance(rule, FoldRule) else None,
    )
