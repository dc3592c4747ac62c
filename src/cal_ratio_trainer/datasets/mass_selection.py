"""Training on low or high mediator masses only, and the masses that a parametrised network reads."""

import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.datasets.splits import Part
from cal_ratio_trainer.errors import ConfigError, InputFileError
from cal_ratio_trainer.jets import JetScalars, Label
from cal_ratio_trainer.jets.schema import GEV_A_TEV

_SELECTION_STREAM, _MASS_STREAM = 4, 5

_log = logging.getLogger(__name__)


def select_masses(jets: JetScalars, part: NDArray[np.int8], settings: TrainSettings) -> NDArray[np.int8]:
    """The parts of jets when only low or only high masses are trained on.

    In the training and the validation part signal of other masses is left out, and QCD and BIB are drawn down to the
    number of signal jets that stays. The test part stays whole.

    Raises:
        ConfigError: no signal jet has one of the masses; names those that are there.
    """
    if settings.masses == "all":
        return part
    wanted = settings.low_masses if settings.masses == "low" else settings.high_masses
    signal = jets.label == Label.SIGNAL
    higgs_mass = jets["llp_mH"]
    if np.isnan(higgs_mass[signal]).any():
        raise ConfigError([f"include_{settings.masses}_mass needs llp_mH, which signal jets of this file lack"])
    chosen = signal & np.isin(higgs_mass, wanted)
    if not chosen.any():
        there = ", ".join(f"{mass:g}" for mass in np.unique(higgs_mass[signal]))
        raise ConfigError([f"no signal has one of the {settings.masses} masses {wanted}; the file has mH {there} GeV"])
    result = part.copy()
    rng = np.random.default_rng([settings.seed, _SELECTION_STREAM])
    for stage in (Part.TRAIN, Part.VALIDATION):
        here = part == stage
        result[here & signal & ~chosen] = Part.UNUSED
        count = int((here & chosen).sum())
        for label in (Label.QCD, Label.BIB):
            background = np.flatnonzero(here & (jets.label == label))
            if len(background) < count:
                found = f"only {len(background)} {label.name} jets for {count} signal jets"
                _log.warning("%s in the %s part: all are used", found, stage.name.lower())
                continue
            result[rng.permutation(background)[count:]] = Part.UNUSED
    return result


def parametrised_masses(
    samples: Sequence[JetScalars], columns: Sequence[str], seed: int, trained: NDArray[np.bool_] | None = None
) -> NDArray[np.float32] | None:
    """The masses each jet is given, [jets of all samples, columns] in TeV; None for a network without masses.

    Signal has its own; every other jet gets those of a signal jet drawn at random, once for the whole run.

    Args:
        samples: main jets, then control-region jets.
        columns: 'llp_mH', 'llp_mS' or both.
        seed: of the run.
        trained: [main jets], which ones are trained on: only masses of signal among these are drawn, for a mass that
            background has and trained signal has not would give background away. None draws from all signal.

    Raises:
        InputFileError: signal jets lack a mass.
    """
    if not columns:
        return None
    main = samples[0]
    signal = main.label == Label.SIGNAL
    known = np.stack([main[name] for name in columns], axis=1)[signal] / GEV_A_TEV
    if not np.isfinite(known).all() or not (known > 0).all():
        raise InputFileError("main training file", f"signal jets without {' or '.join(columns)}; the network reads it")
    rng = np.random.default_rng([seed, _MASS_STREAM])
    total = sum(len(jets) for jets in samples)
    drawn_from = known if trained is None else known[trained[signal]]
    masses: NDArray[np.float32] = drawn_from[rng.integers(0, len(drawn_from), size=total)].astype(np.float32)
    masses[: len(main)][signal] = known
    return masses
