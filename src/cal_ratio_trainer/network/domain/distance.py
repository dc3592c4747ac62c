"""Distance of the outputs' distributions between data and simulation, as a loss; no adversary, no second optimiser.

Two distances are added. Cramer's compares each output in each range of pt: the integral of the squared difference of
the weighted cumulative distributions, half of the energy distance in one dimension (Szekely and Rizzo, J. Stat. Plan.
Inference 143 (2013) 1249). The joint one compares all outputs together with pt by their characteristic functions at
random frequencies: the squared maximum mean discrepancy (Gretton et al., J. Mach. Learn. Res. 13 (2012) 723) in random
Fourier features (Rahimi and Recht, NIPS 2007) of three Gaussian kernels.
"""

import itertools
import math

import torch
from torch import Tensor

from cal_ratio_trainer.network.domain.base import ControlJets, DomainLoss, DomainSettings, StepSums, domain_loss
from cal_ratio_trainer.network.shape import OUTPUTS

_BATCHES, _MAX_BANK = 8, 1 << 16
"""Earlier mini-batches that are compared together with the present one, and the limit on their jets."""

_MIN_JETS = 5.0
"""Ranges with fewer effective jets of data or of simulation are passed over."""

_MIN_SPREAD = 1e-3

_JOINT_WEIGHT = 30.0
"""Of the joint distance beside Cramer's; measured, see docs/learning.md."""
_WIDTHS = (1.0, 0.5, 0.25)
"""Of the Gaussian kernels, in standard deviations of each input."""
_FREQUENCIES, _DRAWN = 384, 1 << 14
"""Frequencies of a step, and those that are drawn in all; the steps take them in turn."""


