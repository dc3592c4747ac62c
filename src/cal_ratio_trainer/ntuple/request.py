"""Requests to convert one file each, made of the list in the settings: patterns are expanded, outputs are named."""

import contextlib
import glob
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from cal_ratio_trainer.config.base import in_shard
from cal_ratio_trainer.config.convert import Conditions, ConversionInput, ConvertSettings, named_conditions
from cal_ratio_trainer.config.loading import read_yaml
from cal_ratio_trainer.errors import ConfigError, SameOutput
from cal_ratio_trainer.files.cache import is_remote
from cal_ratio_trainer.files.json_text import unquoted
from cal_ratio_trainer.files.remote import file_system, in_words, persistently, xrootd_hint
from cal_ratio_trainer.jets.expressions import parse_condition
from cal_ratio_trainer.jets.labels import DataType
from cal_ratio_trainer.jets.metadata import Cuts
from cal_ratio_trainer.jets.schema import CALRATIO_2019, Schema, extended_schema
from cal_ratio_trainer.ntuple.summary import FAILED_FILES, ConversionRow, Status

MAX_JET_ETA = 2.5

_WILD = "*?["


@dataclass(frozen=True)
class Cut:
    """A condition that a user wrote, and its name in the cutflow."""

    name: str
    condition: str


def branch_of(column: str) -> str:
    """The branch that a column of a condition is taken from.

    >>> branch_of("jet_pT[0]")
    'jet_pT'
    """
    return re.sub(r"\[\d+\]$", "", column)


@dataclass(frozen=True)
class JetSelection:
    """Selection of jets, and their properties given by the user.

    Attributes:
        data_type: type of the file.
        min_jet_pt, max_jet_pt: GeV.
        llp_mH, llp_mS: masses of a signal sample in GeV.
        max_hlt_delta_r: largest distance of BIB from trigger jet to jet; None takes any.
        keep_branches: further branches to carry through.
        event_cuts, jet_cuts: conditions on events and on jets.
        require_clean_jets: keep only jets that are flagged as clean.
        max_jets_per_event: keep at most so many, the hardest; None keeps all.
        schema: the features of the jets.
    """

    data_type: DataType
    min_jet_pt: float = 40.0
    max_jet_pt: float = 500.0
    llp_mH: float | None = None
    llp_mS: float | None = None
    max_hlt_delta_r: float | None = None
    keep_branches: tuple[str, ...] = ()
    event_cuts: tuple[Cut, ...] = ()
    jet_cuts: tuple[Cut, ...] = ()
    require_clean_jets: bool = False
    max_jets_per_event: int | None = None
    schema: Schema = CALRATIO_2019

    def further_branches(self) -> list[str]:
        """The branches that the user asks for, to carry through or for a condition."""
        columns = (parse_condition(cut.condition, positions=True).columns for cut in (*self.event_cuts, *self.jet_cuts))
        used = sorted({branch_of(column) for of_cut in columns for column in of_cut})
        return list(dict.fromkeys([*self.keep_branches, *used]))

    def cuts(self) -> Cuts:
        """Cuts for the metadata of a file."""
        return Cuts(
            data_types=[self.data_type],
            min_jet_pt=self.min_jet_pt,
            max_jet_pt=self.max_jet_pt,
            max_abs_jet_eta=MAX_JET_ETA,
            event_selection={cut.name: cut.condition for cut in self.event_cuts},
            jet_selection={cut.name: cut.condition for cut in self.jet_cuts},
            require_clean_jets=self.require_clean_jets,
            max_jets_per_event=self.max_jets_per_event,
            max_hlt_delta_r=self.max_hlt_delta_r if self.data_type is DataType.BIB else None,
        )


