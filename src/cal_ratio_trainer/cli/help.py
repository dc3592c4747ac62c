"""Help texts of commands, in groups, short or complete; and shell completion of runs, networks, profiles and files."""

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from cal_ratio_trainer.errors import did_you_mean

GROUPS: dict[str, tuple[str, ...]] = {
    "Data": (
        *("main_training_file", "cr_training_file", "cr_shares", "cr_judge_file", "sample_fraction", "train_fraction"),
        *("split", "include_low_mass", "include_high_mass", "low_masses", "high_masses"),
        *("loss_weights", "weight_column", "bad_weights", "missing_t0", "data_type", "kind", "llp_mH", "llp_mS"),
        *("min_jet_pt", "max_jet_pt", "max_hlt_delta_r", "keep_columns", "blind_above"),
    ),
    "Network": (
        *("encoder", "encoder_options", "cluster_filters", "track_filters", "muon_segment_filters"),
        *("cluster_lstm_nodes", "track_lstm_nodes", "muon_segment_lstm_nodes", "lstm_layers"),
        *("hidden_layer_fraction", "mH_parametrization", "mS_parametrization", "auxiliary_weight", "training", "rule"),
    ),
    "Training": (
        *("profile", "epochs", "continue_from", "start_from", "early_stopping", "num_splits", "batch_size"),
        *("accumulate", "learning_rate", "schedule", "optimizer", "weight_decay", "clip_gradient", "average_weights"),
        *("standardize_inputs",),
        *("regularization", "dropout", "reshuffle", "seed", "folds", "fold", "seeds", "member"),
    ),
    "Agreement of data and simulation": (
        *("agreement", "agreement_strength", "adversary_weight", "adversary_learning_rate", "ks_limit", "c2st_every"),
        *("adversary_input", "adversary_momentum", "distance_rise", "pt_ranges", "reweight_mc"),
    ),
    "Output": (
        *("model_name", "output_path", "output_file", "output_json", "output_report", "format", "tag", "note"),
        *("keep_weights", "epoch_plots", "epoch_plots_of", "tensorboard", "mlflow", "layout", "report", "overwrite"),
        *("experiment", "status", "energy_tev", "luminosity_fb", "plot_format"),
    ),
    "Machine": ("device", "threads", "plot_processes", "cache_path", "scheduler", "workers", "shard"),
    "Expert": (
        *("data_place", "engine", "matmul_precision", "cuda_graph", "piece_events", "lease_timeout", "chunk_events"),
    ),
}
"""Options by subject, under the names of their settings; options of one command only come first."""

_OF_TRAININGS = ("Network", "Training", "Agreement of data and simulation")
"""Groups of the commands that train; in all other commands their options are the command's own."""

_OWN, _GENERAL = "Options", "General"
_GENERAL_OPTIONS = ("config", "print_settings", "verbose", "help_all", "help")
_SHOW_ALL = "cal_ratio_trainer.cli.help: all options"


class HelpfulCommand(click.Command):
    """A command whose --help shows the options that are needed often, and --help-all all of them, in groups."""

    def __init__(self, *args: Any, common: Sequence[str] = (), **others: Any) -> None:
        """As click's command.

        Args:
            args: see click.
            common: options of --help by the names of their settings; all if none are given.
            others: see click.
        """
        super().__init__(*args, **others)
        self._common = frozenset(common)
        self.params.append(
            click.Option(
                ["help_all", "--help-all", "--help_all"],
                is_flag=True,
                is_eager=True,
                expose_value=False,
                callback=_print_all,
                help="Show all options and stop.",
            )
        )

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See click; a mistyped option is named as it was typed, with a similar one.

        click takes a word with one dash for letters: it names the first of them, or takes -config for -c with the value
        onfig, and -output_file for -o with a value. Its suggestions heed capitals.
        """
        given = [word.partition("=")[0] for word in args]
        known = {spelling for param in self.params for spelling in (*param.opts, *param.secondary_opts)}
        # The value of an option may begin with a dash too.
        options = [param for param in self.params if isinstance(param, click.Option)]
        with_value = {spelling for each in options if not (each.is_flag or each.count) for spelling in each.opts}
        for before, word in zip(["", *args], given, strict=False):
            if word == "--":
                break
            if before not in with_value and word not in known and f"-{word}" in known:
                raise click.UsageError(f"No such option '{word}' (did you mean -{word}?).", ctx)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if not error.possibilities and (hint := did_you_mean(error.option_name, known)):
                raise click.UsageError(f"No such option '{error.option_name}'{hint}.", ctx) from error
            for word in given:
                is_mistyped = len(word) > 2 and word[0] == "-" != word[1] and word not in known
                if is_mistyped and error.option_name.lstrip("-") in word:
                    hint = did_you_mean(f"-{word}", (spelling for spelling in known if spelling.startswith("--")))
                    raise click.UsageError(f"No such option '{word}'{hint}.", ctx) from error
            raise

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the options group by group, one spelling each."""
        is_short = bool(self._common) and not ctx.meta.get(_SHOW_ALL)
        options = {
            # click calls the option by its first spelling.
            "help" if "--help" in param.opts else param.name: param
            for param in self.get_params(ctx)
            if isinstance(param, click.Option)
        }
        shown = {
            str(name): _record(option, is_short)
            for name, option in options.items()
            if name in _GENERAL_OPTIONS or not is_short or name in self._common
        }
        groups = {title: names for title, names in GROUPS.items() if title not in _OF_TRAININGS or "profile" in options}
        grouped = {name for names in groups.values() for name in names}
        own = [name for name in shown if name not in grouped and name not in _GENERAL_OPTIONS]
        for title, names in ((_OWN, own), *groups.items(), (_GENERAL, _GENERAL_OPTIONS)):
            records = [shown[name] for name in names if name in shown]
            if records:
                with formatter.section(title):
                    formatter.write_dl(records, col_max=34)
        if is_short:
            formatter.write_paragraph()
            formatter.write_text(f"{len(options) - len(shown)} more options: {ctx.command_path} --help-all")


