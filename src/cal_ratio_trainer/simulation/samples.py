"""Samples of the demo: number of jets of each, and weights of its events."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from cal_ratio_trainer.jets.labels import DataType
from cal_ratio_trainer.simulation.bib import bib_events, kept_in_bib
from cal_ratio_trainer.simulation.draws import Generator, IntArray, parameters
from cal_ratio_trainer.simulation.events import EventDraft
from cal_ratio_trainer.simulation.multijet import kept_in_multijets, multijet_events
from cal_ratio_trainer.simulation.signal import MassPoint, kept_in_signal, signal_events

EventSource = tuple[Callable[[Generator, int], EventDraft], Callable[[EventDraft], IntArray], int]
"""A function that draws about as many events as asked for, one that counts the jets of each event that convert keeps,
and the number of jets to be kept; see `events.events_with`."""


@dataclass(frozen=True)
class Slice:
    """Multijet events whose leading jet's true pt [GeV] lies in a range, and how many jets come from them."""

    low: float
    high: float
    jets: int


@dataclass(frozen=True)
class DemoSample:
    """One set of files.

    Attributes:
        name: name of its folder and beginning of the names of its files.
        number: number of the sample, which makes its random numbers differ from the other samples'.
        data_type: data type for convert.
        role: 'main' or 'control', the training file that its jets are for.
        jets: number of jets that convert will keep.
        weight: mcEventWeight of its events; None for data.
        channel: mcChannelNumber; None for data.
        point: masses and lifetime of a signal sample.
        slices: slices of multijets; one for simulation, several mixed for data.
    """

    name: str
    number: int
    data_type: DataType
    role: str
    jets: int
    weight: float | None = None
    channel: int | None = None
    point: MassPoint | None = None
    slices: tuple[Slice, ...] = ()

    @property
    def is_data(self) -> bool:
        """True if the sample represents recorded collisions."""
        return not self.data_type.is_simulation

    def sources(self) -> list[EventSource]:
        """Sources of its events."""
        if self.point is not None:
            return [(partial(signal_events, point=self.point), kept_in_signal, self.jets)]
        if self.data_type is DataType.BIB:
            return [(bib_events, kept_in_bib, self.jets)]
        return [
            (partial(multijet_events, pt_range=(each.low, each.high)), kept_in_multijets, each.jets)
            for each in self.slices
            if each.jets
        ]

    def files(self) -> list["DemoSample"]:
        """The sample cut into pieces of one file each."""
        count = -(-self.jets // int(parameters("samples")["jets_a_file"]))
        pieces = [shared(each.jets, [1.0] * count) for each in self.slices]
        jets = [sum(piece) for piece in zip(*pieces, strict=True)] if pieces else shared(self.jets, [1.0] * count)
        return [
            replace(
                self,
                jets=jets[i],
                slices=tuple(replace(each, jets=piece[i]) for each, piece in zip(self.slices, pieces, strict=True)),
            )
            for i in range(count)
        ]


def all_samples(jets: int, control_jets: int) -> list[DemoSample]:
    """All samples that contribute any jet.

    Args:
        jets: number of jets of signal, of QCD and of BIB that convert will keep.
        control_jets: number of control-region simulation jets and of data jets.
    """
    numbers = parameters("samples")
    bib = DemoSample("bib", 400, DataType.BIB, "main", jets)
    qcd = _sliced("qcd", 300, numbers["channel_of_qcd"], "main", jets)
    control = _sliced("control_mc", 500, numbers["channel_of_control_mc"], "control", control_jets)
    samples = [*_signal(jets), *qcd, bib, *control, _control_data(control_jets)]
    return [sample for sample in samples if sample.jets]


def shared(total: int, shares: Sequence[float]) -> list[int]:
    """`total` things in the given proportions, in whole numbers that add up to it (largest remainders)."""
    exact = np.asarray(shares, float) / sum(shares) * total
    whole = np.floor(exact).astype(int)
    order = np.argsort(whole - exact, kind="stable")
    whole[order[: total - int(whole.sum())]] += 1
    return [int(number) for number in whole]


def _signal(jets: int) -> list[DemoSample]:
    numbers = parameters("samples")
    grid = [MassPoint(*point) for point in numbers["signal_grid"]]
    counts = shared(jets, [1.0] * len(grid))
    samples, lifetimes = [], dict.fromkeys(((point.mH, point.mS) for point in grid), 0)
    for i, (point, count) in enumerate(zip(grid, counts, strict=True)):
        lifetimes[point.mH, point.mS] += 1
        name = f"signal_mH{point.mH:g}_mS{point.mS:g}_lt{lifetimes[point.mH, point.mS]}"
        samples.append(
            DemoSample(
                name,
                100 + i,
                DataType.SIGNAL,
                "main",
                count,
                weight=numbers["signal_weight"],
                channel=numbers["channel_of_signal"] + i,
                point=point,
            )
        )
    return samples


def _sliced(name: str, number: int, channel: int, role: str, jets: int) -> list[DemoSample]:
    """Simulation in slices of pt: JZ1, JZ2, ..., each a sample of its own."""
    table = parameters("slices")["qcd" if role == "main" else "control"]
    edges = parameters("slices")["pt_edges"]
    samples = []
    for i, (count, weight) in enumerate(zip(shared(jets, table["share"]), table["weight"], strict=True)):
        samples.append(
            DemoSample(
                f"{name}_JZ{i + 1}",
                number + i,
                DataType.QCD,
                role,
                count,
                weight=weight,
                channel=channel + i,
                slices=(Slice(edges[i], edges[i + 1], count),),
            )
        )
    return samples


def _control_data(jets: int) -> DemoSample:
    """Data of the spectrum that the control-region simulation has with its weights."""
    table, edges = parameters("slices")["control"], parameters("slices")["pt_edges"]
    shares = [share * weight for share, weight in zip(table["share"], table["weight"], strict=True)]
    counts = shared(jets, shares)
    slices = tuple(Slice(edges[i], edges[i + 1], count) for i, count in enumerate(counts))
    return DemoSample("control_data", 600, DataType.DATA, "control", jets, slices=slices)


def cross_section_pb(sample: DemoSample) -> tuple[float, float]:
    """Inclusive cross section [pb] and filter efficiency of a slice; their product is the slice's cross section."""
    numbers = parameters("slices")
    (each,) = sample.slices
    power = numbers["power"]
    of_slice = numbers["pb_per_GeV_at_100_GeV"] * 100.0**power / (power - 1)
    of_slice *= each.low ** (1 - power) - each.high ** (1 - power)
    return numbers["inclusive_cross_section_pb"], of_slice / numbers["inclusive_cross_section_pb"]
