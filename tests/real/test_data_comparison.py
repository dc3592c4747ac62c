"""Real jets side by side: frames of the earlier program with old names, rounded numbers and angles beyond pi."""

from pathlib import Path

import numpy as np
import pytest

from cal_ratio_trainer.config.plot import PlotSettings
from cal_ratio_trainer.reporting.jet_files import ComparedFile, Comparison, Quantity, compared

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def comparison(real: Path) -> Comparison:
    """BIB, the control region and converted signal."""
    frames = real / "frames"
    files = [f"bib={frames}/bib.pkl", f"cr={frames}/felix_control_region.pkl", f"sig={frames}/sig_311424_600_275.pkl"]
    return compared(PlotSettings.make(input_files=files))


def named(comparison: Comparison, name: str) -> ComparedFile:
    """The file of that name."""
    return next(file for file in comparison.files if file.name == name)


def test_each_file_is_taken_for_what_it_is(comparison: Comparison) -> None:
    assert [(file.name, file.is_control, file.built) for file in comparison.files] == [
        ("bib", False, True),
        ("cr", True, True),
        ("sig", False, False),
    ]
    assert named(comparison, "sig").masses == [(125.0, 5.0)]
    assert [named(comparison, "cr").jets_of(label) for label in (0, 1, 2)] == [226, 0, 223]


def test_scaled_and_unscaled_pt_have_figures_of_their_own(comparison: Comparison) -> None:
    units = [quantity.unit for quantity in comparison.common if quantity.name == "jet_pt"]
    assert units == ["scaled to 0-1", "GeV"]
    assert set(named(comparison, "sig").histograms) & {Quantity("jet_pt", "scaled to 0-1")} == set()


def test_all_common_variables_of_the_earlier_program_are_there(comparison: Comparison) -> None:
    for quantity in comparison.common:
        files = [file for file in comparison.files if quantity in file.histograms]
        assert files
        for file in files:
            total = file.total(quantity)
            assert total is not None
            assert 0 < total.jets <= file.rows
            assert sum(total.outside) < 0.05


def test_angles_beyond_pi_are_counted_and_do_not_stretch_the_axis(comparison: Comparison) -> None:
    control = named(comparison, "cr")
    assert control.survey.columns["clus_phi"].beyond_pi > 0
    (quantity,) = [each for each in comparison.common if each.name == "clus_phi_1"]
    assert np.abs(comparison.edges[quantity]).max() < np.pi
