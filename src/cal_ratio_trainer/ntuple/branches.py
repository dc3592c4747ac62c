"""Branches of the tree that a data type needs, by their names in DiVertAnalysis."""

from collections.abc import Collection

from cal_ratio_trainer.errors import InputFileError, MissingColumn
from cal_ratio_trainer.jets.labels import DataType
from cal_ratio_trainer.jets.schema import CALRATIO_2019, Schema
from cal_ratio_trainer.ntuple.request import Selection

JET_CLEAN = "jet_isClean_LooseBadLLP"
JETS = (*CALRATIO_2019.jet_branches, JET_CLEAN)
JET_INDEX = "nn_jet_index"
RUN, EVENT, CHANNEL, WEIGHT = "runNumber", "eventNumber", "mcChannelNumber", "mcEventWeight"
LLP_PT, LLP_ETA, LLP_PHI, LLP_LXY, LLP_LZ = LLPS = ("llp_pT", "llp_eta", "llp_phi", "llp_Lxy", "llp_Lz")
HLT_PT, HLT_ETA, HLT_PHI, HLT_BIB = HLT_JETS = ("HLT_jet_pT", "HLT_jet_eta", "HLT_jet_phi", "HLT_jet_isBIB")


def event_branches(data_type: DataType, schema: Schema = CALRATIO_2019) -> tuple[str, ...]:
    """The branches of events, jets, trigger jets and truth that jets of this type and schema cannot do without."""
    names: tuple[str, ...] = (*schema.jet_branches, JET_CLEAN, RUN, EVENT)
    if data_type.is_simulation:
        names += (WEIGHT,)
    if data_type is DataType.SIGNAL:
        names += LLPS
    if data_type is DataType.BIB:
        names += HLT_JETS
    return names


def required_branches(data_type: DataType, schema: Schema = CALRATIO_2019) -> tuple[str, ...]:
    """All branches that this type and schema need, those of the constituents included."""
    constituents = (name for kind in schema.constituents for name in (kind.index_branch, *kind.branches))
    return (*event_branches(data_type, schema), *constituents)


def check_branches(file: str, selection: Selection, present: Collection[str]) -> None:
    """Checks that a tree has all needed branches, before any are read.

    uproot raises for a missing branch of a TTree but leaves out a missing field of an RNTuple without a word.

    Args:
        file: its name, for messages.
        selection: selection of jets.
        present: the branches that are there.

    Raises:
        InputFileError: QCD without generator weights, which is most likely data.
        MissingColumn: names all that is missing.
    """
    data_type = selection.data_type
    needed = (*required_branches(data_type, selection.schema), *selection.further_branches())
    missing = [name for name in needed if name not in present]
    if missing == [WEIGHT]:
        raise InputFileError(
            file,
            f"has no {WEIGHT}, so it is no simulation and cannot be converted as data_type {data_type}; "
            f"for control-region data take data_type {DataType.DATA}, for beam-induced background {DataType.BIB}",
        )
    if missing:
        raise MissingColumn(file, missing, present)
