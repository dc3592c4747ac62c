"""Jets of a training with their scores, as the figures of merit take them."""

from torch import Tensor

from cal_ratio_trainer.evaluation.scored import ScoredControlJets, ScoredJets
from cal_ratio_trainer.training.data import TrainingData
from cal_ratio_trainer.training.splits import Part


def scored_main(data: TrainingData, part: Part, logits: Tensor) -> ScoredJets:
    """Main jets of a part with their scores, for the figures of merit."""
    jets = data.main.jets.scalars.take(data.main.positions(part))
    masses = {
        field: jets.column(name).to_numpy() if name in jets.column_names else None
        for field, name in (("higgs_mass", "llp_mH"), ("scalar_mass", "llp_mS"))
    }
    return ScoredJets(
        scores=logits.softmax(dim=1).cpu().numpy(),
        labels=jets.column("label").to_numpy(),
        weights=data.main.weight[data.main.positions(part)],
        **masses,
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
