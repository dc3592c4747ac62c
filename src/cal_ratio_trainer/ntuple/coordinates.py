"""Angles between things, and coordinates relative to the jet as the network wants them. All in double precision."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.jets.ragged import IndexArray
from cal_ratio_trainer.jets.schema import Constituent

Doubles = NDArray[np.float64]


def wrapped(angle: Doubles) -> Doubles:
    """Angles brought to [-pi, pi).

    >>> wrapped(np.array([0.1, 3.5, -3.5, np.pi, -np.pi])).round(3).tolist()
    [0.1, -2.783, 2.783, -3.142, -3.142]
    """
    result = np.array(angle, dtype=np.float64)
    outside = (result < -np.pi) | (result >= np.pi)
    turned = np.mod(result[outside] + np.pi, 2 * np.pi) - np.pi
    # An angle a rounding error below -pi comes out as exactly pi.
    result[outside] = np.where(turned >= np.pi, -np.pi, turned)
    return result


def delta_r(eta_difference: Doubles, phi_difference: Doubles) -> Doubles:
    """Distance in the eta-phi plane; the phi difference may be unwrapped."""
    distance: Doubles = np.hypot(eta_difference, wrapped(phi_difference))
    return distance


def make_relative(kind: Constituent, values: Doubles, owners: IndexArray, jet_axis: Doubles) -> None:
    """Replaces absolute by relative angles, in place: relative to the first constituent of the jet or to its axis.

    Args:
        kind: of the constituents; its schema says which features are angles, and their origin.
        values: [constituents, features], in the order of the jets, the leading constituent first.
        owners: [constituents], for each the position of its jet, rising.
        jet_axis: [jets, 2], eta and phi.
    """
    if not len(values):
        return
    if kind.origin == "leading":
        lengths = np.bincount(owners)
        leading = (np.cumsum(lengths) - lengths).take(owners)
        eta, phi = (values[:, kind.position(name)].take(leading) for name in ("eta", "phi"))
    else:
        eta, phi = (jet_axis[:, number].take(owners) for number in (0, 1))
    for column, feature in enumerate(kind.features):
        if feature.angle == "eta":
            values[:, column] -= eta
        elif feature.angle == "phi":
            # Infinite angles become NaN, which is counted; numpy need not say so too.
            with np.errstate(invalid="ignore"):
                values[:, column] = wrapped(values[:, column] - phi)


def as_doubles(values: NDArray[Any]) -> Doubles:
    """Numbers of the file in double precision."""
    return np.asarray(values, dtype=np.float64)
