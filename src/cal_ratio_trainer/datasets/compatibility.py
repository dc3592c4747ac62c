"""Whether files of jets can be trained on, alone and together; what cannot is refused before anything is learned."""

import math
from pathlib import Path

import numpy as np

from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.jets import JetScalars
from cal_ratio_trainer.jets.cleaning import refuse_impossible_pt
from cal_ratio_trainer.jets.metadata import LEGACY_SCALING, JetMetadata, Scaling

_LARGEST_SCALED_PT = 10.0
"""Median scaled jet pt: ten times the upper end of the range is no tail, it is GeV."""

_SMALLEST_PT_GEV = 1.0
"""A median below this is no jet's pt: the scaling was applied more than once."""

_ACCEPTANCE = ("min_jet_pt", "max_jet_pt", "max_abs_jet_eta")
"""Cuts that must be the same in both files; what else makes a control region (clean, leading jets) is its own."""


def refuse_wrong_scale(file: Path, jets: JetScalars, metadata: JetMetadata) -> None:
    """Refuse jets whose pt cannot have been scaled exactly once, or is physically impossible.

    Raises:
        InputFileError: the median pt is far above 1, or so small that the scaling was applied twice; or a pt is
            impossible (see `refuse_impossible_pt`).
    """
    known = jets["jet_pt"][np.isfinite(jets["jet_pt"])]
    median = float(np.median(known)) if len(known) else math.nan
    scaling = metadata.scaling or LEGACY_SCALING
    width = scaling.max_jet_pt - scaling.min_jet_pt
    if median > _LARGEST_SCALED_PT:
        raise InputFileError(
            file,
            f"has a median jet_pt of {median:.3g} where about 0 to 1 is expected: it is not scaled; build it first",
        )
    if median * width + scaling.min_jet_pt < _SMALLEST_PT_GEV:
        raise InputFileError(
            file,
            f"has a median jet_pt of {median:.3g}, which is {median * width + scaling.min_jet_pt:.3g} GeV: it was "
            "scaled more than once; build it anew from converted files",
        )
    refuse_impossible_pt(file, known.astype(np.float64) * width + scaling.min_jet_pt)


def refuse_other_scaling(file: Path, found: Scaling | None, wanted: Scaling, remedy: str) -> None:
    """Refuse jets that were scaled otherwise than a network wants them; what a file does not say is not compared.

    Args:
        file: that holds them.
        found: what it says.
        wanted: of the network's training file.
        remedy: what to do about it, for the message.

    Raises:
        InputFileError: they were; names both ranges.
    """
    if found is not None and found != wanted:
        raise InputFileError(
            file,
            f"is scaled with {found}, and the network reads jets scaled with {wanted}; {remedy}",
        )


def refuse_different_files(main: tuple[Path, JetMetadata], control: tuple[Path, JetMetadata]) -> None:
    """Refuse two files whose jets were made differently, as far as both files say how.

    Raises:
        InputFileError: names the control file: it comes from another simulation (e.g. the demo) than the main file, or
            has other scaling, units or cuts; lists all differences.
    """
    (main_file, first), (control_file, second) = main, control
    if first.simulation != second.simulation:
        here, there = (each.simulation or "no such simulation" for each in (second, first))
        raise InputFileError(
            control_file,
            f"holds jets of another simulation ({here}) than {main_file} ({there}): they are not trained on together",
        )
    differences = [
        *_different_scaling(first, second),
        *_different_units(first, second),
        *_different_cuts(first, second),
    ]
    if differences:
        raise InputFileError(
            control_file,
            f"was made differently from {main_file}, which the adversary would see: {'; '.join(differences)}",
        )


def _different_scaling(main: JetMetadata, control: JetMetadata) -> list[str]:
    if main.scaling is None or control.scaling is None or main.scaling == control.scaling:
        return []
    return [f"scaled from {control.scaling}, the main file from {main.scaling}"]


def _different_units(main: JetMetadata, control: JetMetadata) -> list[str]:
    both = [name for name in main.units if name in control.units and main.units[name] != control.units[name]]
    return [f"{name} in {control.units[name]}, in the main file {main.units[name]}" for name in both]


def _different_cuts(main: JetMetadata, control: JetMetadata) -> list[str]:
    found = []
    for name in _ACCEPTANCE:
        there, here = ({getattr(cuts, name) for cuts in file.cuts} - {None} for file in (main, control))
        if there and here and there != here:
            found.append(f"{name} {_in_words(here)}, in the main file {_in_words(there)}")
    return found


def _in_words(values: set[float]) -> str:
    return " and ".join(f"{value:g}" for value in sorted(values))
