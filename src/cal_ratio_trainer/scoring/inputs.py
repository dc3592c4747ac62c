"""Files that a user names to be scored: found, opened as streams of jets, and where their scores go."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from cal_ratio_trainer.config.scoring import ReadingSettings
from cal_ratio_trainer.errors import ConfigError, InputFileError, SameOutput
from cal_ratio_trainer.files.cache import is_remote, local_copy
from cal_ratio_trainer.jets.metadata import Scaling
from cal_ratio_trainer.jets.schema import CALRATIO_2019, Schema
from cal_ratio_trainer.ntuple.inputs import files_matching
from cal_ratio_trainer.scoring.streams import FileOfJets, JetStream, StreamOptions


def files_named(words: Sequence[str]) -> list[str]:
    """The files that paths, patterns and URLs name, in order, each once.

    Raises:
        ConfigError: no words.
        InputFileError: a pattern matches nothing, or a path does not exist.
    """
    if not words:
        raise ConfigError(["no files of jets are given"])
    found: dict[str, None] = {}
    for word in words:
        files, reason = files_matching(word)
        missing = [file for file in files if not is_remote(file) and not Path(file).exists()]
        if reason or missing:
            raise InputFileError(word, reason or "no such file")
        found |= dict.fromkeys(files)
    return list(found)


def outputs_for(files: Sequence[str], folder: Path) -> dict[str, Path]:
    """Where the scores of each file go: its name with the ending .parquet, in the folder.

    Raises:
        SameOutput: two files would be written to one.
        InputFileError: an output is one of the files.
    """
    given = {Path(file).resolve(): file for file in files if not is_remote(file)}
    outputs: dict[str, Path] = {}
    first: dict[Path, str] = {}
    for file in files:
        output = folder / f"{PurePosixPath(urlsplit(file).path if is_remote(file) else file).stem}.parquet"
        if output in first:
            raise SameOutput(first[output], file, output, "score them in two calls with an --output_report each")
        if output.resolve() in given:
            raise InputFileError(output, "is an input and cannot be the output too; give another --output_report")
        first[output] = file
        outputs[file] = output
    return outputs


def stream_options(
    settings: ReadingSettings, scaling: Scaling, further: Sequence[str] = (), schema: Schema = CALRATIO_2019
) -> StreamOptions:
    """How the settings want files to be read, for a network that reads jets of this scaling and schema.

    Args:
        settings: of the command.
        scaling: of the network's training file.
        further: columns that are needed beside those that the settings name.
        schema: features to read.
    """
    return StreamOptions(
        scaling=scaling,
        schema=schema,
        data_type=settings.data_type,
        kind=settings.kind,
        llp_mH=settings.llp_mH,
        llp_mS=settings.llp_mS,
        min_jet_pt=settings.min_jet_pt,
        max_jet_pt=settings.max_jet_pt,
        max_hlt_delta_r=settings.max_hlt_delta_r,
        chunk_events=settings.chunk_events,
        keep_columns=tuple(dict.fromkeys([*settings.keep_columns, *further])),
        cache_path=settings.cache_path,
    )


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
