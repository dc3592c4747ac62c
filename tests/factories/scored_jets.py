"""Small samples of jets with scores."""

from dataclasses import replace

import numpy as np

from cal_ratio_trainer.evaluation import ScoredJets
from cal_ratio_trainer.evaluation.efficiencies import dependences, working_point
from cal_ratio_trainer.evaluation.summary import TestFigures
from cal_ratio_trainer.jets.labels import Label


def jets_on_signal_output(
    signal: list[float], qcd: list[float], bib: list[float], weights: list[float] | None = None
) -> ScoredJets:
    """Jets with given signal outputs; the rest of each score goes to the QCD output."""
    values = np.array([*signal, *qcd, *bib])
    labels = np.repeat([Label.SIGNAL, Label.QCD, Label.BIB], [len(signal), len(qcd), len(bib)])
    scores = np.stack([1 - values, values, np.zeros_like(values)], axis=1)
    return ScoredJets(scores, labels, np.ones(len(values)) if weights is None else np.array(weights))


def at_mistag(figures: TestFigures, jets: ScoredJets, mistag: float) -> TestFigures:
    """The same figures with the working point at a share of QCD that these few jets can resolve."""
    point = working_point(jets, mistag)
    return replace(figures, working_point=point, dependences=dependences(jets, point.cut))


def plausible_jets(jets: int, seed: int = 5) -> ScoredJets:
    """Jets whose own output is usually the largest, with spread weights and a few masses."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, jets)
    shapes = np.full((jets, 3), 0.4)
    shapes[np.arange(jets), labels] = 2.0
    gammas = random.standard_gamma(shapes)
    return ScoredJets(
        scores=(gammas / gammas.sum(axis=1, keepdims=True)).astype(np.float32),
        labels=labels,
        weights=random.lognormal(0.0, 1.0, jets),
        columns={
            "mH": random.choice([125.0, 600.0], jets),
            "mS": random.choice([5.0, 55.0], jets),
            **plausible_kinematics(jets, random),
        },
    )


def plausible_kinematics(jets: int, random: np.random.Generator) -> dict[str, np.ndarray]:
    """Jets all over the detector, with long-lived particles that decay in barrel and endcaps."""
    return {
        "pt": 40 + random.exponential(60, jets),
        "eta": random.uniform(-2.5, 2.5, jets),
        "phi": random.uniform(-np.pi, np.pi, jets),
        "llp_eta": random.uniform(-2.5, 2.5, jets),
        "llp_lxy": random.uniform(1200, 4000, jets),
        "llp_lz": random.uniform(3500, 6000, jets) * random.choice([-1, 1], jets),
    }


def plausible_control_jets(jets: int, seed: int = 6) -> ScoredJets:
    """Control-region jets whose data and MC have the same distributions."""
    random = np.random.default_rng(seed)
    is_data = random.random(jets) < 0.5
    return ScoredJets.control(
        scores=random.dirichlet((2.0, 0.3, 0.3), jets).astype(np.float32),
        is_data=is_data,
        weights=np.where(is_data, 1.0, random.lognormal(0.0, 0.5, jets)),
        scaled_pt=random.random(jets),
    )
