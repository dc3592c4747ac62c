"""Small trainings on the demo that have to learn: each encoder separates signal, each agreement lowers its distance.

The demo's data and simulation differ three times as much as usual, so that 150 steps show the effect. All seeds are
fixed. Margins are several times the spread between seeds, since rounding differs between processors.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.integrate import trapezoid
from sklearn.metrics import roc_auc_score

import cal_ratio_trainer as crt
from cal_ratio_trainer.files.cache import DemoFiles
from cal_ratio_trainer.jets.labels import CONTROL_DATA, CONTROL_MC, Label
from cal_ratio_trainer.simulation.demo_data import make_demo_files
from tests.factories.runs import train_small

pytestmark = pytest.mark.slow

_STEPS: dict[str, Any] = {"epochs": 6, "num_splits": 25, "learning_rate": 0.002, "train_fraction": 0.9}
_LARGEST_LOSS_OF_AUC = 0.06


class Trained:
    """Scores of all jets of the demo by a trained network, judged without the program's own statistics.

    Attributes:
        auc: area under the curve of signal against QCD and a tenth of BIB.
        gaps: by output, area between the cumulative distributions of log-odds of data and of simulation.
    """

    def __init__(self, run: Path, files: DemoFiles) -> None:
        opened = crt.open_run(run)
        main, control = (crt.read_jets(file) for file in (files.main, files.control))
        # A tenth of BIB, as in the figures of a run.
        shares = np.where(main["label"] == Label.BIB, 0.1, 1.0)
        signal_output = opened.score(main)[:, Label.SIGNAL]
        self.auc = roc_auc_score(main["label"] == Label.SIGNAL, signal_output, sample_weight=shares)
        scores = np.clip(opened.score(control).astype(np.float64), 1e-6, 1 - 1e-6)
        log_odds, weights = np.log(scores) - np.log1p(-scores), control["mcEventWeight"].astype(np.float64)
        kinds = [control["label"] == label for label in (CONTROL_MC, CONTROL_DATA)]
        self.gaps = {output: _gap(log_odds[:, output], weights, kinds) for output in Label}
        self.distance = sum(self.gaps.values())


def _gap(values: NDArray[np.float64], weights: NDArray[np.float64], kinds: list[NDArray[np.bool_]]) -> float:
    """Area between two weighted cumulative distributions, in standard deviations of the values."""
    places = np.linspace(values.min(), values.max(), 1000)
    mc, data = (
        np.array([weights[kind & (values <= place)].sum() for place in places]) / weights[kind].sum() for kind in kinds
    )
    return float(trapezoid(np.abs(mc - data), places) / values.std())


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> DemoFiles:
    """2,000 jets of each class, and as many of simulation and of data in the control region."""
    folder = tmp_path_factory.mktemp("demo") / "files"
    make_demo_files(folder, 2000, 2000, workers=1, mismodelling=3.0)
    return DemoFiles(folder)


@pytest.fixture(scope="module")
def without_plots() -> Iterator[None]:
    """Trainings draw nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cal_ratio_trainer.training.run_plots.DrawingPool.submit", lambda *given, **more: None)
        yield


def trained(files: DemoFiles, folder: Path, **changes: Any) -> Trained:
    run = train_small((files.main, files.control), folder, **{**_STEPS, **changes})
    return Trained(run.path, files)


@pytest.fixture(scope="module")
def plain(files: DemoFiles, without_plots: None, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The network that is trained without agreement, with the encoder 'lstm'."""
    return trained(files, tmp_path_factory.mktemp("plain"), agreement="none")


def test_the_lstm_separates_signal_far_better_than_chance(plain: Trained) -> None:
    assert plain.auc > 0.9


@pytest.mark.usefixtures("without_plots")
@pytest.mark.parametrize(
    ("encoder", "options", "learning_rate"),
    [("deep_sets", [], 0.004), ("transformer", ["width=16", "layers=1", "heads=2"], 0.002)],
)
def test_other_encoders_separate_signal_far_better_than_chance(
    encoder: str, options: list[str], learning_rate: float, files: DemoFiles, tmp_path: Path
) -> None:
    more = {"encoder_options": options, "learning_rate": learning_rate}
    assert trained(files, tmp_path, agreement="none", encoder=encoder, **more).auc > 0.9


@pytest.mark.usefixtures("without_plots")
@pytest.mark.parametrize(("agreement", "strength"), [("adversary", 1.0), ("distance", 2.7), ("reversal", 1.0)])
def test_each_agreement_lowers_the_distance_of_data_and_simulation_at_little_loss_of_auc(
    agreement: str, strength: float, plain: Trained, files: DemoFiles, tmp_path: Path
) -> None:
    found = trained(files, tmp_path, agreement=agreement, agreement_strength=strength)
    assert found.distance < 0.6 * plain.distance
    assert found.auc > plain.auc - _LARGEST_LOSS_OF_AUC
