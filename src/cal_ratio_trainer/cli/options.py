"""Command-line options from a settings model: a flag for every simple field, spelled with _ or with -."""

import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import click
from pydantic.fields import FieldInfo

from cal_ratio_trainer.cli.help import HelpfulCommand, complete_runs, completer
from cal_ratio_trainer.cli.messages import set_verbosity, verbosity_option
from cal_ratio_trainer.config.base import Settings
from cal_ratio_trainer.config.loading import Layers, layers_of, packaged_configs, settings_from

_SIMPLE = (bool, int, float, str, Path)
_NULL = ("null", "none")
"""Words for YAML's null on the command line."""

_EXTRA_NAMES = {"cache_path": ("--cache",), "data_type": ("-data_type",)}
"""Further spellings, in every command that has the field; the manual writes `-data_type` with one dash."""


@dataclass(frozen=True)
class Argument:
    """Positional words of a command, e.g. the input files.

    Attributes:
        field: setting that they go to.
        many: any number of words; otherwise one.
        metavar: name of the words in --help.
        settings: the words go to these settings in turn, all further ones to the last; `field` is then no setting, and
            options can give them too.
        end_word: the first (0) or last (-1) word goes to another setting, unless an option or a config file gives that.
    """

    field: str
    many: bool = True
    metavar: str = "FILES..."
    settings: tuple[str, ...] = ()
    end_word: tuple[Literal[0, -1], str] | None = None

    def move_words(self, given: dict[str, Any]) -> None:
        """Puts the words into their settings.

        Raises:
            UsageError: an option gives the same setting.
        """
        words = given.pop(self.field) if self.settings else ()
        for place, name in enumerate(self.settings[: len(words)]):
            if given.get(name):
                raise click.UsageError(f"{words[place]} and --{name} give the same setting")
            given[name] = words[place] if name != self.settings[-1] else words[place:]

    def assigned(self, layers: Layers) -> Layers:
        """Returns the layers of settings with the first or last word in its own setting."""
        (source, content), words = layers[-1], list(layers[-1][1].get(self.field, ()))
        if self.end_word is None or not words or any(layer.get(self.end_word[1]) is not None for _, layer in layers):
            return layers
        position, name = self.end_word
        flags = {**content, name: words.pop(position)}
        others = {key: value for key, value in flags.items() if key != self.field}
        return [*layers[:-1], (source, {**others, self.field: words} if words else others)]


@dataclass(frozen=True, kw_only=True)
class SettingsCommand:
    """A command made of a settings model.

    Attributes:
        name: name of the command.
        settings: settings model, whose fields become options.
        run: function that is called with the validated settings; returns the exit status, or None for 0.
        help: text of --help.
        arguments: positional words, in order.
        extra_names: further spellings of options by field, besides `_EXTRA_NAMES`.
        resolve: last changes to the layers of settings before they are validated, e.g. what a flag alone means. `run`
            is then given the layers too, as `layers`.
        common: settings whose options --help shows, if --help-all shows more; () for all.
        options: options that are no settings, with the names by which `run` takes them.
        default_words: text for the default of fields whose default depends on other settings.
    """

    name: str
    settings: type[Settings]
    run: Callable[..., int | None]
    help: str
    arguments: Sequence[Argument] = ()
    extra_names: dict[str, Sequence[str]] = field(default_factory=dict)
    resolve: Callable[[Layers], Layers] | None = None
    common: Sequence[str] = ()
    options: Sequence[click.Option] = ()
    default_words: dict[str, str] = field(default_factory=dict)

    def build(self) -> click.Command:
        """The click command."""
        return HelpfulCommand(
            self.name,
            params=[*self._arguments(), *self._options(), *self.options, *_common_options(self.settings)],
            callback=self._call,
            help=self.help,
            common=self.common,
            context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
        )

    def _call(self, **given: Any) -> int:
        set_verbosity(given.pop("verbose"))
        config, print_settings = given.pop("config"), given.pop("print_settings")
        others: dict[str, Any] = {option.name: given.pop(option.name) for option in self.options if option.name}
        for argument in self.arguments:
            argument.move_words(given)
        flags = {
            name: self._null_in_words(name, list(value) if isinstance(value, tuple) else value)
            for name, value in given.items()
            if value is not None and value != ()
        }
        layers = layers_of(self.settings, config, flags)
        for argument in self.arguments:
            layers = argument.assigned(layers)
        if self.resolve:
            others["layers"] = layers = self.resolve(layers)
        settings = settings_from(self.settings, layers)
        if print_settings:
            click.echo(settings.as_yaml(), nl=False)
            return 0
        return self.run(settings, **others) or 0

    def _null_in_words(self, name: str, value: Any) -> Any:
        annotation, is_repeated = self.settings.model_fields[name].annotation, _repeated(self.settings, name)
        is_optional = get_origin(annotation) in (Union, types.UnionType) and type(None) in get_args(annotation)
        word = value[0] if is_repeated and len(value) == 1 else value
        return None if is_optional and isinstance(word, str) and word.lower() in _NULL else value

    def _arguments(self) -> list[click.Argument]:
        return [
            click.Argument(
                [each.field],
                nargs=-1 if each.many else 1,
                required=False,
                metavar=each.metavar,
                shell_complete=complete_runs if each.end_word else completer(each.field),
            )
            for each in self.arguments
        ]

    def _options(self) -> list[click.Option]:
        defaults = self.settings.defaults() | self.default_words
        taken = {argument.field for argument in self.arguments}
        return [
            self._option(name, info, defaults.get(name))
            for name in self.settings.field_names()
            for info in [self.settings.model_fields[name]]
            if name not in taken and (_element_type(info.annotation) is not None or _repeated(self.settings, name))
        ]

    def _option(self, name: str, info: FieldInfo, default: Any) -> click.Option:
        element, is_list = _element_type(info.annotation) or (str, False)
        names = [name, *(old for old, new in self.settings.aliases.items() if new == name)]
        flags = [f"--{spelled}" for each in names for spelled in (each, each.replace("_", "-"))]
        spellings = dict.fromkeys([*flags, *_EXTRA_NAMES.get(name, ()), *self.extra_names.get(name, ())])
        text = info.description or ""
        if default is not None and default != []:
            text += f"  (default: {_shown(default)})"
        if element is bool:
            negated = [
                f"{spelling}/--no{spelling[1:2]}{spelling[2:]}" if spelling.startswith("--") else spelling
                for spelling in spellings
            ]
            return click.Option([name, *negated], default=None, help=text, show_default=False)
        repeated = _repeated(self.settings, name)
        choices = get_args(element) if get_origin(element) is Literal else info.examples or ()
        return click.Option(
            [name, *spellings],
            default=None,
            multiple=repeated is not None,
            help=text,
            # A text with known values may have others: a format can be registered from outside the package.
            metavar=repeated or ("|".join(map(str, info.examples)) if info.examples else _metavar(element, is_list)),
            type=_CommaSeparated() if is_list else click.STRING,
            shell_complete=completer(name, map(str, () if is_list else choices)),
        )


