"""Scores of a trained network for the real jets: `python -m benchmarks.real_jets RUN_FOLDER ../shared/real`.

The demo was tuned on these same jets, so a demo-trained network's figures on them are optimistic. Data and simulation
of the control region are compared with their own weights: K-S and C2ST.

`python -m benchmarks.real_jets FOLDER ../shared/real --trees`, with the FOLDER of `benchmarks.learning`, trains
gradient-boosted trees on its demo and tests them on demo and real jets, and compares features of both.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import ks_2samp
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from threadpoolctl import threadpool_limits

from cal_ratio_trainer.building.scaling import scale
from cal_ratio_trainer.evaluation.c2st import c2st_of_control_jets
from cal_ratio_trainer.evaluation.ks import ks_of_control_jets
from cal_ratio_trainer.evaluation.roc import auc_error
from cal_ratio_trainer.evaluation.scored import ScoredJets, WeightedSample
from cal_ratio_trainer.formats.network_file import read_own_network
from cal_ratio_trainer.jets import CONSTITUENTS, Jets, Label
from cal_ratio_trainer.jets.cleaning import clean_for_training, is_built
from cal_ratio_trainer.jets.labels import CONTROL_DATA, CONTROL_MC
from cal_ratio_trainer.jets.loading import open_jets, read_jets
from cal_ratio_trainer.jets.metadata import Scaling
from cal_ratio_trainer.network.batch import JetTensors
from cal_ratio_trainer.network.classifier import Classifier, scores_of
from tests.real.test_demo_transfer import SEED, features, inputs, with_spectrum_of

FILES = {
    "signal, mH 125, mS 5 GeV": ("frames/sig_311424_600_275.pkl", Label.SIGNAL),
    "signal, mH 125, mS 55 GeV": ("reference/build/conv_sig_311314__as_sig.parquet", Label.SIGNAL),
    "BIB": ("frames/bib.pkl", Label.BIB),
    "control region, simulated multijets": ("frames/felix_control_region.pkl", Label.QCD),
    "control region, data": ("frames/felix_control_region.pkl", Label.BIB),
}
_ANGLES = {"phi", "phiPos", "phiDir"}


def real_jets(folder: Path, name: str) -> Jets:
    """One of the samples, scaled, with angles in [-pi, pi)."""
    file, label = FILES[name]
    loaded = open_jets(folder / file)
    jets = loaded.load().where(loaded.load().label == label)
    if not is_built(loaded.metadata, jets):
        jets = scale(jets, Scaling(min_jet_pt=0, max_jet_pt=500)).jets
    return clean_for_training(wrapped(jets))[0]


def judging(jets: Jets, label: Label) -> NDArray[np.bool_]:
    """The half of a sample [jets] that the demo's second model was judged by; the other half showed what it lacked.

    By parity of the event number, of half of it for BIB (the sample has odd ones only), and of the row in the control
    region, which has no event numbers.
    """
    if not jets.is_known("eventNumber"):
        return np.asarray(np.arange(len(jets)) % 2 == 1, bool)
    event = np.asarray(jets["eventNumber"]).astype(np.int64)
    halves: NDArray[np.bool_] = (event // (2 if label is Label.BIB else 1)) % 2 == 1
    return halves


def wrapped(jets: Jets) -> Jets:
    """The same jets with azimuths in [-pi, pi); the old control-region file has some beyond."""
    lists = dict(jets.constituents)
    for kind in CONSTITUENTS:
        values = lists[kind.name].values.copy()
        for position, feature in enumerate(kind.features):
            if feature.name in _ANGLES:
                values[:, position] = (values[:, position] + np.pi) % (2 * np.pi) - np.pi
        lists[kind.name] = lists[kind.name].with_values(values)
    return replace(jets, constituents=lists)


def compared(samples: dict[str, Jets], scores: dict[str, NDArray[np.float32]]) -> str:
    """K-S and C2ST of data and simulation in the control region, in words."""
    names = list(FILES)[-2:]
    weights = [samples[name]["mcEventWeight"].astype(np.float64) for name in names]
    of_control = ScoredJets.control(
        np.concatenate([scores[name] for name in names]).astype(np.float64),
        np.repeat([False, True], [len(each) for each in weights]),
        np.concatenate([each / each.sum() for each in weights]),
        np.concatenate([samples[name]["jet_pt"] for name in names]),
    )
    ks, told = ks_of_control_jets(of_control), c2st_of_control_jets(of_control, seed=1).overall
    outputs = [
        f"{each.output.output} {each.total:.2f} ({each.excess:+.1f}σ; {each.expected:.2f} ± {each.spread:.2f} if "
        "identical)"
        for each in ks.outputs
    ]
    return (
        f"control region, K-S summed over pt ranges: {', '.join(outputs)}; C2ST {told.auc:.3f} ± {told.error:.3f} "
        f"({told.excess:+.1f}σ)"
    )


def print_trees(folder: Path, real: Path) -> None:
    """Prints AUCs of trees trained on 5000 demo jets per class, and mean K-S distances of features of demo and real."""
    demo = [clean_for_training(read_jets(folder / f"data{seed}" / "main.parquet"))[0] for seed in (1, 2)]
    control = clean_for_training(read_jets(folder / "data1" / "control.parquet"))[0]
    random = np.random.default_rng(SEED)
    train, test = (
        jets.take(np.concatenate([random.choice(np.flatnonzero(jets.label == label), 5000, False) for label in Label]))
        for jets in demo
    )
    samples = {name: real_jets(real, name) for name in FILES}
    classes = list(FILES)[:4]
    truth = np.repeat([FILES[name][1] for name in classes], [len(samples[name]) for name in classes])
    of_real = np.concatenate([inputs(samples[name]) for name in classes])
    trees = HistGradientBoostingClassifier(max_iter=80, random_state=SEED, early_stopping=False)
    with threadpool_limits(1, user_api="openmp"):
        folds = StratifiedKFold(5, shuffle=True, random_state=SEED)
        own = cross_val_predict(trees, of_real, truth, cv=folds, method="predict_proba")
        trees.fit(inputs(train), train.label)
        tested = {
            "trained on demo, other demo jets": (test.label, trees.predict_proba(inputs(test))),
            "trained on demo, real jets": (truth, trees.predict_proba(of_real)),
            "trained on real jets, 5-fold": (truth, own),
        }
    print("| trees | signal vs rest | BIB vs rest | QCD vs rest | signal vs QCD | signal vs BIB |\n|---|" + "---|" * 5)
    for name, (labels, scores) in tested.items():
        values = [(labels == label, scores[:, label], labels >= 0) for label in (Label.SIGNAL, Label.BIB, Label.QCD)]
        for other in (Label.QCD, Label.BIB):
            share = scores[:, Label.SIGNAL] / (scores[:, Label.SIGNAL] + scores[:, other])
            values.append((labels == Label.SIGNAL, share, np.isin(labels, [Label.SIGNAL, other])))
        cells = []
        for is_first, value, taken in values:
            first, second = (WeightedSample.unweighted(value[each & taken]) for each in (is_first, ~is_first))
            error = auc_error(first, second, np.arange(len(first)), len(first) + np.arange(len(second)))
            cells.append(f"{roc_auc_score(is_first[taken], value[taken]):.3f} ± {error:.3f}")
        print(f"| {name} | {' | '.join(cells)} |")
    main = demo[0]
    signal = main.where((main.label == Label.SIGNAL) & (main["llp_mH"] == 125))
    like = [signal.where(signal["llp_mS"] == mass) for mass in (5, 55)] + [main.where(main.label == Label.BIB)]
    for name, label in zip(list(FILES)[3:], (CONTROL_MC, CONTROL_DATA), strict=True):
        like.append(with_spectrum_of(control.where(control.label == label), samples[name]))
    for name, jets in zip(FILES, like, strict=True):
        of_demo, wanted = features(jets), features(samples[name])
        distance = np.mean([ks_2samp(of_demo[feature], wanted[feature]).statistic for feature in wanted])
        print(f"mean K-S distance of {len(wanted)} features, {name}: {distance:.2f}")


def main() -> None:
    """Prints the share of each largest output by sample, and AUCs between classes, as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run's folder, a .keras file of ours, or see above")
    parser.add_argument("real", type=Path, help="the folder of real jets")
    parser.add_argument("--judge", action="store_true", help="only the half that the demo's model was judged by")
    parser.add_argument("--trees", action="store_true", help="trees in place of a network; see above")
    arguments = parser.parse_args()
    if arguments.trees:
        print_trees(arguments.run, arguments.real)
        return
    file = arguments.run if arguments.run.suffix == ".keras" else arguments.run / "keras" / "final_model.keras"
    stored = read_own_network(file)
    shape, weights = stored.shape, stored.weights
    classifier = Classifier(shape)
    classifier.set_weights(weights)
    scores: dict[str, NDArray[np.float32]] = {}
    samples: dict[str, Jets] = {}
    print("| real sample | jets | largest output QCD | signal | BIB |\n|---|---|---|---|---|")
    for name in FILES:
        jets = real_jets(arguments.real, name)
        if arguments.judge:
            jets = jets.where(judging(jets, FILES[name][1]))
        samples[name] = jets
        scores[name] = scores_of(classifier, JetTensors.from_jets([jets], torch.device("cpu")))
        shares = np.bincount(scores[name].argmax(axis=1), minlength=3) / len(jets)
        print(f"| {name} | {len(jets)} | {shares[0]:.0%} | {shares[1]:.0%} | {shares[2]:.0%} |")
    print(compared(samples, scores))
    signal = np.concatenate([scores[name] for name in list(FILES)[:2]])[:, Label.SIGNAL]
    qcd, bib = (scores[name][:, Label.SIGNAL] for name in ("control region, simulated multijets", "BIB"))
    for name, background in (("the rest", np.concatenate([qcd, bib])), ("multijets", qcd), ("BIB", bib)):
        truth = np.repeat([1, 0], [len(signal), len(background)])
        print(f"AUC of signal against {name}: {roc_auc_score(truth, np.concatenate([signal, background])):.3f}")


if __name__ == "__main__":
    main()
