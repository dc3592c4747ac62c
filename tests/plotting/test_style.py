"""Common style of all figures."""

import subprocess
import sys

import pytest

from cal_ratio_trainer.config.base import FigureSettings
from cal_ratio_trainer.plotting import ATLAS_INTERNAL, DEMO, FigureLabels, figure_labels


def test_headings_say_what_the_data_are() -> None:
    assert (ATLAS_INTERNAL.experiment, ATLAS_INTERNAL.qualifiers) == ("ATLAS", "Internal")
    assert ATLAS_INTERNAL.conditions == "√$s$ = 13 TeV, 139 fb$^{-1}$"
    assert FigureLabels("ATLAS", "Preliminary", 13.6, None, simulation=True).qualifiers == "Simulation Preliminary"
    assert FigureLabels("ATLAS", "", None, None, simulation=False).conditions == ""


def test_the_demo_is_called_a_simulation_and_has_no_luminosity() -> None:
    assert f"{DEMO.experiment} {DEMO.qualifiers}" == "demo simulation"
    assert "fb" not in DEMO.conditions
    with pytest.raises(ValueError, match="no luminosity"):
        FigureLabels("demo", "", 13, 139, simulation=True)
    with pytest.raises(ValueError, match="simulation"):
        FigureLabels("Demo", "", 13, None, simulation=False)


def test_jets_of_the_experiment_are_never_called_the_demo_s_nor_these_the_experiment_s() -> None:
    told = {}
    for simulations in ((None, None), ("demo", "demo"), ("demo", None), (None, "demo")):
        labels = figure_labels(FigureSettings.make(), *simulations)
        told[simulations] = (labels.experiment, labels.simulation, labels.luminosity_fb)
    both = ("ATLAS and demo simulation", False, None)
    assert told == {
        (None, None): ("ATLAS", False, 139),
        ("demo", "demo"): ("demo", True, None),
        ("demo", None): both,
        (None, "demo"): both,
    }


def test_no_figure_means_no_matplotlib() -> None:
    code = (
        "import sys, cal_ratio_trainer.plotting.scores, cal_ratio_trainer.plotting.histories; "
        "sys.exit('matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
