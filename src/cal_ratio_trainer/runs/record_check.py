"""Content of run.json as it is read: the entries that this program uses have the right types, or the file is refused.

Separate from `record`, which writes the file and needs PyTorch: commands that list runs start without it.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cal_ratio_trainer.errors import InputFileError
from cal_ratio_trainer.files.json_text import read_json
from cal_ratio_trainer.jets.metadata import Scaling

_Count = Annotated[int, Field(ge=0, lt=2**63)]


class _Checked(BaseModel):
    """Every entry may be missing; entries without a field here are not checked."""

    model_config = ConfigDict(strict=True, extra="ignore")


class _DataFile(_Checked):
    file: str = ""
    sha256: str | None = None
    size_bytes: _Count = 0
    jets_used: _Count = 0
    simulation: str | None = None
    scaling: Scaling | None = None
    notes: list[str] = []


class _ComputedBy(_Checked):
    processes: _Count = 1


class _Folds(_Checked):
    count: int = Field(ge=2, le=100)


class _InitialWeights(_Checked):
    model_config = ConfigDict(extra="forbid")

    run: str
    file: str
    sha256: str


class _Imported(_Checked):
    files: dict[str, dict[str, Any]] = {}


class _Record(_Checked):
    id: str | None = None
    status: Literal["running", "finished", "interrupted", "failed", "diverged", "imported"] = "running"
    settings_sha256: list[str] = []
    started: str | None = None
    ended: str | None = None
    tag: str | None = None
    note: str | None = None
    command: str = ""
    reason: str = ""
    seed: _Count = 0
    planned_epochs: _Count = 0
    finished_epochs: _Count = 0
    versions: dict[str, str | None] = {}
    machine: dict[str, Any] = {}
    computed_by: _ComputedBy = _ComputedBy()
    data: dict[str, _DataFile] = {}
    folds: _Folds | None = None
    initial_weights: _InitialWeights | None = None
    imported: _Imported | None = None
    continued: list[Any] = []
    history_references: dict[str, float | None] = {}
    notes: list[str] = []
    timings: dict[str, Any] = {}
    test: dict[str, Any] = {}


def read_record(file: Path) -> dict[str, Any]:
    """The content of a run.json.

    Raises:
        FileNotFoundError: there is no such file.
        InputFileError: it cannot be read, is damaged, or is no record of a run; names the entry.
    """
    content = read_json(file, bad_numbers=True)
    if not isinstance(content, dict):
        raise InputFileError(file, f"is no record of a run: it holds a {type(content).__name__}, expected an object")
    try:
        _Record.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        entry = ".".join(map(str, first["loc"]))
        found = f"{entry} is {first['input']!r:.80}: {first['msg']}"
        raise InputFileError(file, f"is no record of a run: {found}") from error
    return content