@dataclass(frozen=True)
class ConversionRequest:
    """One file to convert.

    Attributes:
        file: absolute path or URL of the ntuple.
        output: path of the result.
        selection: selection of jets.
        layout: 'ragged' or 'flat'.
        max_events: number of events to read; None reads all.
        chunk_events: number of events per chunk.
        overwrite: convert again what is already done.
        cache_path: folder for copies of remote files; None streams them.
        piece_events: a file of more events may be cut into pieces of about so many.
    """

    file: str
    output: Path
    selection: JetSelection
    layout: str = "ragged"
    max_events: int | None = None
    chunk_events: int = 4000
    overwrite: bool = False
    cache_path: Path | None = None
    piece_events: int = 100_000

    @property
    def metadata_file(self) -> Path | None:
        """Path of the metadata of a flat file, because a pickled frame cannot hold them; None for other layouts."""
        return self.output.with_name(f"{self.output.name}.metadata.json") if self.layout == "flat" else None

    @property
    def written(self) -> tuple[Path, ...]:
        """All files that are written for it."""
        return (self.output,) if self.metadata_file is None else (self.output, self.metadata_file)

    def with_absolute_paths(self) -> "ConversionRequest":
        """The same for a process with another current folder."""
        cache_path = self.cache_path.absolute() if self.cache_path is not None else None
        return replace(self, output=self.output.absolute(), cache_path=cache_path)

    def options(self) -> dict[str, Any]:
        """Options on which the content of the result depends, apart from the file; stored with it as JSON."""
        selection = self.selection
        return {
            "data_type": selection.data_type.value,
            "llp_mH": selection.llp_mH if selection.data_type is DataType.SIGNAL else None,
            "llp_mS": selection.llp_mS if selection.data_type is DataType.SIGNAL else None,
            "min_jet_pt": selection.min_jet_pt,
            "max_jet_pt": selection.max_jet_pt,
            "max_hlt_delta_r": selection.max_hlt_delta_r if selection.data_type is DataType.BIB else None,
            "keep_branches": list(selection.keep_branches),
            # Files of earlier versions lack these, and were made without: None equals a missing value.
            "event_selection": {cut.name: cut.condition for cut in selection.event_cuts} or None,
            "jet_selection": {cut.name: cut.condition for cut in selection.jet_cuts} or None,
            "require_clean_jets": selection.require_clean_jets or None,
            "max_jets_per_event": selection.max_jets_per_event,
            "max_events": self.max_events,
            "layout": self.layout,
        }


def requests_for(settings: ConvertSettings) -> tuple[list[ConversionRequest], list[ConversionRow]]:
    """Requests for the files in the settings' list, one per file in the order of the list, and failed rows.

    The rows are for patterns that match nothing.

    Raises:
        ConfigError: no files, a file without a data type, signal without masses; all such mistakes at once. Or the
            schema file has mistakes.
        InputFileError: the schema file cannot be read.
        SameOutput: two files would write the same output.
    """
    _check(settings)
    schema = CALRATIO_2019
    if settings.schema_file is not None:
        schema = extended_schema(str(settings.schema_file), read_yaml(settings.schema_file))
    requests: dict[ConversionRequest, None] = {}
    not_found = []
    for each in settings.input_files:
        files, reason = files_matching(each.input_file)
        if reason:
            not_found.append(ConversionRow(each.input_file, None, Status.FAILED, reason))
        requests |= dict.fromkeys(_request(settings, each, file, schema) for file in files)
    _check_outputs(requests)
    own = [request for position, request in enumerate(requests) if in_shard(position, settings.shard)]
    # A pattern that matches nothing belongs to no shard, so the first one reports it.
    return own, not_found if in_shard(0, settings.shard) else []


def _check(settings: ConvertSettings) -> None:
    mistakes = [] if settings.input_files else ["no files are given: name them on the command line or as input_files"]
    for each in settings.input_files:
        data_type = each.data_type or settings.data_type
        if data_type is None:
            known = ", ".join(DataType)
            mistakes.append(f"{each.input_file}: its data_type must be given (one of {known})")
        for mass in ("llp_mH", "llp_mS"):
            if data_type is DataType.SIGNAL and getattr(each, mass) is None and getattr(settings, mass) is None:
                mistakes.append(f"{each.input_file}: signal needs {mass}, a mass in GeV")
        # Links are not followed: a folder below output_path may be one to another disk.
        root = Path(os.path.normpath(settings.output_path.absolute()))
        if not Path(os.path.normpath(root / (each.output_dir or ""))).is_relative_to(root):
            mistakes.append(
                f"{each.input_file}: its output_dir should be a folder below output_path ({settings.output_path}), got "
                f"{each.output_dir}"
            )
    if mistakes:
        raise ConfigError(dict.fromkeys(mistakes))


def files_matching(pattern: str) -> tuple[list[str], str]:
    """The files that a name, a pattern or a list stands for, and why there are none.

    A list is a text file with a name or pattern a line; # begins a comment, and names that are no line of text stand
    in JSON's quotes. It is given as @NAME; the list of the files that could not be converted, failed_files.txt, also by
    its name alone.
    """
    listed = _listed_in(pattern)
    if listed is None:
        return _matching(pattern)
    names, reason = listed
    files: dict[str, None] = {}
    for name in names:
        found, missing = _matching(name)
        files |= dict.fromkeys(found)
        reason = reason or (f"{name}: {missing}" if missing else "")
    return list(files), reason


