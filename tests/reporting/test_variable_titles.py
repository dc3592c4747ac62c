"""Titles of the axes."""

import pytest

from cal_ratio_trainer.evaluation.variables import COUNTS, find_variable, known_names
from cal_ratio_trainer.jets.metadata import Scaling, built_units, converted_units
from cal_ratio_trainer.reporting.variable_titles import axis_title

UP_TO_500 = Scaling(min_jet_pt=0, max_jet_pt=500)


def title(name: str, unit: str, scaling: Scaling | None = None) -> str:
    """The title of a variable."""
    variable = find_variable([name], ["jet_pt", "jet_mass$", "mcEventWeight"])
    assert variable is not None
    return axis_title(variable, unit, scaling)


@pytest.mark.parametrize(
    ("name", "unit", "said"),
    [
        ("jet_pt", "GeV", "Jet $p_T$ [GeV]"),
        ("jet_pt", "scaled to 0-1", "Jet $p_T$ [500 GeV]"),
        ("clus_pt_0", "scaled to 0-1", "Leading cluster $p_T$ [500 GeV]"),
        ("clus_eta_1", "from the leading cluster", r"2nd cluster $\eta$ from the leading cluster"),
        ("track_phi_2", "rad from the jet", r"3rd track $\phi$ from the jet [rad]"),
        ("MSeg_t0_0", "ns", "1st muon segment $t_0$ [ns]"),
        ("MSeg_t0_10", "ns", "11th muon segment $t_0$ [ns]"),
        ("clus_l4hcal", "fraction of the cluster", "Cluster energy in HCal layer 4 [fraction of the cluster]"),
        ("track_z0", "250 mm", "Track $z_0$ [250 mm]"),
        ("track_SCTHits", "hits", "Track SCT hits"),
        ("n_muon_segments", "", "Number of muon segments"),
        ("mcEventWeight", "", "Event weight"),
        ("jet_mass$", "", r"jet_mass\$"),
    ],
)
def test_titles_are_a_physicist_s(name: str, unit: str, said: str) -> None:
    assert title(name, unit, UP_TO_500) == said


def test_a_scale_that_is_not_known_or_starts_above_zero_is_said_so() -> None:
    assert title("jet_pt", "scaled to 0-1") == "Jet $p_T$ [scaled to 0-1]"
    shifted = Scaling(min_jet_pt=40, max_jet_pt=500)
    assert title("jet_pt", "scaled to 0-1", shifted) == "Jet $p_T$ [scaled: 40–500 GeV to 0–1]"


@pytest.mark.parametrize("units", [converted_units(), built_units()])
def test_everything_that_has_a_unit_has_a_title_and_mathematics_that_closes(units: dict[str, str]) -> None:
    for name in [*known_names(["jet_pt"]), *(count.name for count in COUNTS)]:
        said = title(name, units.get(name, ""), UP_TO_500)
        assert said
        assert said.replace(r"\$", "").count("$") % 2 == 0
