"""`cr_trainer convert training`: one network, or all networks of a fold set with the rule that C++ must follow."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from cal_ratio_trainer.config.convert_training import ConvertTrainingSettings
from cal_ratio_trainer.formats.export import (
    NetworkToWrite,
    OnnxOptions,
    export_networks,
    fold_output,
    output_files,
)
from cal_ratio_trainer.formats.model_card import FoldFacts, NetworkFacts
from cal_ratio_trainer.runs.directory import RunError
from cal_ratio_trainer.runs.fold_networks import NamedFolds, find_networks
from cal_ratio_trainer.runs.network_export import TrainingExport, export_training, probes_for, told_of, with_note_of
from cal_ratio_trainer.runs.network_facts import (
    NoFigures,
    data_facts,
    network_facts,
    run_settings,
    test_figures,
    test_jets_of,
)
from cal_ratio_trainer.runs.network_names import NamedNetwork


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
