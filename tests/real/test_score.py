"""Real jets through the library calls of `cr_trainer score` and `cr_trainer compare`."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import uproot

from cal_ratio_trainer.config.scoring import CompareSettings
from cal_ratio_trainer.formats.keras_file import write_keras
from cal_ratio_trainer.network.shape import DEFAULT_SHAPE
from cal_ratio_trainer.scoring.compare import compare
from cal_ratio_trainer.scoring.score import score_files
from tests.real.legacy_weights import legacy_weights
from tests.real.test_reference_scores import OUTPUTS, SAMPLES
from tests.scoring.small import score_settings, scores_in

pytestmark = pytest.mark.real

SIGNAL = "ntuples/sig_311314_bad_object_small.root"
OFFICIAL = "jet_nn_calRatio_main_{}_lowMass_v3Adv"


@pytest.fixture(scope="module")
def network(real: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The earlier program's trained network as a file of ours."""
    weights = legacy_weights(real / "networks/trained/keras/final_model_weights_80.weights.h5", DEFAULT_SHAPE)
    file = tmp_path_factory.mktemp("network") / "trained.keras"
    write_keras(file, DEFAULT_SHAPE, weights)
    return file


def reference(real: Path, name: str) -> np.ndarray:
    """The earlier program's scores of a sample, [jets, 3]."""
    table = pq.read_table(real / "reference" / "scores" / f"{name}.parquet")
    return np.stack([table[column].to_numpy() for column in OUTPUTS], axis=1)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_file_gets_the_scores_of_the_earlier_program(name: str, real: Path, network: Path, tmp_path: Path) -> None:
    (scored,) = score_files(score_settings(tmp_path, [real / SAMPLES[name]], network)).files
    assert scored.output is not None
    np.testing.assert_allclose(scores_in(pq.read_table(scored.output)), reference(real, name), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"data_type": "qcd"}, "conv_sig_311314__as_qcd"),
        ({"data_type": "sig"}, "conv_sig_311314__as_sig"),
        ({}, "conv_sig_311314__as_qcd"),
    ],
)
def test_an_ntuple_gets_the_scores_of_the_earlier_program(
    given: dict[str, str], name: str, real: Path, network: Path, tmp_path: Path
) -> None:
    (scored,) = score_files(score_settings(tmp_path, [real / SIGNAL], network, **given)).files
    assert scored.output is not None
    np.testing.assert_allclose(scores_in(pq.read_table(scored.output)), reference(real, name), rtol=0, atol=1e-5)


def test_the_official_scores_of_an_ntuple_go_along(real: Path, network: Path, tmp_path: Path) -> None:
    (scored,) = score_files(score_settings(tmp_path, [real / SIGNAL], network)).files
    assert scored.output is not None
    table = pq.read_table(scored.output)
    assert len(table) == 109
    with uproot.open(real / SIGNAL) as file:
        tree = file["trees_DV_"]
        for mass in ("lowMass", "highMass"):
            for output in ("qcd", "sig", "bib"):
                branch = f"jet_nn_calRatio_main_{output}_{mass}_v3Adv"
                lists = tree[branch].array(library="np")
                found = table.column(branch).to_numpy()
                # C++ scored the 109 jets that are kept; the others have -1.
                assert (found >= 0).all()
                assert sum(int((values >= 0).sum()) for values in lists) == 109
                entries, places = table.column("source_entry").to_pylist(), table.column("jet_index").to_pylist()
                expected = [lists[entry][place] for entry, place in zip(entries, places, strict=True)]
                np.testing.assert_array_equal(found, expected)


def test_official_scores_of_another_network_are_compared_and_no_input_is_blamed(
    real: Path, network: Path, tmp_path: Path
) -> None:
    settings = CompareSettings.make(
        first=str(network),
        input_files=[str(real / SIGNAL)],
        column=OFFICIAL,
        output_report=tmp_path / "report.md",
        threads=1,
    )
    summary = compare(settings)
    assert len(summary.samples["main"].jets) == 109
    assert summary.explanation is not None
    assert summary.explanation.sentences()[0].startswith("No single change")


def test_the_control_region_of_2016_is_compared_with_the_official_scores_in_it(
    real: Path, network: Path, tmp_path: Path
) -> None:
    settings = CompareSettings.make(
        first=str(network),
        input_files=[str(real / "frames/felix_control_region.pkl")],
        column=OFFICIAL,
        explain=False,
        replicas=20,
        output_report=tmp_path / "report.md",
        threads=1,
    )
    sample = compare(settings).samples["control"]
    assert len(sample.jets) == 226 + 223
    assert sample.ks is not None
    assert {name: found.jets for name, found in sample.by_class.items()} == {"mc": 226, "data": 223}
    assert sample.jets.second.sum(axis=1) == pytest.approx(1, abs=1e-4)