def _listed_in(given: str) -> tuple[list[str], str] | None:
    """The lines of a list and what is wrong with it; None for what is no list."""
    if not given.startswith("@") and PurePosixPath(given).name != FAILED_FILES:
        return None
    try:
        text = Path(given.removeprefix("@")).expanduser().read_text("utf-8", errors="surrogateescape")
    except OSError as error:
        return [], f"the list of files cannot be read ({error.strerror})"
    if "\0" in text:
        return [], "is given as a list of files, but is not a text file"
    lines = [line.strip() for line in text.splitlines()]
    names = [line for line in lines if line and not line.startswith("#")]
    return names, "" if names else "the list names no file"


def _matching(pattern: str) -> tuple[list[str], str]:
    pattern = unquoted(pattern)
    if not is_remote(pattern):
        pattern = unquote(urlsplit(pattern).path) if pattern.startswith("file://") else pattern
        path = os.path.abspath(os.path.expanduser(pattern))  # noqa: PTH100, PTH111 - a pattern is no path
        # No Path.exists: that raises for a name that is too long.
        if os.path.exists(path) or not any(letter in pattern for letter in _WILD):  # noqa: PTH110
            return [path], ""
        files = sorted(glob.glob(path, recursive=True))  # noqa: PTH207 - absolute patterns
        return files, "" if files else "the pattern matches no file"
    if not any(letter in urlsplit(pattern).path for letter in "*["):
        return [pattern], ""
    try:
        found = persistently(lambda: _found_remotely(pattern), f"{pattern}: looking up the pattern")
    except Exception as error:
        return [], f"the pattern cannot be looked up ({xrootd_hint(pattern, error) or in_words(error)})"
    return found, "" if found else "the pattern matches no file"


def _found_remotely(pattern: str) -> list[str]:
    system, path = file_system(pattern)
    names = system.glob(path)
    if not names:
        # `glob` takes a folder that the server cannot list for an empty one; `ls` raises the error.
        first = min(path.index(letter) for letter in "*[" if letter in path)
        with contextlib.suppress(FileNotFoundError):
            system.ls(path[:first].rpartition("/")[0], detail=False)
    found = (system.unstrip_protocol(name) for name in names)
    scheme, _, rest = pattern.partition("://")
    if scheme not in ("root", "roots"):
        return sorted(found)
    # Not every version of the package for it names the server.
    server = f"{scheme}://{rest.partition('/')[0]}/"
    return sorted(
        name if name.startswith(server) else f"{server}/{name.partition('://')[2].lstrip('/')}" for name in found
    )


def _request(settings: ConvertSettings, given: ConversionInput, file: str, schema: Schema) -> ConversionRequest:
    data_type = given.data_type or settings.data_type
    if data_type is None:
        raise ConfigError([f"{file}: its data_type must be given"])
    suffix = f".{settings.flat_format}" if settings.layout == "flat" else ".parquet"
    folder = settings.output_path / (given.output_dir or "")
    return ConversionRequest(
        file=file,
        output=folder / f"{PurePosixPath(urlsplit(file).path if is_remote(file) else file).stem}{suffix}",
        selection=JetSelection(
            data_type=data_type,
            min_jet_pt=settings.min_jet_pt,
            max_jet_pt=settings.max_jet_pt,
            llp_mH=settings.llp_mH if given.llp_mH is None else given.llp_mH,
            llp_mS=settings.llp_mS if given.llp_mS is None else given.llp_mS,
            max_hlt_delta_r=settings.max_hlt_delta_r,
            keep_branches=tuple(settings.keep_branches),
            event_cuts=_cuts(settings.event_selection),
            jet_cuts=_cuts(settings.jet_selection),
            require_clean_jets=settings.require_clean_jets,
            max_jets_per_event=settings.max_jets_per_event,
            schema=schema,
        ),
        layout=settings.layout,
        max_events=settings.max_events,
        chunk_events=settings.chunk_events,
        overwrite=settings.overwrite,
        cache_path=settings.cache_path,
        piece_events=settings.piece_events,
    )


def _cuts(given: Conditions) -> tuple[Cut, ...]:
    return tuple(Cut(name, condition) for name, condition in named_conditions(given).items())


def _check_outputs(requests: Iterable[ConversionRequest]) -> None:
    """Refuses two files with one output, before anything is done."""
    first: dict[str, ConversionRequest] = {}
    for request in requests:
        other = first.setdefault(os.path.abspath(request.output), request)  # noqa: PTH100 - no links followed
        if other is not request:
            raise SameOutput(other.file, request.file, request.output)