def command(
    name: str, settings: type[Settings], **details: Any
) -> Callable[[Callable[..., int | None]], SettingsCommand]:
    """Decorator that makes a command of a function; `details` are further attributes of `SettingsCommand`."""
    return lambda run: SettingsCommand(name=name, settings=settings, run=run, **details)


class _CommaSeparated(click.ParamType):  # type: ignore[type-arg]  # older clicks have no argument there
    """Several values in one word: '64,32,32,16'."""

    name = "list"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        return value if isinstance(value, list) else [part.strip() for part in value.split(",") if part.strip()]


def _common_options(settings: type[Settings]) -> list[click.Option]:
    packaged = packaged_configs(settings)
    also = f", or the name of a packaged one ({', '.join(packaged)})" if packaged else ""
    return [
        click.Option(
            ["config", "-c", "--config"],
            metavar="FILE",
            shell_complete=completer("config"),
            help=f"YAML file with settings{also}; options override it.",
        ),
        click.Option(
            ["print_settings", "--print_settings", "--print-settings"],
            is_flag=True,
            help="Print the settings as valid YAML and stop.",
        ),
        verbosity_option(),
    ]


def _element_type(annotation: Any) -> tuple[Any, bool] | None:
    """(type of one value, whether it is a list) of a field that can be a flag; None for others."""
    if get_origin(annotation) is Annotated:
        return _element_type(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        kinds = [_element_type(part) for part in get_args(annotation) if part is not type(None)]
        return kinds[0] if kinds and kinds[0] is not None else None
    if get_origin(annotation) in (list, tuple):
        inner = _element_type(get_args(annotation)[0])
        return (inner[0], True) if inner is not None and not inner[1] else None
    if get_origin(annotation) is Literal:
        return (annotation, False)
    if isinstance(annotation, type) and issubclass(annotation, (*_SIMPLE, Enum)):
        return (annotation, False)
    return None


def _repeated(settings: type[Settings], name: str) -> str | None:
    """Metavar of an option that may be given several times; None for others."""
    extra = settings.model_fields[name].json_schema_extra
    return str(extra["repeated"]) if isinstance(extra, dict) and "repeated" in extra else None


def _metavar(element: Any, is_list: bool) -> str:
    if get_origin(element) is Literal:
        word = "|".join(str(choice) for choice in get_args(element))
    elif issubclass(element, Enum):
        word = "|".join(str(choice.value) for choice in element)
    else:
        word = {int: "INT", float: "NUMBER", str: "TEXT", Path: "PATH"}.get(element, "TEXT")
    return f"{word},..." if is_list else word


def _shown(default: Any) -> str:
    if not isinstance(default, list):
        return str(default)
    words = ",".join(map(str, default))
    # A terminal would break a long word in the middle of a name.
    return words if len(words) < 40 else words.replace(",", ", ")
