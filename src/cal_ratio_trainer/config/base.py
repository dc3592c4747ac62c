"""Base of all settings."""

from pathlib import Path
from typing import Any, ClassVar, Self

import yaml
from pydantic import BaseModel, ConfigDict, field_validator, model_validator


class Settings(BaseModel):
    """Settings of one command or of a part of one: frozen, unknown names refused, old names accepted.

    Class attributes:
        aliases: other name, such as that in configurations of the earlier program -> name here.
        ignored: names of the earlier program that have no effect -> the reason, logged when one is given.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), validate_default=True)

    aliases: ClassVar[dict[str, str]] = {}
    ignored: ClassVar[dict[str, str]] = {}

    @model_validator(mode="before")
    @classmethod
    def _rename_aliases(cls, given: Any) -> Any:
        return cls.with_new_names(given) if isinstance(given, dict) else given

    @field_validator("*", mode="before")
    @classmethod
    def _accept_paths(cls, value: Any) -> Any:
        """Takes a path for the name of a file, which may also be a URL or a word like demo."""
        if isinstance(value, list | tuple):
            return [str(each) if isinstance(each, Path) else each for each in value]
        return str(value) if isinstance(value, Path) else value

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
        """Returns the settings under their present names, without those that are ignored.

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
