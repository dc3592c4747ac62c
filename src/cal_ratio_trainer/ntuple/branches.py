"""Which branches of the tree a data type needs, by their names in DiVertAnalysis."""

from collections.abc import Collection

from cal_ratio_trainer.errors import InputFileError, MissingColumn
from cal_ratio_trainer.jets.labels import DataType
from cal_ratio_trainer.jets.schema import CONSTITUENTS

TREE = "trees_DV_"
JET_PT, JET_ETA, JET_PHI, JET_CLEAN = JETS = ("jet_pT", "jet_eta", "jet_phi", "jet_isClean_LooseBadLLP")
JET_INDEX = "nn_jet_index"
RUN, EVENT, CHANNEL, WEIGHT = "runNumber", "eventNumber", "mcChannelNumber", "mcEventWeight"
LLP_PT, LLP_ETA, LLP_PHI, LLP_LXY, LLP_LZ = LLPS = ("llp_pT", "llp_eta", "llp_phi", "llp_Lxy", "llp_Lz")
HLT_PT, HLT_ETA, HLT_PHI, HLT_BIB = HLT_JETS = ("HLT_jet_pT", "HLT_jet_eta", "HLT_jet_phi", "HLT_jet_isBIB")


def event_branches(data_type: DataType) -> tuple[str, ...]:
    """The branches of events, jets, trigger jets and truth that jets of this type cannot do without."""
    names: tuple[str, ...] = (*JETS, RUN, EVENT)
    if data_type.is_simulation:
        names += (WEIGHT,)
    if data_type is DataType.SIGNAL:
        names += LLPS
    if data_type is DataType.BIB:
        names += HLT_JETS
    return names


def required_branches(data_type: DataType) -> tuple[str, ...]:
    """All branches that this type needs, those of the constituents included."""
    constituents = (name for kind in CONSTITUENTS for name in (kind.index_branch, *kind.branches))
    return (*event_branches(data_type), *constituents)


def check_branches(file: str, data_type: DataType, further: Collection[str], present: Collection[str]) -> None:
    """Make sure that a tree has what is needed, before anything is read.

    uproot raises for a missing branch of a TTree but leaves out a missing field of an RNTuple without a word.

    Args:
        file: its name, for messages.
        data_type: what it is taken for.
        further: branches that the user asks for.
        present: the branches that are there.

    Raises:
        InputFileError: QCD without generator weights, which is most likely data.
        MissingColumn: names all that is missing.
    """
    missing = [name for name in (*required_branches(data_type), *further) if name not in present]
    if missing == [WEIGHT]:
        raise InputFileError(
            file,
            f"has no {WEIGHT}, so it is no simulation and cannot be converted as data_type {data_type}; "
            f"for control-region data take data_type {DataType.DATA}, for beam-induced background {DataType.BIB}",
        )
    if missing:
        raise MissingColumn(file, missing, present)
