"""Which cuts the jets of a training file passed, and whether they are the same for all."""

import logging
from collections.abc import Sequence
from typing import Any

from cal_ratio_trainer.building.scan import ScannedFile
from cal_ratio_trainer.jets.metadata import Cuts

_log = logging.getLogger(__name__)

_OF_EVERY_JET = ("min_jet_pt", "max_jet_pt", "max_abs_jet_eta", "require_clean_jets")
"""Cuts that no class of a training file may have of its own: the network would learn them."""


def cuts_of(files: Sequence[ScannedFile]) -> list[Cuts]:
    """The different selections of the jets that are taken, each with the data types that went through it."""
    found: list[tuple[dict[str, Any], list[Any]]] = []
    for file in files:
        if not len(file.taken):
            continue
        for cuts in file.metadata.cuts or [_from_options(file)]:
            content = cuts.model_dump(exclude={"data_types"})
            before, now = cuts.event_filter, file.source.request.event_filter
            content["event_filter"] = f"({before}) and ({now})" if before and now else before or now
            types = cuts.data_types or ([file.data_type] if file.data_type is not None else [])
            for known, of_types in found:
                if known == content:
                    of_types += [each for each in types if each not in of_types]
                    break
            else:
                found.append((content, list(types)))
    return [Cuts(**content, data_types=types) for content, types in found]


def cut_notes(files: Sequence[ScannedFile]) -> list[str]:
    """A warning where jets of one training file passed different cuts on pt, eta or cleaning, as far as known."""
    all_cuts = cuts_of(files)
    notes = []
    for name in _OF_EVERY_JET:
        types: dict[Any, list[str]] = {}
        for cuts in all_cuts:
            if getattr(cuts, name) is not None:
                types.setdefault(getattr(cuts, name), []).extend(cuts.data_types)
        if len(types) > 1:
            said = "; ".join(f"{value} ({', '.join(dict.fromkeys(those))})" for value, those in types.items())
            notes.append(f"the inputs were converted with different {name}, which a network can learn: {said}")
    for note in notes:
        _log.warning("%s", note)
    return notes


def _from_options(file: ScannedFile) -> Cuts:
    """Those of a file that was converted before cuts were kept on their own."""
    options = file.metadata.options
    given = {name: options[name] for name in ("min_jet_pt", "max_jet_pt", "max_hlt_delta_r") if name in options}
    return Cuts(**given)
