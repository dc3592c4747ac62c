"""A classifier trained only on demo jets works on real ones, and demo jets are similar to them.

The demo was tuned on these same jets (there are no others outside CERN): this is an in-sample check that the model
does not change, not an estimate for other data (docs/demo.md).
"""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import ks_2samp
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from cal_ratio_trainer.building import build_training_file
from cal_ratio_trainer.config.build import BuildSettings
from cal_ratio_trainer.config.convert import ConvertSettings, DemoSettings
from cal_ratio_trainer.config.loading import load_settings
from cal_ratio_trainer.jets.cleaning import clean_for_training
from cal_ratio_trainer.jets.labels import CONTROL_DATA, CONTROL_MC, Label
from cal_ratio_trainer.jets.loading import read_jets
from cal_ratio_trainer.jets.table import Jets
from cal_ratio_trainer.ntuple import convert_files
from cal_ratio_trainer.simulation import simulate

pytestmark = [pytest.mark.real, pytest.mark.slow]

JETS, CONTROL_JETS = 2500, 2000
SEED = 11


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Jets, Jets]:
    """Main and control jets of a demo, through the same steps as any data."""
    folder = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        simulate(DemoSettings.make(output_path=".", jets=JETS, control_jets=CONTROL_JETS, seed=SEED, workers=1))
        convert_files(load_settings(ConvertSettings, "convert.yaml"))
        for kind in ("main", "control"):
            build_training_file(load_settings(BuildSettings, f"build_{kind}.yaml"))
    return loaded(folder / "main.parquet"), loaded(folder / "control.parquet")


@pytest.fixture(scope="module")
def real_jets(real: Path) -> dict[str, Jets]:
    """All real jets by sample, scaled with 0 to 500 GeV."""
    control = loaded(real / "frames" / "felix_control_region.pkl")
    return {
        "signal mS=5": loaded(real / "reference" / "build" / "pkl_sig_311424_600_275.parquet"),
        "signal mS=55": loaded(real / "reference" / "build" / "conv_sig_311314__as_sig.parquet"),
        "BIB": loaded(real / "frames" / "bib.pkl"),
        "control MC": control.where(control.label == CONTROL_MC),
        "control data": control.where(control.label == CONTROL_DATA),
    }


def loaded(path: Path) -> Jets:
    return clean_for_training(read_jets(path))[0]


def wrapped(angle: NDArray[np.float32]) -> NDArray[np.float32]:
    return (angle + np.float32(np.pi)) % np.float32(2 * np.pi) - np.float32(np.pi)


def inputs(jets: Jets) -> NDArray[np.float32]:
    """The leading constituents side by side, [jets, features]; the real control region has unwrapped angles."""
    clusters = jets.constituents["clusters"].padded(10).copy()
    clusters[:, :, 2] = wrapped(clusters[:, :, 2])
    segments = jets.constituents["muon_segments"].padded(6).copy()
    segments[:, :, [1, 3]] = wrapped(segments[:, :, [1, 3]])
    tracks = jets.constituents["tracks"].padded(6)
    of_jet = np.stack([jets["jet_pt"], jets["jet_eta"], jets["jet_phi"]], axis=1)
    return np.concatenate([each.reshape(len(jets), -1) for each in (clusters, tracks, segments)] + [of_jet], axis=1)


def features(jets: Jets) -> dict[str, NDArray[np.float64]]:
    """Features of the complete jet."""
    lengths = {name: ragged.lengths for name, ragged in jets.constituents.items()}
    clusters, tracks = jets.constituents["clusters"].padded(30), jets.constituents["tracks"].padded(20)
    pt = clusters[:, :, 0]
    share = pt / pt.sum(axis=1, keepdims=True)
    layers = (clusters[:, :, 3:11] * share[:, :, None]).sum(axis=1)
    em = [1, 3, 5, 6]
    return {
        "clusters": lengths["clusters"],
        "tracks": lengths["tracks"],
        "segments": lengths["muon_segments"],
        "leading share": share[:, 0],
        "second over first": pt[:, 1] / pt[:, 0],
        "clusters over jet": pt.sum(axis=1) / jets["jet_pt"],
        "EM share": layers[:, em].sum(axis=1),
        "leading EM share": clusters[:, 0, 3:11][:, em].sum(axis=1),
        "second ECal layer": layers[:, 3],
        "third ECal layer": layers[:, 5],
        "second HCal layer": layers[:, 2],
        "third HCal layer": layers[:, 4],
        "leading time": clusters[:, 0, 11],
        "weighted time": (clusters[:, :, 11] * share).sum(axis=1),
        "tracks over jet": tracks[:, :, 0].sum(axis=1) / jets["jet_pt"],
    }


def with_spectrum_of(jets: Jets, other: Jets) -> Jets:
    """Jets drawn with the pt spectrum of the other sample."""
    edges = np.array([0.08, 0.1, 0.12, 0.15, 0.2, 0.27, 0.36, 0.5, 0.65, 0.8, 1.0])
    bins = np.digitize(jets["jet_pt"], edges[1:-1])
    here, there = np.bincount(bins, minlength=10), np.bincount(np.digitize(other["jet_pt"], edges[1:-1]), minlength=10)
    weight = (there / np.maximum(here, 1))[bins]
    return jets.take(np.random.default_rng(SEED).choice(len(jets), 2000, p=weight / weight.sum()))


def test_a_classifier_trained_on_demo_jets_works_on_real_ones(
    demo: tuple[Jets, Jets], real_jets: dict[str, Jets]
) -> None:
    main, _ = demo
    classifier = HistGradientBoostingClassifier(max_iter=80, random_state=SEED, early_stopping=False)
    samples = {"signal mS=5": Label.SIGNAL, "signal mS=55": Label.SIGNAL, "BIB": Label.BIB, "control MC": Label.QCD}
    # Threads wait for each other at every node: on a busy machine one thread takes a tenth of the time.
    with threadpool_limits(1, user_api="openmp"):
        classifier.fit(inputs(main), main.label)
        scores = classifier.predict_proba(np.concatenate([inputs(real_jets[name]) for name in samples]))
    truth = np.concatenate([np.full(len(real_jets[name]), label) for name, label in samples.items()])
    for label in (Label.SIGNAL, Label.BIB, Label.QCD):
        assert roc_auc_score(truth == label, scores[:, label]) > 0.93, label.name


@pytest.mark.parametrize(
    ("name", "largest"), [("signal mS=5", 0.17), ("BIB", 0.13), ("control MC", 0.13), ("control data", 0.13)]
)
def test_demo_jets_look_like_real_ones(
    demo: tuple[Jets, Jets], real_jets: dict[str, Jets], name: str, largest: float
) -> None:
    """Mean K-S distance of the jets' features; two samples of one distribution would give about 0.10 for 76 jets."""
    main, control = demo
    wanted = real_jets[name]
    jets = {
        "signal mS=5": main.where((main.label == Label.SIGNAL) & (main["llp_mH"] == 125) & (main["llp_mS"] == 5)),
        "BIB": main.where(main.label == Label.BIB),
        "control MC": with_spectrum_of(control.where(control.label == CONTROL_MC), real_jets["control MC"]),
        "control data": with_spectrum_of(control.where(control.label == CONTROL_DATA), real_jets["control data"]),
    }[name]
    of_demo, of_real = features(jets), features(wanted)
    distances = {feature: ks_2samp(of_demo[feature], of_real[feature]).statistic for feature in of_real}
    assert np.mean(list(distances.values())) < largest, distances
