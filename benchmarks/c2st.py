"""Classifier two-sample test: calibration on identical distributions, power beside scikit-learn, and time.

`python -m benchmarks.c2st` draws pairs of samples of one distribution, two jets per event with correlated pt and MC
weights of a log-normal distribution, a tenth of them negative or none, and prints mean and standard deviation of the
excess, with the factor sqrt(2) of the spread and without it. Then distributions that differ a little, with the AUC of
this program and of scikit-learn's MLPClassifier in the same number of folds, and the time of one test.
"""

import argparse
import math
import time
import warnings

import numpy as np
from sklearn.metrics import roc_auc_score
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

from cal_ratio_trainer.evaluation.c2st import FOLDS, c2st_of_control_jets
from cal_ratio_trainer.evaluation.scored import ScoredJets


def control_jets(jets: int, seed: int, difference: str = "none", negative: float = 0.0) -> ScoredJets:
    """Control jets whose data and MC differ in the mean of one output ('shift'), in the correlation of two, or not."""
    random = np.random.default_rng(seed)
    events = np.arange(jets) // 2
    is_data = (random.random(jets) < 0.5)[events]
    inputs = random.standard_normal((jets, 4))
    if difference == "shift":
        inputs[is_data, 0] += 0.15
    elif difference == "correlation":
        inputs[is_data, 1] = 0.2 * inputs[is_data, 0] + math.sqrt(1 - 0.2**2) * inputs[is_data, 1]
    odds = np.exp(inputs[:, :3])
    pt = 1 / (1 + np.exp(-inputs[:, 3] - random.standard_normal(jets)[events]))
    sign = np.where(random.random(jets) < negative, -1.0, 1.0)
    weights = np.where(is_data, 1.0, sign * random.lognormal(0.0, 0.5, jets))
    return ScoredJets.control(odds / odds.sum(axis=1, keepdims=True), is_data, weights, pt, events)


def reference_auc(jets: ScoredJets, seed: int) -> float:
    """The same with scikit-learn, which knows no weights in training; folds by event."""
    log_odds = np.log(jets.scores / (1 - jets.scores))
    inputs = StandardScaler().fit_transform(np.column_stack([log_odds, jets.scaled_pt]))
    fold, judged = np.arange(len(jets)) // 2 % FOLDS, np.zeros(len(jets))
    for number in range(FOLDS):
        network = MLPClassifier((32, 32), early_stopping=True, random_state=seed)
        network.fit(inputs[fold != number], jets.is_data[fold != number])
        judged[fold == number] = network.predict_proba(inputs[fold == number])[:, 1]
    return float(roc_auc_score(jets.is_data, judged, sample_weight=jets.weights))


def main() -> None:
    """Prints three tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=60, help="pairs of samples for the calibration")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    print("| jets | negative weights | mean excess | its spread | without the factor |\n|---|---|---|---|---|")
    for jets, negative in ((1000, 0.0), (4000, 0.0), (4000, 0.1)):
        samples = (control_jets(jets, seed, negative=negative) for seed in range(arguments.pairs))
        excess = [c2st_of_control_jets(each, seed).overall.excess for seed, each in enumerate(samples)]
        spread = np.std(excess)
        print(f"| {jets} | {negative:.0%} | {np.mean(excess):+.2f} | {spread:.2f} | {math.sqrt(2) * spread:.2f} |")
    print("\n| jets | difference | AUC | excess | scikit-learn |\n|---|---|---|---|---|")
    for difference in ("none", "shift", "correlation"):
        sample = control_jets(20_000, 1, difference)
        found = c2st_of_control_jets(sample).overall
        auc = f"{found.auc:.4f} ± {found.error:.4f}"
        print(f"| 20,000 | {difference} | {auc} | {found.excess:+.1f} | {reference_auc(sample, 1):.4f} |", flush=True)
    print("\n| jets | processor time |\n|---|---|")
    for jets in (2_000, 20_000, 40_000):
        sample, begin = control_jets(jets, 1), time.process_time()
        c2st_of_control_jets(sample)
        print(f"| {jets:,} | {time.process_time() - begin:.2f} s |", flush=True)


if __name__ == "__main__":
    main()
