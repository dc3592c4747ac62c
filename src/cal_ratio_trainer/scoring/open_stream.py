"""Opens a file of any kind that can be scored as a stream of jets."""

from pathlib import PurePosixPath
from urllib.parse import urlsplit

from cal_ratio_trainer.files.cache import is_remote, local_copy
from cal_ratio_trainer.scoring.streams import FileOfJets, JetStream, StreamOptions


def open_stream(name: str, options: StreamOptions) -> JetStream:
    """Open a file of any kind that can be scored.

    Raises:
        InputFileError: it is missing, damaged, none of ours, or scaled otherwise than the network's training file.
        MissingColumn: it lacks columns or branches.
        ForbiddenPickle: a pickle that asks for more than a frame.
    """
    if _is_ntuple(name):
        # uproot is needed for ntuples only.
        from cal_ratio_trainer.scoring.ntuple_stream import NtupleStream

        return NtupleStream(name, options)
    return FileOfJets(name, local_copy(name, options.cache_path), options)


def _is_ntuple(name: str) -> bool:
    if is_remote(name):
        return PurePosixPath(urlsplit(name).path).suffix == ".root"
    path = local_copy(name)
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == b"root"
