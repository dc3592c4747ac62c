"""Plots named in the manual and in files of the earlier program, for signal with the masses 125 and 600 GeV."""

OUTPUTS = ("bib", "qcd", "sig")

EPOCH_PLOTS = {
    *(f"main_{output}_predictions{kind}" for output in OUTPUTS for kind in ("", "_linear")),
    *(
        f"val_adversary_{where}{output}_predictions"
        for output in OUTPUTS
        for where in ("", "lowPt_", "midPt_", "highPt_")
    ),
}

HISTORIES = {
    *("main_nn_loss", "main_network_acc", "test_main_adv_loss", "train_main_adv_loss", "main_adv_acc"),
    *("train_adv_loss", "test_adv_loss", "adv_acc", "test_adv_acc"),
    *(f"ks_{output}" for output in OUTPUTS),
}

FINAL_PLOTS = {
    *(f"{output}_predictions{kind}" for output in OUTPUTS for kind in ("", "_linear", "_half_linear")),
    *(f"adv_{output}_predictions" for output in OUTPUTS),
    *("roc_curve_atlas_rej_bib", "roc_curve_atlas_rej_qcd"),
    *(f"roc_curve_atlas_rej_{kind}_mH{mass}" for kind in ("bib", "qcd") for mass in ("125.0", "600.0")),
    *("SoverB_scan", "SoverB_scan_QCD only", "SoverB_scan_BIB only", "SoverB_scan_mH125.0", "SoverB_scan_mH600.0"),
    *("signal_llp_efficiencies", "bkg_falsePositives"),
}
