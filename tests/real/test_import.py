"""The earlier program's real networks as imported runs: reference scores, and damaged files."""

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from cal_ratio_trainer.config.runs import ImportSettings
from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.formats.registry import read_network
from cal_ratio_trainer.formats.stored_network import StoredNetwork
from cal_ratio_trainer.jets.cleaning import clean_for_training
from cal_ratio_trainer.jets.loading import read_jets
from cal_ratio_trainer.network.batch import JetTensors
from cal_ratio_trainer.network.classifier import scores_of
from cal_ratio_trainer.network.shape import DEFAULT_SHAPE
from cal_ratio_trainer.runs.finding import find_network
from cal_ratio_trainer.runs.import_run import ImportSummary, import_training
from tests.real.legacy_weights import legacy_weights

pytestmark = pytest.mark.real

SAMPLES = {
    "bib_pkl_as_is": "frames/bib.pkl",
    "felix_control_region": "frames/felix_control_region.pkl",
    "conv_sig_311314__as_sig": "reference/build/conv_sig_311314__as_sig.parquet",
    "conv_sig_311314__as_qcd": "reference/build/conv_sig_311314__as_qcd.parquet",
}
"""Reference scores -> the jets they were computed on."""

OUTPUTS = ("jet_nn_qcd", "jet_nn_sig", "jet_nn_bib")
TRAINED = "networks/trained/keras/final_model_weights_80.weights.h5"
FILES = {
    "networks/trained/keras/final_model.keras": "HDF5 of Keras 2.11.0, with architecture",
    TRAINED: "HDF5 of Keras 2.11.0, weights only",
    "networks/untrained_zip/keras/final_model.keras": "zip of Keras 2.13.1, with architecture",
    "networks/untrained_zip/keras/final_model_weights_1.keras": "HDF5 of Keras 2.13.1, weights only",
    "reference/deploy/fdeep_0.15.json": "frugally-deep JSON for version 0.15, 1 test jets",
    "reference/deploy/fdeep_0.20_minimal.json": "frugally-deep JSON for version 0.20 and later, 1 test jets",
}


@pytest.fixture(scope="module")
def runs(real: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, ImportSummary]:
    """The trained network as a run: of its folder, and of frugally-deep's files of either flavour."""
    folder = tmp_path_factory.mktemp("runs")
    paths = {
        "folder": "networks/trained",
        "fdeep_0.15": "reference/deploy/fdeep_0.15.json",
        "fdeep_0.20": "reference/deploy/fdeep_0.20_minimal.json",
    }
    return {
        name: import_training(ImportSettings.make(path=real / path, output_path=folder, model_name=name))
        for name, path in paths.items()
    }


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("source", ["folder", "fdeep_0.15", "fdeep_0.20"])
def test_the_trained_network_gives_its_reference_scores_through_the_imported_run(
    source: str, name: str, real: Path, runs: dict[str, ImportSummary]
) -> None:
    run = runs[source].run
    classifier = find_network(f"{source}/0/last", run.path.parent.parent).load()
    jets, _ = clean_for_training(read_jets(real / SAMPLES[name]))
    reference = pq.read_table(real / "reference" / "scores" / f"{name}.parquet")
    expected = np.stack([reference[column].to_numpy() for column in OUTPUTS], axis=1)
    scores = scores_of(classifier, JetTensors.from_jets([jets], torch.device("cpu")))
    assert len(scores) == len(expected) > 20
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-5)


def test_the_folder_of_the_trained_network_has_its_epoch_and_not_the_initial_weights(
    real: Path, runs: dict[str, ImportSummary]
) -> None:
    summary = runs["folder"]
    assert summary.epochs == (80,)
    expected = legacy_weights(real / TRAINED, DEFAULT_SHAPE)
    for name in ("folder/0", "folder/0/80", "folder/-1/last"):
        weights = find_network(name, summary.run.path.parent.parent).load().weights()
        assert all(np.array_equal(weights[key], values) for key, values in expected.items())
    initial = read_network(real / "networks" / "trained" / "keras" / "final_model.keras").weights
    assert not np.array_equal(initial["output.bias"], expected["output.bias"])


@pytest.mark.parametrize("name", FILES)
def test_every_real_file_is_told_by_its_content(name: str, real: Path, tmp_path: Path) -> None:
    copy = tmp_path / "network.txt"
    copy.write_bytes((real / name).read_bytes())
    found = read_network(copy)
    assert found.form == FILES[name]
    assert (found.shape, len(found.layer_names)) == (DEFAULT_SHAPE, 35)
    assert found.layer_names == read_network(real / "reference" / "deploy" / "fdeep_0.15.json").layer_names


def damaged(content: bytes, seed: int) -> bytes:
    """A file with bytes changed: mostly one, sometimes many, or cut off; more often near its start."""
    draw = random.Random(seed)
    if draw.random() < 0.1:
        return content[: draw.randrange(len(content))]
    changed = bytearray(content)
    for _ in range(draw.choice([1, 1, 2, 8, 40])):
        end = len(content) if draw.random() < 0.5 else min(len(content), 40_000)
        changed[draw.randrange(end)] = draw.randrange(256)
    return bytes(changed)


def outcomes(content: bytes, path: Path, seeds: range) -> Iterator[StoredNetwork | InputFileError]:
    """Results of reading a file damaged in several ways; other errors than a refusal are raised."""
    for seed in seeds:
        path.write_bytes(damaged(content, seed))
        try:
            yield read_network(path)
        except InputFileError as error:
            yield error


@pytest.mark.parametrize("name", FILES)
def test_damage_is_refused_in_a_sentence_or_changes_plain_weights_at_most(
    name: str, real: Path, tmp_path: Path
) -> None:
    """HDF5 has no checksums: there a changed byte of a weight changes this weight only.

    There are fewer HDF5 files, because each starts a process.
    """
    content = (real / name).read_bytes()
    good = read_network(real / name)
    refused, seeds = 0, range(10 if good.form.startswith("HDF5") else 60)
    for outcome in outcomes(content, tmp_path / "damaged", seeds):
        if isinstance(outcome, InputFileError):
            refused += 1
            assert "\n" not in str(outcome)
            assert len(str(outcome)) < 800
            continue
        assert outcome.shape == good.shape
        different = sum(int((outcome.weights[key] != values).sum()) for key, values in good.weights.items())
        assert different <= (0 if name.endswith("json") or "zip" in good.form else 40)
    assert refused > len(seeds) // 5
