"""Signatures of the public functions: the fields of a settings model become keyword arguments.

The model is the one source. Type checkers and editors read its fields through a `ParamSpec`, `help` and notebooks
through `__signature__` and the docstring that are made of them; nothing has to be listed twice.
"""

import inspect
import os
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, Protocol, TypeVar, cast, overload

from cal_ratio_trainer.config.base import Settings
from cal_ratio_trainer.config.loading import settings_from
from cal_ratio_trainer.errors import ConfigError
from cal_ratio_trainer.progress import progress_shown

Options = ParamSpec("Options")
Chosen = TypeVar("Chosen", bound=Settings)
ChosenContra = TypeVar("ChosenContra", bound=Settings, contravariant=True)
Outcome = TypeVar("Outcome")
OutcomeCo = TypeVar("OutcomeCo", covariant=True)


class Command(Protocol[Options, ChosenContra, OutcomeCo]):
    """A function that takes the settings of a command, as keyword arguments or as one object.

    With `progress=False` it shows nothing while it runs. Type checkers do not look at the other arguments of such a
    call, for a signature cannot add a keyword to those of a model.
    """

    @overload
    def __call__(self, settings: ChosenContra, /, *, progress: bool = True) -> OutcomeCo: ...
    @overload
    def __call__(self, *args: Options.args, **options: Options.kwargs) -> OutcomeCo: ...
    @overload
    def __call__(self, *, progress: bool, **options: Any) -> OutcomeCo: ...
    @overload
    def __call__(self, word: str | os.PathLike[str] | list[Any], /, *words: Any, **options: Any) -> OutcomeCo: ...


def command(
    model: Callable[Options, Chosen], *words: str, runs_network: bool = False
) -> Callable[[Callable[[Chosen], Outcome]], Command[Options, Chosen, Outcome]]:
    """Makes a public function of a function of settings.

    Args:
        model: the settings; its fields become keyword arguments.
        words: settings that positional arguments stand for, in order.
        runs_network: the function trains or evaluates a network on the CPU.

    Returns:
        The decorator. Its function raises ConfigError with all mistakes where arguments are wrong.
    """
    settings_model = cast(type[Chosen], model)

    def decorate(function: Callable[[Chosen], Outcome]) -> Command[Options, Chosen, Outcome]:
        def call(*given: Any, progress: bool = True, **options: Any) -> Outcome:
            settings, options = settings_or_options(settings_model, words, given, options)
            if settings is None:
                settings = settings_from(settings_model, [("", options)])
            if runs_network:
                limit_spinning()
            with progress_shown(progress):
                return function(settings)

        return described(model, settings_model, call, function)

    return decorate


def settings_or_options(
    model: type[Chosen], words: Sequence[str], given: Sequence[Any], options: dict[str, Any]
) -> tuple[Chosen | None, dict[str, Any]]:
    """The settings object of a call, or single settings: `given` are positional arguments, named by `words`.

    Raises:
        ConfigError: another kind of settings, both of the two, too many arguments, or one given twice.
    """
    given = [each for each in given if each is not None]
    if len(given) == 1 and isinstance(given[0], model):
        if options:
            raise ConfigError([f"give either settings or single ones, not both: {', '.join(options)}"])
        return given[0], {}
    mistakes = [
        f"{type(each).__name__} is no setting of this function; it takes {model.__name__}"
        for each in given
        if isinstance(each, Settings)
    ]
    if len(given) > len(words):
        takes = f"takes {' and '.join(words)}" if words else "takes none"
        mistakes.append(f"{len(given)} positional arguments are too many: this function {takes}; name the others")
    named = dict(zip(words, given, strict=False))
    mistakes += [f"{name} is given twice" for name in named if name in options]
    if mistakes:
        raise ConfigError(mistakes)
    return None, named | options


def described(
    arguments_model: Callable[Options, Settings],
    settings_model: type[Chosen],
    call: Callable[..., Outcome],
    function: Callable[..., Any],
) -> Command[Options, Chosen, Outcome]:
    """Gives a function the name of another, and a signature and docstring with the fields of a model.

    Args:
        arguments_model: its fields become keyword arguments.
        settings_model: may be given as one object instead.
        call: the function to describe.
        function: has the name, the docstring to begin with and the annotated result.
    """
    model, keyword = cast(type[Settings], arguments_model), inspect.Parameter.KEYWORD_ONLY
    parameters = [
        inspect.Parameter(
            "settings", inspect.Parameter.POSITIONAL_ONLY, default=None, annotation=settings_model | None
        ),
        inspect.Parameter("progress", keyword, default=True, annotation=bool),
    ]
    texts = {
        "settings": f"The other arguments but progress in one object, `{settings_model.__name__}`.",
        "progress": "Show how far the work is, on standard error or in the notebook.",
    }
    for name in model.field_names():
        info = model.model_fields[name]
        default = inspect.Parameter.empty if info.is_required() else info.get_default(call_default_factory=True)
        parameters.append(inspect.Parameter(name, keyword, default=default, annotation=info.annotation))
        texts[name] = info.description or ""
    text, _, raises = inspect.cleandoc(function.__doc__ or "").partition("\nRaises:\n")
    summary, heading, returned = text.partition("\nReturns:\n")
    arguments = [f"    {name}: {text}" for name, text in texts.items()]
    errors = ["    ConfigError: arguments are wrong; names all mistakes.", *filter(None, [raises])]
    parts = [summary.rstrip(), "", "Args:", *arguments, heading + returned.rstrip(), "", "Raises:", *errors]
    call.__doc__ = "\n".join(parts)
    call.__name__ = call.__qualname__ = function.__name__.strip("_")
    call.__module__ = function.__module__
    returns = inspect.signature(function).return_annotation
    vars(call)["__signature__"] = inspect.Signature(parameters, return_annotation=returns)
    return cast(Command[Options, Chosen, Outcome], call)


def limit_spinning() -> None:
    """Limits how long waiting OpenMP threads spin, unless the user has set GOMP_SPINCOUNT.

    It has an effect only before PyTorch is imported. With the default a step took eight times as long beside other
    processes; without spinning a step on an idle machine takes twice as long.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
