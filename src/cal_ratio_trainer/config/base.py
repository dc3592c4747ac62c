"""Base of all settings, and what several commands share: names, files, the heading of figures, the executor."""

import os
import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, get_args, get_origin

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

MAX_PROCESSES = 4096
"""Upper limit on numbers of processes and threads that may be asked for, more than any machine has."""

Rule = Literal["auc-near-lowest-ks", "validation-loss", "adversary", "discriminator", "ks-sum"]
"""Rules by which an epoch can be recommended; `runs.recommendation` applies them."""

_THIS_PROCESS = "none"
_LOCAL = "local"


class Settings(BaseModel):
    """Settings of one command or of a part of one: frozen, unknown names refused, old names accepted.

    Class attributes:
        aliases: other name, such as that in configurations of the earlier program -> name here.
        ignored: names that have no effect here -> the reason, logged when one is given; empty logs nothing.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", protected_namespaces=(), validate_default=True, allow_inf_nan=False
    )

    aliases: ClassVar[dict[str, str]] = {}
    ignored: ClassVar[dict[str, str]] = {}

    @model_validator(mode="before")
    @classmethod
    def _rename_aliases(cls, given: Any) -> Any:
        return cls.with_new_names(given) if isinstance(given, dict) else given

    @field_validator("*", mode="before")
    @classmethod
    def _accept_paths(cls, value: Any, info: ValidationInfo) -> Any:
        """Takes a path or a run for its name, which may also be a URL or a word like demo, and one name for a list."""
        annotation = cls.model_fields[info.field_name or ""].annotation
        if value == "" and Path in (annotation, *get_args(annotation)):
            # It would mean the current folder; it comes from a shell variable that is not set.
            raise ValueError("should be a path, got ''")
        if isinstance(value, str | os.PathLike) and get_origin(annotation) is list:
            value = [value]
        if isinstance(value, list | tuple):
            return [os.fspath(each) if isinstance(each, os.PathLike) else each for each in value]
        return os.fspath(value) if isinstance(value, os.PathLike) else value

    @field_validator("*")
    @classmethod
    def _expand_home(cls, value: Any) -> Any:
        # A shell expands ~ on the command line; in a YAML file it would become a folder named ~.
        return value.expanduser() if isinstance(value, Path) else value

    @field_validator("*")
    @classmethod
    def _refuse_other_encodings(cls, value: Any) -> Any:
        # The name of a file may be any bytes. Settings, reports and records are text.
        values = value.values() if isinstance(value, dict) else value
        for each in values if isinstance(value, dict | list | tuple) else [value]:
            try:
                str(each if isinstance(each, str | Path) else "").encode()
            except UnicodeEncodeError as error:
                raise ValueError(f"{str(each)!a} is no text in UTF-8; rename the file or folder") from error
        return value

    @classmethod
    def with_new_names(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Returns the settings under their present names, without ignored ones.

        Raises:
            ValueError: a setting is given under its old and its new name with two values.
        """
        renamed: dict[str, Any] = {}
        for name, value in given.items():
            new_name = cls.aliases.get(name, name)
            if new_name in renamed and renamed[new_name] != value:
                names = " and ".join(other for other in given if cls.aliases.get(other, other) == new_name)
                raise ValueError(f"{names} are names of the same setting; give only {new_name}")
            if new_name not in cls.ignored:
                renamed[new_name] = value
        return renamed

    @classmethod
    def implied_by(cls, given: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
        """Returns settings that the names in a config file imply, and the reason as a sentence on the file; or None."""
        return None

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """The default of every field that has one, by name."""
        fields = cls.model_fields.items()
        return {name: info.get_default(call_default_factory=True) for name, info in fields if not info.is_required()}

    @classmethod
    def field_names(cls) -> list[str]:
        """Names of all fields in the order of --help: the command's own, then those it inherits."""
        extended = {name for base in cls.__bases__ for name in getattr(base, "model_fields", {})}
        return sorted(cls.model_fields, key=lambda name: name in extended)

    @classmethod
    def make(cls, **changes: Any) -> Self:
        """Returns the default settings with changes, of any type that a YAML file or a flag can give."""
        return cls.model_validate(changes)

    def as_yaml(self) -> str:
        """Returns all settings as YAML, which `--config` reads back."""
        values = self.model_dump(mode="json")
        ordered = {name: values[name] for name in self.field_names() if name in values}
        text: str = yaml.safe_dump(ordered, sort_keys=False, allow_unicode=True)
        return text


RunsFolder = Annotated[Path, Field(description="Folder that holds all runs, by model name and run number.")]


def name_of_file(given: Any) -> Any:
    """Refuses the name of a folder where a file will be written; returns anything else unchanged."""
    if isinstance(given, str) and given.endswith("/"):
        raise ValueError(f"should be the name of a file, got the folder {given}")
    return given


OutputFile = Annotated[Path, BeforeValidator(name_of_file)]
"""File to write; a path drops the slash at the end of a folder's name."""


def report_file(given: Any) -> Any:
    """Markdown file of a report: of its HTML page the file beside it, of a folder report.md in it.

    >>> [report_file(name) for name in ("a.html", "a.txt", "a", "v1.2", "a.md/")]
    ['a.md', 'a.txt', 'a/report.md', 'v1.2/report.md', 'a.md/report.md']
    """
    if not isinstance(given, str | Path):
        return given
    path = Path(given)
    if str(given).endswith("/") or not re.search(r"\.[A-Za-z]+$", path.name):
        return str(path / "report.md")
    return str(path.with_suffix(".md") if path.suffix == ".html" else path)


ReportFile = Annotated[Path, BeforeValidator(report_file)]
"""Markdown file to write, or a folder for everything."""


def folder_of_scores(report: Path) -> Path:
    """Folder for the scores that belong to a report: the report's own, but never the current folder."""
    return report.parent if report.parent != Path() else report.with_name(f"{report.stem}_scores")


CacheFolder = Annotated[
    Path | None, Field(description="Folder for copies of remote files; null: the user's cache folder.")
]


def _slashed(*parts: str) -> BeforeValidator:
    """Validator that turns the earlier program's mapping of such parts into a text with slashes, e.g. NAME/RUN."""

    def joined(given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        if given.keys() != set(parts):
            form, names, found = "/".join(parts).upper(), ", ".join(parts), ", ".join(map(str, given))
            raise ValueError(f"should be {form} or a mapping of {names}, got one of {found}")
        return "/".join(str(given[part]) for part in parts)

    return BeforeValidator(joined)


RunName = Annotated[str, _slashed("name", "run")]
NetworkName = Annotated[str, _slashed("name", "run", "epoch")]


def model_name(given: str) -> str:
    """Returns a model name that is also a valid folder name.

    Raises:
        ValueError: the name is not valid.
    """
    if not re.fullmatch(r"[A-Za-z0-9][\w.+-]*", given):
        raise ValueError(f"should be letters, digits and . _ + - only, a letter or digit first, got {given!r}")
    return given


ModelName = Annotated[str, AfterValidator(model_name)]


def _above_min_jet_pt(max_jet_pt: float, info: ValidationInfo) -> float:
    min_jet_pt = info.data.get("min_jet_pt")
    if min_jet_pt is not None and min_jet_pt >= max_jet_pt:
        raise ValueError(f"min_jet_pt ({min_jet_pt:g}) must be below max_jet_pt ({max_jet_pt:g})")
    return max_jet_pt


MaxJetPt = Annotated[float, AfterValidator(_above_min_jet_pt)]
"""Upper end of a range of jet pt [GeV] whose lower end is the setting `min_jet_pt`, declared before it."""


class InputEntry(Settings):
    """Entry of a list of input files, which may also be given as one word.

    Class attributes:
        input_file: declared by each kind of entry, with its description.
    """

    @classmethod
    def of_word(cls, word: str) -> dict[str, Any]:
        """Returns the settings that a word stands for: a file without settings of its own."""
        return {"input_file": word}

    @model_validator(mode="before")
    @classmethod
    def _accept_word(cls, given: Any) -> Any:
        return cls.of_word(str(given)) if isinstance(given, str | Path) else given


def one_or_several(given: Any) -> Any:
    """Returns a single file as a list, and null as an empty one; anything else unchanged."""
    return [] if given is None else [given] if isinstance(given, str | Path) else given


class RunsFolderSettings(Settings):
    """Folder of all runs, for commands that read it."""

    aliases: ClassVar[dict[str, str]] = {"runs_path": "output_path"}

    output_path: RunsFolder = Path("training_results")


class FigureSettings(Settings):
    """Heading and file format of figures.

    The heading is for data and simulation of an experiment; figures of the built-in demo always say "demo
    simulation", and never a luminosity.
    """

    experiment: str = Field(default="ATLAS", min_length=1, description="Experiment in the heading of figures.")
    status: str = Field(
        default="Internal",
        description="Word after the experiment in the heading of figures: Internal, Preliminary, or nothing.",
    )
    energy_tev: float | None = Field(
        default=None,
        gt=0,
        description="Centre-of-mass energy in the heading of figures; null takes it from the run numbers of the jets, "
        "if they are known. [TeV]",
    )
    luminosity_fb: float | None = Field(
        default=None, gt=0, description="Luminosity in the heading of figures; null: none. [1/fb]"
    )
    plot_format: Literal["png", "pdf", "both"] = Field(
        default="png",
        description="Format of figures: PNG, PDF, or both. HTML reports show PNG, which is then written beside each "
        "PDF.",
    )


class SchedulingSettings(Settings):
    """The executor that works on many files."""

    scheduler: str | None = Field(
        default="local",
        description="Workers that do the work: none (this process), local (as many processes on this machine as "
        "workers says), or a Dask cluster, by the address (tcp://host:port) or the file of its scheduler.",
    )
    workers: int = Field(
        default=1, ge=1, le=MAX_PROCESSES, description="Number of processes with scheduler 'local'. [processes]"
    )

    def without_scheduling(self) -> dict[str, Any]:
        """Returns the settings on which a result depends, for its metadata: all but scheduler and workers."""
        return self.model_dump(mode="json", exclude={"scheduler", "workers"})

    @field_validator("scheduler")
    @classmethod
    def _is_known(cls, given: str | None) -> str | None:
        if given is None or given == _THIS_PROCESS:
            return None
        if given != _LOCAL and not re.match(r"[a-z]+://.", given) and not given.endswith(".json"):
            raise ValueError(
                f"should be none, local, an address like tcp://host:8786 or a scheduler file that ends in "
                f".json, got {given!r}"
            )
        return given


class SharedListSettings(SchedulingSettings):
    """The executor of commands that write one file per input and can share one list of inputs."""

    piece_events: int = Field(
        default=100000,
        ge=1,
        description="Files with more events (or jets) than this are divided into pieces of about this size for several "
        "workers. [events]",
    )
    shard: str | None = Field(
        default=None,
        description="Process only a part of the list: i/n takes every n-th file, beginning with file i, from 0 to n - "
        "1.",
    )
    lease_timeout: float = Field(
        default=120.0,
        ge=1,
        description="Time without a sign of life of another process after which its file is taken over. [s]",
    )

    @field_validator("shard")
    @classmethod
    def _is_a_part(cls, given: str | None) -> str | None:
        if given is not None:
            number, of = shard_of(given)
            if number >= of:
                raise ValueError(f"the first number of i/n goes from 0 to {of - 1}, got {given}")
        return given


def shard_of(given: str) -> tuple[int, int]:
    """The two numbers of a shard.

    >>> shard_of("2/10")
    (2, 10)

    Raises:
        ValueError: the text is no shard.
    """
    found = re.fullmatch(r"\s*(\d+)\s*/\s*(\d+)\s*", given)
    if found is None or int(found[2]) < 1:
        raise ValueError(f"should be two numbers i/n, e.g. 0/10, got {given!r}")
    return int(found[1]), int(found[2])


def in_shard(position: int, shard: str | None) -> bool:
    """True if the file at a position of the list, counted from 0, belongs to the shard; always without a shard."""
    if shard is None:
        return True
    number, of = shard_of(shard)
    return position % of == number