@domain_loss("distance")
class Distance(DomainLoss):
    """strength * (sum over pt ranges and outputs of Cramer's distance of the log-odds + 30 * their joint distance).

    With several control regions data and simulation are compared within each, and the distances of the regions are
    added up by their shares. Each is in units of the log-odds' spread. A mini-batch is compared together with the last
    ones, whose log-odds are kept: the distance of small samples is mostly chance. Weights may be negative: the
    effective number of jets is (sum of weights)^2 / (sum of squares), and a range where it is below 5 for data or
    simulation, or where the weights sum to 0 or less, is passed over and counted.
    """

    stages = ("distance", "joint", "passed_over")
    needs_all_jets = True

    def __init__(self, settings: DomainSettings) -> None:
        super().__init__(settings)
        batches = min(_BATCHES, _MAX_BANK // settings.control_jets) if settings.control_jets else 0
        # Log-odds of the outputs, data or not, weight, scaled pt, and of several regions the number; a weight of 0
        # fills up.
        self._regions = len(settings.region_shares)
        columns = OUTPUTS + 3 + (self._regions > 1)
        self.bank: Tensor
        self.register_buffer("bank", torch.zeros(batches, settings.control_jets, columns))
        self.steps_done: Tensor
        self.register_buffer("steps_done", torch.zeros(()))
        generator = torch.Generator().manual_seed(settings.seed)
        widths = torch.tensor(_WIDTHS).repeat(_DRAWN)[:_DRAWN, None]
        frequencies = torch.randn(_DRAWN, OUTPUTS + 1, generator=generator) / widths
        # [drawn, inputs + 1]: a frequency for each input, and a phase.
        phases = 2 * math.pi * torch.rand(_DRAWN, 1, generator=generator)
        self.frequencies: Tensor
        self.register_buffer("frequencies", torch.cat([frequencies, phases], dim=1), persistent=False)

    @property
    def strength(self) -> Tensor:
        """Strength in the present step, a scalar: it rises linearly to its full value, and stays there.

        At full strength from the first step the network first learns to give all jets the same output, in which it may
        remain where a mini-batch has few control jets.
        """
        rising_steps = max(1.0, self.settings.distance_rise * self.settings.steps)
        return self.settings.weight * ((self.steps_done + 1) / rising_steps).clamp(max=1.0)

    def penalty(self, jets: ControlJets, total: int, sums: StepSums) -> Tensor:
        """Strength times the distance of all control jets of the mini-batch and those of the last ones."""
        row = self._table(jets)
        known = torch.cat([row, self.bank.flatten(0, 1)])
        distance, passed_over = self._distance(known)
        joint = self._joint(known)
        if len(self.bank):
            with torch.no_grad():
                self.bank.copy_(torch.cat([torch.zeros_like(self.bank[:1]), self.bank[:-1]]))
                self.bank[0, : len(row)] = row
        sums.add("distance", distance[None])
        sums.add("joint", joint[None])
        sums.add("passed_over", passed_over[None])
        return self.strength * (distance + _JOINT_WEIGHT * joint)

    def after_step(self) -> None:
        """Counts the step."""
        self.steps_done += 1

    def metrics(self, sums: StepSums, validation: ControlJets) -> dict[str, float]:
        """Mean distances of the epoch's steps, those of the validation part, and mean number of ranges passed over."""
        table = self._table(validation)
        return {
            "distance": sums.mean("distance")[0],
            "val_distance": float(self._distance(table)[0]),
            "joint_distance": sums.mean("joint")[0],
            "val_joint_distance": float(self._joint(table)),
            "distance_ranges_passed_over": sums.mean("passed_over")[0],
        }

    def _distance(self, known: Tensor) -> tuple[Tensor, Tensor]:
        """(sum of the distances, number of ranges passed over) of a table of jets, see `bank`; both scalars."""
        log_odds, is_data, weight, pt = known[:, :OUTPUTS], *known[:, OUTPUTS : OUTPUTS + 3].unbind(dim=1)
        edges = [-torch.inf, *self.settings.pt_ranges, torch.inf]
        inside = torch.stack([(pt >= low) & (pt < high) for low, high in itertools.pairwise(edges)], dim=1)
        # [jets, regions * ranges]: ranges of the first region, then those of the next.
        inside = torch.cat([inside & here[:, None] for here in self._of_regions(known)], dim=1)
        # Sums of a million float32 weights would lose the digits that the differences live on.
        of_ranges = (weight[:, None] * inside).double()
        kinds = [of_ranges * is_data[:, None], of_ranges * (1 - is_data[:, None])]
        enough = torch.stack([_effective(each) >= _MIN_JETS for each in kinds]).all(dim=0)
        shares = [each / torch.where(enough, each.sum(dim=0), 1.0) for each in kinds]
        difference = shares[0] - shares[1]
        x, order = log_odds.sort(dim=0)
        # [gaps, outputs, ranges]: the difference of the cumulative distributions between neighbours.
        cumulative = difference[order].cumsum(dim=0)[:-1]
        integral = (cumulative.square().to(x.dtype) * (x[1:] - x[:-1])[:, :, None]).sum(dim=0)
        spread = _spread(log_odds, (of_ranges != 0).to(log_odds.dtype))
        distances = integral / spread * enough
        shares_of_regions = zip(distances.chunk(self._regions, dim=1), self.settings.region_shares, strict=True)
        distances = torch.cat([share * distance for distance, share in shares_of_regions], dim=1)
        return distances.sum(), (~enough).sum().float()

    def _joint(self, known: Tensor) -> Tensor:
        """Mean over this step's frequencies of the squared difference of the characteristic functions; scalar."""
        inputs, is_data, weight = known[:, [*range(OUTPUTS), OUTPUTS + 2]], known[:, OUTPUTS], known[:, OUTPUTS + 1]
        used = (weight != 0).to(inputs.dtype)[:, None]
        number = used.sum().clamp(min=1)
        mean = (inputs * used).sum(dim=0) / number
        spread = ((inputs - mean).square() * used).sum(dim=0).div(number).clamp(min=_MIN_SPREAD**2).sqrt()
        first = self.steps_done.long() * _FREQUENCIES
        chosen = self.frequencies[(first + torch.arange(_FREQUENCIES, device=first.device)) % _DRAWN]
        features = torch.cos((inputs - mean) / spread @ chosen[:, :-1].t() + chosen[:, -1])
        regions = [weight * here for here in self._of_regions(known)]
        distance = torch.zeros((), device=known.device)
        for of_region, share in zip(regions, self.settings.region_shares, strict=True):
            kinds = [(of_region * is_data).double(), (of_region * (1 - is_data)).double()]
            enough = torch.stack([_effective(each) >= _MIN_JETS for each in kinds]).all()
            shares = [each / torch.where(enough, each.sum(), 1.0) for each in kinds]
            # The mean of cos^2 over the phases is 1/2.
            square = 2 * ((shares[0] - shares[1]).to(features.dtype) @ features).square().mean() * enough
            distance = distance + share * square
        return distance

    def _table(self, jets: ControlJets) -> Tensor:
        """[jets, outputs + 3 or 4]: log-odds, data or not, weight, scaled pt, and of several regions the number."""
        others = [jets.is_data, jets.weight, jets.inputs[:, 0]]
        if self._regions > 1 and jets.region is not None:
            # A table of one region has no such column: checkpoints hold the bank.
            others.append(jets.region.float())
        return torch.cat([jets.log_odds(), torch.stack(others, dim=1)], dim=1)

    def _of_regions(self, known: Tensor) -> list[Tensor]:
        """Masks of the jets of each region in a table, [jets] bool."""
        if self._regions == 1:
            return [torch.ones(len(known), dtype=torch.bool, device=known.device)]
        return [known[:, -1] == number for number in range(self._regions)]


def _effective(weights: Tensor) -> Tensor:
    """Effective number of jets by range, [ranges], of weights [jets, ranges]; 0 where they sum to 0 or less."""
    return weights.sum(dim=0).clamp(min=0).square() / weights.square().sum(dim=0).clamp(min=1e-30)


def _spread(x: Tensor, inside: Tensor) -> Tensor:
    """Standard deviation [outputs, ranges] of x [jets, outputs] over the jets of each range, [jets, ranges] 0 or 1."""
    number = inside.sum(dim=0).clamp(min=1)
    mean = (x.t() @ inside) / number
    variance = ((x[:, :, None] - mean).square() * inside[:, None, :]).sum(dim=0) / number
    return variance.clamp(min=_MIN_SPREAD**2).sqrt()
