"""Settings of control regions: their files by name, and their shares in the loss."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator

_REGION_NAME = r"[A-Za-z0-9][\w.+-]*"


def named_regions(given: Any) -> Any:
    """Returns files of control regions as one file without a name or as a mapping by name; anything else unchanged.

    Args:
        given: a file, a mapping, or a list of 'NAME=FILE' and plain files, which are named after the file.

    Raises:
        ValueError: a name comes twice or cannot be one; several files and no name for one of them; no file.

    >>> named_regions(["dijets=a.parquet", "data/ttbar.parquet"])
    {'dijets': 'a.parquet', 'ttbar': 'data/ttbar.parquet'}
    """
    if not isinstance(given, dict | list | tuple):
        return given
    if not given:
        raise ValueError("names no file; null is for no control region")
    if not isinstance(given, dict) and "" in given:
        raise ValueError("should be NAME=FILE or a file, got ''")
    pairs: list[tuple[str, str]] = []
    if isinstance(given, dict):
        if without := [name for name, file in given.items() if not isinstance(file, str | Path) or not str(file)]:
            raise ValueError(f"region {without[0]!r} has no file")
        pairs = [(str(name), str(file)) for name, file in given.items()]
    else:
        for each in map(str, given):
            found = re.fullmatch(rf"({_REGION_NAME})=(.+)", each)
            if found is None and len(given) == 1:
                return each
            stem = re.split(r"[/\\]", each)[-1].rpartition(".")[0] or each
            pairs.append((found[1], found[2]) if found else (stem, each))
    regions: dict[str, str] = {}
    for name, file in pairs:
        if not re.fullmatch(_REGION_NAME, name):
            raise ValueError(
                f"{name!r} of {file} is no usable name of a region (letters, digits, _ . + -); give NAME=FILE"
            )
        if name in regions:
            raise ValueError(f"two control regions are called {name}: {regions[name]} and {file}")
        regions[name] = file
    return regions


def _region_shares(given: Any) -> Any:
    """Returns shares of control regions as a mapping; anything but a list or mapping unchanged.

    Args:
        given: a mapping by name, or a list of 'NAME=NUMBER'.

    Raises:
        ValueError: a word is no NAME=NUMBER, a region has two shares, or there is none.
    """
    if not isinstance(given, dict | list | tuple):
        return given
    if not given:
        raise ValueError("names no region; null is for equal shares")
    if isinstance(given, dict):
        return given
    pairs = [(each, *str(each).partition("=")) for each in given]
    if wrong := [each for each, name, equals, number in pairs if not (name and equals and number)]:
        raise ValueError(f"should be NAME=NUMBER, got {wrong[0]!r}")
    shares: dict[str, str] = {}
    for _, name, _, number in pairs:
        if name in shares:
            raise ValueError(f"region {name} has two shares, {shares[name]} and {number}")
        shares[name] = number
    return shares


ControlRegions = Annotated[str | dict[str, str] | None, BeforeValidator(named_regions)]
"""Files of control regions: one file, or several by the names of their regions."""

RegionShares = Annotated[dict[str, float] | None, BeforeValidator(_region_shares)]


def files_by_region(files: str | dict[str, str] | None, name: str) -> dict[str, str]:
    """Returns files of control regions by their names; `name` is for a single file without a name."""
    if files is None:
        return {}
    return files if isinstance(files, dict) else {name: files}


def refuse_unfit_regions(
    trained: Mapping[str, str], judged: Mapping[str, str], shares: Mapping[str, float] | None
) -> None:
    """Refuses control regions that do not fit together.

    Args:
        trained: files of the regions to train on, by name.
        judged: files of the regions that are judged only, by name.
        shares: shares of the regions to train on, by name; None for equal ones.

    Raises:
        ValueError: a name comes twice; shares for other regions; a share is not above 0.
    """
    if twice := sorted(set(trained) & set(judged)):
        raise ValueError(f"two control regions are called {twice[0]}: {trained[twice[0]]} and {judged[twice[0]]}")
    if shares is None:
        return
    if set(shares) != set(trained):
        there, here = (", ".join(names) or "none" for names in (trained, shares))
        raise ValueError(f"cr_shares should name the regions of cr_training_file ({there}), got {here}")
    if not all(0 < share < math.inf for share in shares.values()):
        raise ValueError(f"cr_shares should be above 0, got {dict(shares)}")
