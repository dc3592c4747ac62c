"""Jets of a training with their scores, as the figures of merit take them."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from torch import Tensor

from cal_ratio_trainer.datasets.sample import TrainingData
from cal_ratio_trainer.datasets.splits import Part
from cal_ratio_trainer.evaluation.scored import FloatArray, JetKinematics, ScoredControlJets, ScoredJets
from cal_ratio_trainer.jets.metadata import LEGACY_SCALING, JetMetadata, Scaling


def scored_main(data: TrainingData, part: Part, logits: Tensor) -> ScoredJets:
    """Main jets of a part with their scores, for the figures of merit."""
    positions = data.main.positions(part)
    jets = data.main.jets.scalars.take(positions)
    scores = logits.softmax(dim=1).cpu().numpy()
    return scored_jets(jets, scores, data.main.weight[positions], data.main.metadata)


def judged_main(data: TrainingData, part: Part, logits: Tensor) -> ScoredJets:
    """The same without masses and kinematics, which the figures of an epoch do not need."""
    positions = data.main.positions(part)
    return ScoredJets(
        scores=logits.softmax(dim=1).cpu().numpy(),
        labels=data.main.jets.label[positions],
        weights=data.main.weight[positions],
    )


def scored_jets(jets: pa.Table, scores: FloatArray, weights: FloatArray, metadata: JetMetadata) -> ScoredJets:
    """Main jets with masses and kinematics, as far as the file knows them.

    Args:
        jets: scalar columns of built jets.
        scores: [jets, 3] in the order of `Label`.
        weights: [jets].
        metadata: its scaling gives the jets' pt in GeV back; a file that does not say it is taken as 0-500 GeV.
    """
    return ScoredJets(
        scores=scores,
        labels=jets.column("label").to_numpy(),
        weights=weights,
        higgs_mass=_known(jets, "llp_mH"),
        scalar_mass=_known(jets, "llp_mS"),
        kinematics=jet_kinematics(jets, metadata.scaling),
    )


def jet_kinematics(jets: pa.Table, scaling: Scaling | None) -> JetKinematics:
    """Kinematics and truth of built jets; what a file does not hold is None, a null is NaN.

    Args:
        jets: scalar columns.
        scaling: the range of pt that became 0-1; None for 0-500 GeV.
    """
    scaling = scaling or LEGACY_SCALING
    scaled_pt = _known(jets, "jet_pt")
    width = scaling.max_jet_pt - scaling.min_jet_pt
    return JetKinematics(
        pt=None if scaled_pt is None else scaled_pt * np.float32(width) + np.float32(scaling.min_jet_pt),
        eta=_known(jets, "jet_eta"),
        phi=_known(jets, "jet_phi"),
        llp_eta=_known(jets, "llp_eta"),
        llp_lxy=_known(jets, "llp_Lxy"),
        llp_lz=_known(jets, "llp_Lz"),
    )


def scored_control(data: TrainingData, part: Part, logits: Tensor) -> ScoredControlJets:
    """Control-region jets of a part with their scores."""
    positions = data.control.positions(part)
    return ScoredControlJets(
        scores=logits.softmax(dim=1).cpu().numpy(),
        is_data=data.control.is_data[positions],
        weights=data.control.weight[positions],
        scaled_pt=data.control.jets["jet_pt"][positions],
    )


def _known(jets: pa.Table, name: str) -> FloatArray | None:
    if name not in jets.column_names:
        return None
    # A column of integers, or of nulls alone, becomes one of floats.
    values: NDArray[np.float32] = np.asarray(jets.column(name).to_numpy(), dtype=np.float32)
    return values
