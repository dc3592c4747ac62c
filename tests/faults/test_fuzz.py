"""Damaged inputs are read or refused with a sentence; no command crashes, hangs or ends with a traceback."""

import pytest

from tests.faults.campaign import run_campaign
from tests.faults.loaders import LOADERS

INPUTS = 300
SEED = 20261128

pytestmark = pytest.mark.faults


@pytest.mark.parametrize("name", sorted(LOADERS))
def test_damaged_files_are_refused_or_read(name: str) -> None:
    outcome = run_campaign(name, INPUTS, SEED)
    assert outcome.counts.total() == INPUTS
    assert not outcome.faults, "\n".join(outcome.faults[:20])
