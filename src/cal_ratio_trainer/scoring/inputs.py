"""Files that a user names to be scored: found, opened as streams of jets, and where their scores go."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from cal_ratio_trainer.config.scoring import ReadingSettings
from cal_ratio_trainer.errors import ConfigError, InputFileError, SameOutput
from cal_ratio_trainer.files.cache import is_remote, local_copy
from cal_ratio_trainer.jets.metadata import Scaling
from cal_ratio_trainer.jets.schema import Schema
from cal_ratio_trainer.ntuple.request import files_matching
from cal_ratio_trainer.scoring.streams import FileOfJets, JetStream


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
    """The output for the scores of each file: its name with the ending .parquet, in the folder.

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


def open_stream(
    name: str, reading: ReadingSettings, scaling: Scaling, schema: Schema, further: Sequence[str] = ()
) -> JetStream:
    """Opens a file of any kind that can be scored.

    Args:
        name: path or URL.
        reading: settings for reading files.
        scaling: of the training file of the network that is to read the jets.
        schema: features that the network reads.
        further: columns that are needed beside those that the settings name.

    Raises:
        InputFileError: it is missing, damaged, none of ours, or scaled otherwise than the network's training file.
        MissingColumn: it lacks columns or branches, or features that the network reads.
        ForbiddenPickle: a pickle that asks for more than a frame.
    """
    columns = (*reading.keep_columns, *further)
    if _is_ntuple(name):
        # uproot is needed for ntuples only.
        from cal_ratio_trainer.scoring.ntuple_stream import NtupleStream

        return NtupleStream(name, reading, scaling, schema, columns)
    return FileOfJets(name, local_copy(name, reading.cache_path), reading, scaling, schema, columns)


def _is_ntuple(name: str) -> bool:
    if is_remote(name):
        return PurePosixPath(urlsplit(name).path).suffix == ".root"
    path = local_copy(name)
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == b"root"
