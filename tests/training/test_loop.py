"""What the loop says after an epoch."""

import math

from cal_ratio_trainer.training.loop import Timings, epoch_line, runs_away, short_note

ROW = {
    "original_lossf": 0.51,
    "val_original_lossf": 0.48,
    "val_adv_loss": 0.7,
    "val_auc": 0.98765,
    **{f"ks_{name}_hist": value for name, value in (("qcd", 0.2), ("sig", 0.3), ("bib", 0.25))},
    **{f"ks_{name}_excess": 1.5 for name in ("qcd", "sig", "bib")},
}


def test_the_epoch_line_has_losses_auc_ks_rate_and_time_left() -> None:
    timings = Timings(steps=2.0, main_jets=20_000, epochs=[2.0, 4.0])
    line = epoch_line([ROW, ROW], 12, timings)
    for words in (
        "epoch   1/12",
        "loss 0.51",
        "val 0.48",
        "AUC 0.9877",
        "bib 0.25(+1.5",
        "10.0k jets/s",
        "30.0 s left",
    ):
        assert words in line
    assert short_note([ROW]) == "epoch 0: loss 0.48, AUC 0.9877, K-S 0.75"


def test_an_adversary_that_is_confidently_wrong_is_told_once() -> None:
    wrong = {**ROW, "val_adv_loss": 1.5}
    assert not runs_away([ROW])
    assert runs_away([ROW, wrong])
    assert not runs_away([ROW, wrong, wrong])
    assert not runs_away([{**ROW, "val_adv_loss": math.nan}])
