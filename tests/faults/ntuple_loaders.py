"""Conversion of damaged ntuples."""

import hashlib
from pathlib import Path
from typing import Any

import uproot

from cal_ratio_trainer.jets.labels import DataType
from cal_ratio_trainer.jets.loading import read_jets
from cal_ratio_trainer.ntuple.events import HLT_JETS, LLPS
from cal_ratio_trainer.ntuple.file_conversion import convert_whole
from cal_ratio_trainer.ntuple.request import ConversionRequest, JetSelection
from tests.factories.ntuples import random_events, write_ntuple
from tests.faults.campaign import Loader

_EVENTS = 3


def _rntuple(folder: Path) -> Path:
    return write_ntuple(folder / "a.root", random_events(1, _EVENTS), without=(*LLPS, *HLT_JETS), splits=(2,))


def _ttree(folder: Path) -> Path:
    """The same events in a TTree, as far as uproot writes one: each track and segment has one jet index."""
    with uproot.open(_rntuple(folder)) as file:
        events = file["trees_DV_"].arrays()
    columns: dict[str, Any] = {name: events[name] for name in events.fields}
    columns |= {name: columns[name][:, :, 0] for name in ("track_jetIndex", "MSeg_jetIndex")}
    with uproot.recreate(folder / "a.root") as file:
        file.mktree("trees_DV_", {name: values.type.content for name, values in columns.items()}).extend(columns)
    return folder / "a.root"


def _converted(file: Path) -> str:
    """Digest of the jets of a file."""
    request = ConversionRequest(str(file), file.with_name("a.parquet"), JetSelection(DataType.QCD), overwrite=True)
    convert_whole(lambda done, of: None, request, False)
    jets = read_jets(request.output)
    content = hashlib.sha256(repr(jets.scalars.drop_columns(["source_file"]).to_pydict()).encode())
    for name, ragged in jets.constituents.items():
        content.update(name.encode() + ragged.values.tobytes() + ragged.lengths.tobytes())
    return content.hexdigest()


def _converted_or_refused(file: Path) -> None:
    # Codecs of TTrees detect damage, headers of baskets do not.
    _converted(file)


NTUPLE_LOADERS = {
    "RNTuple ntuple": Loader(_rntuple, _converted),
    "TTree ntuple": Loader(_ttree, _converted_or_refused),
}