def _print_all(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        ctx.meta[_SHOW_ALL] = True
        click.echo(ctx.get_help(), color=ctx.color)
        ctx.exit()


def _record(option: click.Option, is_short: bool) -> tuple[str, str]:
    """Name and text of an option; of several spellings the first, which is the name of the setting."""
    with_letter = {"--config", "--verbose", "--help"} & set(option.opts)
    names = sorted(option.opts, key=len) if with_letter else option.opts[:1]
    name = " / ".join([*names, option.secondary_opts[0]]) if option.secondary_opts else ", ".join(names)
    if not option.is_flag and not option.count:
        name += f" {option.metavar or 'TEXT'}"
    return name, in_words(option.help or "", is_short)


def in_words(text: str, is_short: bool = False) -> str:
    """The help of an option with its unit in words; the short one is the first statement with the default.

    >>> in_words("Cut on pt; jets below are dropped. [GeV]  (default: 40)")
    'Cut on pt; jets below are dropped. In GeV. (default: 40)'
    >>> in_words("Cut on pt; jets below are dropped. [GeV]  (default: 40)", is_short=True)
    'Cut on pt, in GeV. (default: 40)'
    """
    found = re.fullmatch(r"(.*?)(?: \[([^\[\]]+)\])?(?:  (\(default: .*\)))?", text, re.DOTALL)
    assert found is not None
    sentence, unit, default = found.groups()
    # A unit in the plural, e.g. 'jets', is a number of things that the sentence names already.
    named = unit if unit and unit != "fraction" and unit != "1" and (len(unit) < 3 or unit[-1] != "s") else ""
    if is_short:
        sentence = re.split(r"[;:] |, (?:that|which|e[.]g[.]|so that) |[.] ", sentence)[0].rstrip(".")
        sentence = f"{sentence}, in {named}." if named else f"{sentence}."
    elif named:
        sentence = f"{sentence} In {named}."
    return f"{sentence} {default}" if default else sentence


Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def completer(field: str, choices: Iterable[str] = ()) -> Completer | None:
    """Completion of the values of a setting in a shell: its choices, runs and networks, files or folders."""
    words = tuple(choices)
    if words:
        return lambda ctx, param, start: [CompletionItem(word) for word in words if word.startswith(start)]
    if field in ("training", "first", "second", "start_from", "runs_to_analyze", "run", "name"):
        return complete_runs
    if field in ("output_path", "cache_path"):
        return lambda ctx, param, start: [CompletionItem(start, type="dir")]
    if field.endswith(("_file", "files", "_report", "_json", "path", "config", "csv")):
        return lambda ctx, param, start: [CompletionItem(start, type="file")]
    return None


def complete_runs(ctx: click.Context, param: click.Parameter, start: str) -> list[CompletionItem]:
    """NAME/RUN of the runs under --output_path, then words for their epochs; files if no run begins like that."""
    folder = Path(str(ctx.params.get("output_path") or "training_results"))
    names = [f"{run.parent.name}/{int(run.name)}" for run in sorted(folder.glob("*/*")) if run.name.isdecimal()]
    names += [f"{name}/{word}" for name in names for word in ("best", "last") if start.startswith(f"{name}/")]
    found = [CompletionItem(name) for name in names if name.startswith(start)]
    return found or [CompletionItem(start, type="file")]
