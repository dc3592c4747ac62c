"""The command line: exit statuses, messages, spellings, --print_settings."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import uproot
import yaml

from cal_ratio_trainer.cli.main import EXIT_FAILED_PARTS, EXIT_USER_ERROR, cr_trainer, main
from cal_ratio_trainer.errors import EXIT_INTERRUPTED, UserError
from cal_ratio_trainer.launching import ProcessRank

SMALLEST = {
    "demo": [],
    "train": [],
    "build": ["some.parquet", "--output_file", "built.parquet"],
    "resample": ["some.parquet", "fewer.parquet", "0.5"],
    "convert divertanalysis": ["some.root", "--data_type", "qcd"],
}
"""The shortest call of each command."""


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """Exit status of a call."""
    monkeypatch.setattr(sys, "argv", ["cr_trainer", *words])
    with pytest.raises(SystemExit) as caught:
        main()
    status = caught.value.code
    assert isinstance(status, int)
    return status


def printed_settings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str
) -> tuple[str, dict[str, object]]:
    """Output of --print_settings, as text and as YAML."""
    assert run(monkeypatch, *words, "--print_settings") == 0
    text = capsys.readouterr().out
    return text, yaml.safe_load(text)


@pytest.mark.parametrize("words", SMALLEST)
def test_printed_settings_are_a_config_that_gives_the_same_settings(
    words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    text, settings = printed_settings(monkeypatch, capsys, *words.split(), *SMALLEST[words])
    assert settings
    (tmp_path / "all.yaml").write_text(text)
    again, _ = printed_settings(monkeypatch, capsys, *words.split(), "--config", str(tmp_path / "all.yaml"))
    assert again == text


@pytest.mark.parametrize("words", SMALLEST)
def test_a_typo_in_a_config_is_answered_with_the_nearest_name_and_status_2(
    words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "typo.yaml").write_text("sed: 3\nmin_jet_ptt: 20\n")
    status = run(monkeypatch, *words.split(), *SMALLEST[words], "--config", str(tmp_path / "typo.yaml"))
    said = capsys.readouterr().err
    assert status == EXIT_USER_ERROR
    assert "sed is no setting of this command" in said
    assert "min_jet_ptt is no setting of this command" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("spelling", ["--num_splits", "--num-splits"])
def test_both_spellings_of_a_flag_mean_the_same(
    spelling: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, settings = printed_settings(monkeypatch, capsys, "train", spelling, "7")
    assert settings["num_splits"] == 7


@pytest.mark.parametrize("spelling", ["--lr_values", "--lr-values"])
def test_a_name_of_the_earlier_program_is_a_flag_too(
    spelling: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, settings = printed_settings(monkeypatch, capsys, "train", spelling, "0.25")
    assert settings["learning_rate"] == 0.25


def test_a_build_config_of_the_earlier_program_is_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "old.yaml").write_text(
        "output_file: a.pkl\nmin_jet_pT: 0\nmax_jet_pT: 400\nremove_branches: [HLT_jet_eta]\n"
    )
    _, settings = printed_settings(monkeypatch, capsys, "build", "a.pkl", "--config", str(tmp_path / "old.yaml"))
    assert (settings["min_jet_pt"], settings["max_jet_pt"]) == (0, 400)


@pytest.mark.parametrize("spelling", ["-data_type", "--data_type", "--data-type"])
def test_the_data_type_may_be_written_with_one_dash_as_in_the_manual(
    spelling: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, settings = printed_settings(monkeypatch, capsys, "convert", "divertanalysis", "a.root", spelling, "bib")
    assert settings["data_type"] == "bib"


@pytest.mark.parametrize("words", [words for words in SMALLEST if words != "demo"])
def test_every_command_that_reads_urls_lets_its_cache_be_moved(
    words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for flag in ("--cache", "--cache_path", "--cache-path"):
        _, settings = printed_settings(monkeypatch, capsys, *words.split(), *SMALLEST[words], flag, "elsewhere")
        assert settings["cache_path"] == "elsewhere"


def test_a_list_is_given_in_one_word(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    _, settings = printed_settings(monkeypatch, capsys, "train", "--cluster_filters", "16,8")
    assert settings["cluster_filters"] == [16, 8]


def test_a_switch_has_a_no(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    _, settings = printed_settings(monkeypatch, capsys, "build", *SMALLEST["build"], "--no-shuffle")
    assert settings["shuffle"] is False


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trian"], "no command 'trian' (did you mean train?)"),
        (["convert", "divertanalysi"], "did you mean divertanalysis?"),
        (["demo", "--jtes", "5"], "--jtes"),
        (["demo", "--jets", "none"], "jets: should be a whole number"),
        (["demo", "--jets", "0", "--seed", "-1"], "seed: should be at least 0"),
        (["demo", "--config", "nowhere.yaml"], "nowhere.yaml: no such config file"),
        (["demo", "--config", "."], ".: is a folder where a config file was expected"),
        (["build", "a", "-o", "folder/"], "output_file: should be the name of a file, got the folder folder/"),
        (["demo", "--output_path", ""], "output_path: should be a path, got ''"),
        (["build", "a", "-o", "b", "--max_jet_pt", "nan"], "max_jet_pt: should be a finite number, got 'nan'"),
        (["train", "--cr_judge_file", ""], "cr_judge_file: should be NAME=FILE or a file, got ''"),
        (["train", "--EPOCHS", "3"], "No such option '--EPOCHS' (did you mean --epochs?)"),
        # Read as letters, these are -c onfig and -o utput_file.
        (["train", "-config", "a.yaml"], "No such option '-config' (did you mean --config?)"),
        (["build", "a", "-output_file", "b"], "No such option '-output_file' (did you mean --output_file?)"),
    ],
)
def test_a_mistake_ends_in_a_sentence_and_status_2(
    words: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, *words) == EXIT_USER_ERROR
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
    assert list(tmp_path.iterdir()) == []


FILES = ["convert training m/0 --output_json", "runs --csv", "runs --html"]
REPORTS = [
    *("score jets.parquet m/0 --output_report", "compare m/0 m/1 --output_report"),
    *("analyze m/0 --output_report", "plot jets.parquet --output_report"),
]


@pytest.mark.parametrize(
    ("words", "output"),
    [
        *((words, output) for words in FILES for output in ("folder", ".")),
        *((words, output) for words in REPORTS for output in ("file", "link", "file/", "folder.md")),
        *((words, output) for words in FILES + REPORTS for output in ("file/report.md", "link/report.md")),
    ],
)
def test_a_place_that_cannot_hold_the_output_is_refused_before_the_inputs_are_read(
    words: str, output: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder.md").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")
    option = words.rpartition("--")[2]
    assert run(monkeypatch, *words.split(), output) == EXIT_USER_ERROR
    assert f"error: {option}: {output.partition('/')[0]} is " in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        "demo --output_path",
        "convert divertanalysis jets.root --data_type qcd --output_path",
        "train main.parquet control.parquet --output_path",
        "train main.parquet control.parquet --folds 2 --output_path",
        "tune study --main_training_file main.parquet --cr_training_file control.parquet --output_path",
    ],
)
@pytest.mark.parametrize("output", ["file", "link"])
def test_a_folder_that_cannot_be_made_is_refused_before_the_inputs_are_read(
    words: str, output: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")
    assert run(monkeypatch, *words.split(), output) == EXIT_USER_ERROR
    assert f"error: output_path: {output} is no folder" in capsys.readouterr().err


def test_a_report_can_be_named_by_its_page(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    _, settings = printed_settings(monkeypatch, capsys, "plot", "--output_report", "reports/jets.html")
    assert settings["output_report"] == "reports/jets.md"


@pytest.mark.parametrize("words", [["--note", "-config"], ["--", "-config"]])
def test_a_value_may_look_like_an_option(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "train", "--print_settings", *words) == 0
    assert ": -config\n" in capsys.readouterr().out


def test_an_error_of_the_system_names_the_file_and_what_is_wrong_in_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = tmp_path / "runs"
    folder.mkdir()
    csv = tmp_path / ("x" * 300)
    assert run(monkeypatch, "runs", "--output_path", str(folder), "--csv", str(csv)) == EXIT_USER_ERROR
    said = capsys.readouterr().err
    assert said.startswith("error: /")
    assert said.endswith(f"{csv}: file name too long\n")
    assert "Errno" not in said


def test_too_little_memory_is_told_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def too_large(settings: object) -> None:
        np.empty(2**55)

    monkeypatch.setattr("cal_ratio_trainer.reporting.runs.run_list", too_large)
    assert run(monkeypatch, "runs") == EXIT_USER_ERROR
    assert capsys.readouterr().err.startswith("error: there is not enough memory: Unable to allocate")


def test_version_and_help_end_well(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "--version") == 0
    assert capsys.readouterr().out.startswith("cr_trainer ")
    assert run(monkeypatch, "--help") == 0
    help_text = capsys.readouterr().out
    assert [name for name in cr_trainer().list_commands(None) if name not in help_text] == []  # type: ignore[arg-type]


def test_the_installed_command_is_the_module(tmp_path: Path) -> None:
    installed = Path(sys.executable).with_name("cr_trainer")
    calls = ([str(installed)], [sys.executable, "-m", "cal_ratio_trainer"])
    said = [
        subprocess.run([*call, "--version"], capture_output=True, text=True, check=True, cwd=tmp_path).stdout
        for call in calls
    ]
    assert said[0] == said[1]


def test_a_closed_pipe_is_no_traceback(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "cal_ratio_trainer", "--help"],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    os.close(writer)
    assert "Traceback" not in done.stderr


def test_an_interrupt_that_a_module_makes_another_error_of_is_one_all_the_same(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(settings: object) -> int:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise ValueError("no module") from None
        return 0

    monkeypatch.setattr("cal_ratio_trainer.list_runs", interrupted)
    before = signal.getsignal(signal.SIGINT)
    assert run(monkeypatch, "runs") == EXIT_INTERRUPTED
    assert capsys.readouterr().err == "interrupted\n"
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_while_the_command_line_is_imported_is_no_traceback(tmp_path: Path) -> None:
    program = """
