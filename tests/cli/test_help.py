"""Help in groups, completion, positional training files, names of networks."""

import sys
from io import StringIO
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner
from rich.console import Console

from cal_ratio_trainer.cli.help import GROUPS, completer, in_words
from cal_ratio_trainer.cli.main import cr_trainer
from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.progress import progress
from cal_ratio_trainer.runs.finding import NoRunName, run_and_rest
from cal_ratio_trainer.runs.run import Run


def said(*words: str) -> str:
    """Output of a call on a terminal of 80 columns."""
    result = CliRunner(env={"COLUMNS": "80"}).invoke(
        cr_trainer(), list(words), terminal_width=80, prog_name="cr_trainer"
    )
    assert result.exit_code in (0, 2), result.exception
    return result.output


def test_help_of_train_is_a_screen_in_groups_with_one_spelling_each_and_help_all_has_every_option() -> None:
    short, whole = said("train", "--help"), said("train", "--help-all")
    assert len(short.splitlines()) <= 55
    assert max(map(len, short.splitlines())) <= 80
    titles = [line.rstrip(":") for line in whole.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert titles == [*GROUPS, "General"]
    for name in TrainSettings.model_fields:
        assert f"--{name}" in whole
    assert "--num-splits" not in whole
    assert "--lr_values" not in whole
    assert "[epochs]" not in whole
    assert "--help-all" in short


@pytest.mark.parametrize("command", ["train", "tune study"])
def test_help_tells_the_defaults_of_the_demo_of_files_and_of_a_config(command: str, tmp_path: Path) -> None:
    (tmp_path / "old.yaml").write_text("profile: manual")
    files = ["--main_training_file", "a.parquet", "--cr_training_file", "b.parquet"]
    config = ["--config", str(tmp_path / "old.yaml")]
    of_demo, of_files, of_config = (
        yaml.safe_load(said(*command.split(), *words, "--print_settings")) for words in ([], files, files + config)
    )
    told = " ".join(said(command.split()[0], "--help-all").split())
    different = {"main_training_file", "cr_training_file"}
    for name, value in of_files.items():
        if name not in different and not of_demo[name] == value == of_config[name]:
            manual = "for a config file of the earlier program" if name == "profile" else "profile manual"
            words = (
                f"{value}; {manual}: {of_config[name]}" if value == of_demo[name] else f"{value}; demo: {of_demo[name]}"
            )
            assert f"(default: {words})" in told.partition(f" --{name} ")[2][:400]
            different.add(name)
    assert different >= {"profile", "agreement", "agreement_strength", "learning_rate", "dropout", "epochs"}


def test_every_option_of_a_group_and_of_the_short_help_is_one_of_a_command() -> None:
    group, names = cr_trainer(), set[str]()
    assert isinstance(group, click.Group)
    context = click.Context(group)
    commands = [command for name in group.list_commands(context) if (command := group.get_command(context, name))]
    convert = next(each for each in commands if isinstance(each, click.Group))
    commands += [each for name in convert.list_commands(context) if (each := convert.get_command(context, name))]
    for command in commands:
        own = {str(param.name) for param in command.params}
        names |= own
        assert getattr(command, "_common", frozenset()) <= own, command.name
    assert {name for members in GROUPS.values() for name in members} <= names


def test_units_are_words_and_the_short_sentence_is_whole() -> None:
    assert in_words("How many epochs to train. [epochs]  (default: 100)") == "How many epochs to train. (default: 100)"
    assert in_words("Luminosity over every figure; null: none. [1/fb]") == (
        "Luminosity over every figure; null: none. In 1/fb."
    )
    assert in_words("Share of the jets, which are used. [fraction]", is_short=True) == "Share of the jets."
    assert in_words("Time after which it is taken over. [s]") == "Time after which it is taken over. In s."


@pytest.mark.parametrize(
    ("words", "main", "control"),
    [
        (["main.parquet", "control.parquet"], "main.parquet", "control.parquet"),
        (["main.parquet", "--cr_training_file", "other.parquet"], "main.parquet", "other.parquet"),
        (["main.parquet", "a=1.parquet", "b=2.parquet"], "main.parquet", {"a": "1.parquet", "b": "2.parquet"}),
    ],
)
def test_training_files_are_words(words: list[str], main: str, control: object) -> None:
    settings = yaml.safe_load(said("train", *words, "--print_settings"))
    assert settings["main_training_file"] == main
    files = settings["cr_training_file"]
    assert (files[0] if isinstance(files, list) and len(files) == 1 else files) == control


def test_a_file_is_not_given_twice() -> None:
    assert "give the same setting" in said("train", "a.parquet", "--main_training_file", "b.parquet")


@pytest.mark.parametrize(("given", "format"), [(["-o", "x.onnx"], "onnx"), (["--output", "x.keras"], "keras")])
def test_the_ending_of_the_output_says_the_format(given: list[str], format: str) -> None:
    assert yaml.safe_load(said("convert", "training", "a.keras", *given, "--print_settings"))["format"] == format
    both = said("convert", "training", "a.keras", *given, "--format", "fdeep", "--print_settings")
    assert yaml.safe_load(both)["format"] == "fdeep"


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two runs, without their content."""
    for number in (0, 3):
        folder = tmp_path / "training_results" / "default" / f"{number:05d}"
        folder.mkdir(parents=True)
        (folder / "run.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "training_results"


@pytest.mark.parametrize(
    "name", ["default/3", "default/00003", "default/-1", "training_results/default/00003", "training_results/default/3"]
)
def test_a_run_has_a_name_and_a_path_with_and_without_zeros(name: str, runs: Path) -> None:
    for rest in ([], ["best"], ["12"]):
        found, words = run_and_rest("/".join([name, *rest]), runs)
        assert found == Run(found.path)
        assert (found.path.resolve(), words) == ((runs / "default" / "00003").resolve(), rest)
    with pytest.raises(NoRunName):
        run_and_rest("nowhere/default/3", runs)


@pytest.mark.usefixtures("runs")
def test_runs_choices_and_files_are_completed() -> None:
    context, param = click.Context(cr_trainer()), click.Argument(["name"])

    def completed(field: str, start: str, choices: tuple[str, ...] = ()) -> list[tuple[str, str]]:
        complete = completer(field, choices)
        assert complete is not None
        return [(item.value, item.type) for item in complete(context, param, start)]

    assert completed("training", "def") == [("default/0", "plain"), ("default/3", "plain")]
    assert completed("training", "default/3/") == [("default/3/best", "plain"), ("default/3/last", "plain")]
    assert completed("training", "keras/") == [("keras/", "file")]
    assert completed("profile", "b", ("manual", "best")) == [("best", "plain")]
    assert completed("output_path", "x") == [("x", "dir")]
    assert completer("epochs") is None


def test_a_live_line_is_one_line_of_80_columns_without_a_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Console(width=80, file=StringIO(), force_terminal=False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with progress("train", 15_000, "main jets") as line:
        assert line._bar is not None
        line.advance(7000, note="7 of 15 epochs, AUC 0.9812, K-S 0.41, and words that have no place on the line")
        with terminal.capture() as captured:
            terminal.print(line._bar.get_renderable())
    text = captured.get().rstrip("\n")
    assert "\n" not in text
    assert "7 of 15 epochs" in text
    assert "0:00" not in text
