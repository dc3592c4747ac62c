"""When clusters are measured: resolution by pt, pile-up tails, and times that are exactly zero."""

from dataclasses import dataclass

import numpy as np

from cal_ratio_trainer.simulation import draws
from cal_ratio_trainer.simulation.draws import FloatArray, Generator
from cal_ratio_trainer.simulation.parameters import parameters


@dataclass(frozen=True)
class TimeRecipe:
    """Delay [ns] and factor on the probability of a pile-up time, each [clusters]; whether it is data."""

    delay: FloatArray
    tail_scale: FloatArray
    is_data: bool = False


def times(random: Generator, pt: FloatArray, recipe: TimeRecipe) -> FloatArray:
    """Cluster times [ns] for clusters of pt [GeV], relative to a particle from the collision at the speed of light."""
    numbers = parameters("time")
    size = len(pt)
    step = np.searchsorted(numbers["pt_edges"], pt)
    mean, sigma, tail_probability, zero = (
        np.asarray(numbers[name], np.float32)[step] for name in ("mean", "sigma", "tail_probability", "zero")
    )
    core = numbers["core"]
    wide = draws.uniform(random, size) < core["wide_probability"]
    sigma = sigma * np.where(wide, np.float32(core["wide"]), np.float32(core["narrow"]))
    if recipe.is_data:
        shift = parameters("data_minus_mc")
        mean = mean + np.asarray(shift["time_offset"], np.float32)[np.searchsorted(shift["time_edges"], pt)]
        sigma = np.hypot(sigma, np.float32(shift["time_smear"]))
    result = mean + recipe.delay + sigma * draws.normal(random, size)
    tail = draws.uniform(random, size) < np.minimum(tail_probability * recipe.tail_scale, np.float32(0.9))
    late = numbers["tail"]["mean"] + np.float32(numbers["tail"]["sigma"]) * draws.normal(random, int(tail.sum()))
    result[tail] = late
    result[draws.uniform(random, size) < zero] = 0
    return result


def out_of_time(random: Generator, jet_pt: FloatArray, is_data: bool) -> FloatArray:
    """Delay [jets] of jets that come from a neighbouring bunch crossing; 0 for most [ns]."""
    numbers = parameters("time")["out_of_time"]
    fall = np.exp(-np.maximum(jet_pt - numbers["pt"], 0) / numbers["fall"])
    late = draws.uniform(random, len(jet_pt)) < numbers["data" if is_data else "mc"] * fall
    shift = numbers["shift"] + numbers["sigma"] * draws.normal(random, len(jet_pt))
    return np.where(late, shift * draws.sign(random, len(jet_pt), numbers["negative"]), 0).astype(np.float32)
