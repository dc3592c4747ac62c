"""Common style of all figures."""

import subprocess
import sys

import numpy as np
import pytest

from cal_ratio_trainer.config.base import FigureSettings
from cal_ratio_trainer.jets.labels import DataType
from cal_ratio_trainer.jets.metadata import Cuts, DataTaking, JetMetadata, Normalisation
from cal_ratio_trainer.plotting import ATLAS_INTERNAL, DEMO, FigureLabels, figure_labels


def test_headings_say_what_the_data_are() -> None:
    assert (ATLAS_INTERNAL.experiment, ATLAS_INTERNAL.qualifiers) == ("ATLAS", "Internal")
    assert ATLAS_INTERNAL.conditions == ""
    known = FigureLabels("ATLAS", "Internal", 13, 139, simulation=False, years="2015–2018")
    assert known.conditions == "2015–2018, √$s$ = 13 TeV, 139 fb$^{-1}$"
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
        (None, None): ("ATLAS", False, None),
        ("demo", "demo"): ("demo", True, None),
        ("demo", None): both,
        (None, "demo"): both,
    }


def heading(*sources: DataTaking, **given: float) -> str:
    labels = figure_labels(FigureSettings.make(**given), *sources)
    return f"{labels.experiment} {labels.qualifiers}: {labels.conditions}"


def test_simulation_years_and_energy_come_from_the_jets_and_a_luminosity_from_a_setting_alone() -> None:
    labels, runs = np.array([0, 1, 2, 2]), np.array([300000, 310000, 348885, 276262])
    both = DataTaking.of_jets(labels, runs, None)
    simulation = DataTaking.of_jets(labels[:2], runs[:2], None)
    assert heading(both) == "ATLAS Internal: 2015, 2018, √$s$ = 13 TeV"
    assert heading(simulation, simulation) == "ATLAS Simulation Internal: √$s$ = 13 TeV"
    assert heading(simulation, both) == "ATLAS Internal: 2015, 2018, √$s$ = 13 TeV"
    assert heading(both, luminosity_fb=36.2, energy_tev=13.6).endswith("√$s$ = 13.6 TeV, 36.2 fb$^{-1}$")
    run_3 = DataTaking.of_runs([440000, 456000], [], None, False)
    assert heading(run_3) == "ATLAS Internal: 2022–2023, √$s$ = 13.6 TeV"
    assert heading(DataTaking.of_runs([348885, 430000], [], None, False)) == "ATLAS Internal: 2018, 2022"


def test_runs_that_are_not_known_say_nothing() -> None:
    labels = np.array([0, 2])
    for runs in (None, np.array([np.nan, 348885]), np.array([300000, np.nan]), np.array([300000, 1])):
        told = heading(DataTaking.of_jets(labels, runs, None))
        assert "TeV" not in told
        assert told.startswith("ATLAS Internal: ")
    assert heading() == heading(DataTaking()) == "ATLAS Internal: "


def test_a_record_gives_back_what_the_jets_are() -> None:
    known = DataTaking("other", is_simulation=True, years=(2018,), energies_tev=(13.0,))
    assert DataTaking.of_record(known.to_dict()) == known
    assert DataTaking.of_record({"simulation": None}) == DataTaking()


def test_no_figure_means_no_matplotlib() -> None:
    code = (
        "import sys, cal_ratio_trainer.plotting.scores, cal_ratio_trainer.plotting.histories; "
        "sys.exit('matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_metadata_of_a_file_say_what_it_holds() -> None:
    converted = JetMetadata(
        stage="converted", data_type=DataType.QCD, normalisation=Normalisation(run_numbers=[300000])
    )
    built = JetMetadata(stage="built", cuts=[Cuts(data_types=[DataType.SIGNAL]), Cuts(data_types=[DataType.BIB])])
    said = [heading(DataTaking.of_metadata(each)) for each in (converted, built, JetMetadata(stage="unknown"))]
    assert said == ["ATLAS Simulation Internal: √$s$ = 13 TeV", "ATLAS Internal: ", "ATLAS Internal: "]
