"""Names of the files of the earlier program, compared with those of a training."""

import re
from pathlib import Path

import pytest

from tests.training.manual_plots import EPOCH_PLOTS, FINAL_PLOTS, HISTORIES

pytestmark = pytest.mark.real

LISTING = "reference/output_listing_of_earlier_program.txt"

# The background's mH 0 counted as a mass.
NO_MASS = "SoverB_scan_mH0.0"


def plots_of_the_earlier_program(real: Path) -> set[str]:
    """Names of the plots of its first epoch and of its end, without ending and without its `_None`."""
    lines = (real / LISTING).read_text().splitlines()
    names = {match.group(1) for line in lines if (match := re.search(r"/00000: (.*)\.png", line))}
    assert len(names) > 50
    return {re.sub(r"_+None$", "", name) for name in names if not name.startswith("001_")}


def test_every_plot_of_the_earlier_program_is_among_those_that_a_training_leaves(real: Path) -> None:
    ours = {f"000_{name}" for name in EPOCH_PLOTS} | HISTORIES | FINAL_PLOTS
    assert plots_of_the_earlier_program(real) - ours == {NO_MASS}
