"""One figure of each kind, compared with a reviewed image.

After an intended change: `pytest tests/plotting/test_images.py --mpl-generate-path=tests/plotting/baseline`, then
look at every image that differs.
"""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text

from cal_ratio_trainer.evaluation.ks import ks_of_control_jets
from cal_ratio_trainer.evaluation.summary import evaluate_test_sample
from cal_ratio_trainer.plotting import DEMO, Drawing
from cal_ratio_trainer.plotting.catalogue import final_drawings
from cal_ratio_trainer.plotting.histories import HistoryReferences, history_drawings
from tests.factories.scored_jets import at_mistag, plausible_control_jets, plausible_jets

KINDS = [
    *("sig_predictions", "sig_predictions_linear", "bib_predictions_half_linear", "adv_bib_predictions"),
    *("roc_curve_atlas_rej_bib_mH125.0", "roc_curve_qcd_and_bib", "SoverB_scan_mH600.0"),
    *("signal_llp_efficiencies", "bkg_falsePositives", "signal_efficiency_Lxy", "mistag_pt", "confusion_matrix"),
    *("sig_predictions_train_and_test", "main_nn_loss", "ks_bib"),
]

# Root mean square on the scale of 0 to 255. Measured: other hinting of fonts moves legends a little, at most 2.5; a
# legend in another corner is 4 to 17, a class of points that is not drawn 3 to 17.
TOLERANCE = 2.8


@pytest.fixture(scope="module")
def drawings() -> dict[str, Drawing]:
    control = plausible_control_jets(1500)
    jets = plausible_jets(3000)
    figures = at_mistag(evaluate_test_sample(jets, control, plausible_jets(3000, 9)), jets, 0.05)
    epochs = np.arange(12)
    ks = ks_of_control_jets(control).to_dict()
    history = {
        "original_lossf": list(1.1 * np.exp(-epochs / 4) + 0.3),
        "val_original_lossf": list(1.1 * np.exp(-epochs / 4) + 0.35 + 0.004 * epochs),
        "ks_bib_hist": list(0.4 * np.exp(-epochs / 3) + ks["ks_bib_hist"]),
        **{name: [ks[name]] * len(epochs) for name in ("ks_bib_expected", "ks_bib_spread")},
    }
    made = final_drawings(figures) + history_drawings(history, HistoryReferences(kept_below=0.3))
    return {each.name: each for each in made}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.mpl_image_compare(tolerance=TOLERANCE, style="default", savefig_kwargs={"dpi": 100})
def test_looks_as_it_did(
    name: str, drawings: dict[str, Drawing], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Figure:
    # Letters differ between versions of the font library. Other tests check the texts; the position of the
    # legend is visible from its lines and markers.
    monkeypatch.setattr(Text, "draw", lambda self, renderer: None)
    (path,) = drawings[name].write(tmp_path, DEMO)
    return at_half_size(path)


def at_half_size(path: Path) -> Figure:
    """Written image with four pixels averaged to one: small baselines, insensitive to shifts by a pixel."""
    pixels = imread(path)[:, :, :3]
    height, width = (2 * (length // 2) for length in pixels.shape[:2])
    mean = pixels[:height, :width].reshape(height // 2, 2, width // 2, 2, 3).mean(axis=(1, 3))
    figure = Figure(figsize=(width / 200, height / 200), dpi=100)
    figure.figimage(mean)
    return figure