import os, signal, sys
class Interrupt:
    def find_spec(self, name, *others):
        if name == "cal_ratio_trainer.cli.main":
            signal.raise_signal(signal.SIGINT)
sys.meta_path.insert(0, Interrupt())
from cal_ratio_trainer.__main__ import main
main()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (EXIT_INTERRUPTED, "interrupted\n")


def test_several_processes_of_another_command_than_train_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cal_ratio_trainer.cli.main.place", lambda: ProcessRank(0, 2, 0, 2, 1))
    with pytest.raises(UserError, match="torchrun started 2 processes of 'runs', but only train shares its work"):
        cr_trainer().main(["runs"], standalone_mode=False)
    cr_trainer().main(["train", "--print_settings"], standalone_mode=False)


def test_what_comes_from_files_cannot_control_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with uproot.recreate(tmp_path / "a\x1b[2Jb.root") as file:
        file.mkrntuple("a\x1b[31mtree", {"number": np.arange(3)})
    words = ("convert", "divertanalysis", str(tmp_path / "*.root"), "--data_type", "qcd")
    assert run(monkeypatch, *words, "--output_path", str(tmp_path / "jets")) == EXIT_FAILED_PARTS
    said = capsys.readouterr()
    for text in said:
        assert "a\\x1b[2Jb.root" in text
        assert "holds a\\x1b[31mtree" in text
        assert "\x1b" not in text
