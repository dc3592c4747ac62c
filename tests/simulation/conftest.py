"""One small demo for all tests of this folder."""

from pathlib import Path

import pytest

from cal_ratio_trainer.config.convert import DemoSettings
from cal_ratio_trainer.simulation import DemoSummary, simulate

JETS = 400
CONTROL_JETS = 300
SEED = 3


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> DemoSummary:
    """400 jets of each main class and 300 of each control class."""
    return simulate(demo_settings(tmp_path_factory.mktemp("demo") / "ntuples"))


def demo_settings(output: Path, seed: int = SEED, workers: int = 1) -> DemoSettings:
    """The settings of the small demo."""
    return DemoSettings.make(output_path=output, jets=JETS, control_jets=CONTROL_JETS, seed=seed, workers=workers)
