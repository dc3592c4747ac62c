"""Code blocks of the README and of all pages, run in order in a folder with small files in place of the user's own.

What needs more than a test has, such as files at CERN, is marked in `NOT_RUN`. `tests/test_project.py` checks all
blocks, marked or not: the command line parses the commands, Python and YAML are read by what reads them.
"""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

import cal_ratio_trainer as crt
from cal_ratio_trainer.network.shape import DEFAULT_SHAPE
from cal_ratio_trainer.simulation import demo_data
from tests.factories.files import write_training_files
from tests.factories.pages import ROOT, bash_lines, blocks, commands_in, documents
from tests.faults.commands import run
from tests.formats.earlier_files import keras_2_zip, legacy_hdf5
from tests.formats.numpy_network import random_weights

pytestmark = pytest.mark.slow

NOT_RUN = {
    r"calratio2019|felix_control|data18|ntuple\.root --column": "files at CERN",
    r"processed_output_slim05|main_2017": "files of the 2019 analysis",
    r"--config dijet_control": "ntuples of a control region with its triggers",
    r"--samples samples\.yaml": "ntuples of all slices",
    r"tcp://|tls://|sbatch|srun|torchrun|apptainer|podman|ssh|\$": "a cluster, a container or variables of a shell",
    r"--serve|serve=|--device cuda|--hours": "Ctrl-C, a GPU or hours",
    r"twenty\.yaml|doctor\.json|COMPLETE=": "a shell",
    r"^(\.venv/bin/)?cr_trainer (train|doctor)$": "no second time the command of the README and of doctor.md",
    r"/tmp/demo": "a folder outside that of the test",
    r"once|twice": "hours",
    r"my_module|SumOfConstituents|MeanSignal|dask_jobqueue": "an example of an extension, which would stay registered",
}
"""Patterns of lines in Bash and blocks in Python that are not run, with what they need."""

SHORTER = [
    (r"--jets \d+", "--jets 40"),
    (r"--trials 30", "--trials 1"),
    (r"--trials 60", "--trials 2"),
    (r"--(folds|seeds) 5", r"--\1 2"),
    (r"--(fold|member) 2", r"--\1 1"),
    (r"jets=\d+", "jets=200"),
    (r"epochs=\d+", "epochs=1, num_splits=1, sample_fraction=1.0, train_fraction=0.6"),
    (r'"epochs": \d+', '"epochs": 1'),
]
SMALL: list[object] = [
    "--epochs",
    1,
    "--num_splits",
    1,
    "--sample_fraction",
    1,
    "--train_fraction",
    0.6,
    "--threads",
    1,
]
SMALL += ["--no-epoch_plots", "--plot_processes", 0, "--c2st_every", 0]
"""Settings that make trainings short."""
MORE: dict[str, list[object]] = {
    "train": SMALL,
    "train --continue -1": ["--epochs", 1],
    "tune": [*SMALL, "--agreement_measure", "ks"],
    "tune wider --resume": [],
    "tune wider --trials 2 --resume": [],
    "demo": ["--workers", 1],
    "convert divertanalysis": ["--workers", 1],
    "build": ["--overwrite", "--workers", 1],
    "resample": ["--overwrite"],
    "score": ["--workers", 1, "--threads", 1],
    "analyze": ["--replicas", 3, "--plotted_epochs", 1],
    "compare": ["--replicas", 3, "--disagreements", 2, "--threads", 1],
}
"""Options that make a command short, by its first words; the longest of these counts."""

PAGES = [page for page in documents() if blocks(page, "bash") and page.name != "start.md"]
"""Pages with commands, except the one whose commands prepare the folder."""


def is_marked(code: str) -> bool:
    """Whether a line of Bash or a block of Python cannot run here."""
    return any(re.search(pattern, code) for pattern in NOT_RUN)


def shorter(block: str) -> str:
    """A block with smaller numbers of jets, epochs and trials."""
    for pattern, short in SHORTER:
        block = re.sub(pattern, short, block)
    return block


def with_options(words: list[str]) -> list[object]:
    """Words of a command with options that make it short."""
    known = [name for name in MORE if " ".join(words).startswith(name)]
    return [*words, *MORE[max(known, key=len)]] if known else [*words]


def run_block(block: str, folder: Path) -> None:
    """Runs our commands of a block in Bash, one after the other, and follows `cd`."""
    output = folder / "output.txt"
    for line in bash_lines(shorter(block)):
        if line.startswith("cd "):
            folder = folder / line.split()[1]
        for words in [] if is_marked(line) else commands_in(line):
            expecting(with_options(words), folder, output)


def expecting(words: Sequence[object], folder: Path, output: Path | None = None) -> None:
    """Runs a command that must succeed, with empty figures; beside its output is the cache."""
    status, said = run(words, folder, output, blank=True)
    assert status == 0, f"{words}\n{said}"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with small files and runs of the names that the pages use; begins with the commands of start.md."""
    folder = tmp_path_factory.mktemp("pages")
    cache = folder / "cache" / "cal_ratio_trainer"
    cache.mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        made = lambda path, *given, **more: (path.mkdir(), write_training_files(path))  # noqa: E731
        patch.setattr(demo_data, "make_demo_files", made)
        demo_data.demo_training_files(cache)
    for block in blocks(ROOT / "docs" / "start.md", "bash"):
        run_block(block, folder)
    shutil.rmtree(folder / "training_results")
    write_inputs(folder)
    write_runs(folder)
    write_earlier_files(folder)
    return folder


def write_inputs(folder: Path) -> None:
    """Writes ntuples, files of jets and settings."""
    write_training_files(folder, main_jets=600, control_jets=400)
    for name, source in (("jets", "main"), ("dijets", "control"), ("ttbar", "control")):
        shutil.copy(folder / f"{source}.parquet", folder / f"{name}.parquet")
    ntuples = folder / "demo_ntuples"
    (folder / "ntuples" / "qcd").mkdir(parents=True)
    for name in ("ntuples/a.root", "ntuples/qcd/a.root"):
        shutil.copy(ntuples / "qcd_JZ6" / "qcd_JZ6_0000.root", folder / name)
    shutil.copy(next((ntuples / "signal_mH125_mS55_lt1").glob("*.root")), folder / "signal.root")
    for name in ("signal_mH125_mS55_lt1", "qcd_JZ6", "bib"):
        shutil.copytree(ntuples / "converted" / name, folder / "converted" / name)
    for name in ("control_mc_JZ6", "control_data"):
        shutil.copytree(ntuples / "converted" / name, folder / "control" / name)
    files = "main_training_file: main.parquet\ncr_training_file: control.parquet\n"
    (folder / "my.yaml").write_text(files)
    (folder / "study.yaml").write_text(f"{files}model_name: study\n")
    (folder / "analyze.yaml").write_text("runs_to_analyze: [default/0]\n")
    (folder / "files.yaml").write_text("input_files: [{input_file: 'ntuples/*.root', data_type: qcd}]\n")


def write_runs(folder: Path) -> None:
    """Trains three small runs, and copies one to the other names."""
    train = ["train", "--config", "study.yaml", *SMALL]
    expecting([*train, "--epochs", 21, "--keep_weights", "all"], folder)
    runs = folder / "training_results"
    for name in ("default/00000", "default/00001", "default/00003", "study1/00000", "study_2023/00000", "study/00006"):
        shutil.copytree(runs / "study" / "00000", runs / name)
    expecting([*train, "--folds", 3], folder)
    expecting([*train, "--seeds", 3], folder)
    (runs / "study" / "00006").rename(runs / "study" / "00003")


def write_earlier_files(folder: Path) -> None:
    """Writes files as the earlier program left them."""
    weights = random_weights(DEFAULT_SHAPE, seed=1)
    keras = folder / "old" / "training_results" / "default" / "00003" / "keras"
    keras.mkdir(parents=True)
    (keras / "final_model.keras").write_bytes(keras_2_zip(DEFAULT_SHAPE, weights))
    for path in (keras / "final_model_weights_1.weights.h5", folder / "final_model_weights_80.weights.h5"):
        path.write_bytes(legacy_hdf5(DEFAULT_SHAPE, weights))
    for name in ("nn_config_study.json", "final_model.keras"):
        expecting(["convert", "training", "default/0/12", "--output", name], folder)
    expecting(["resample", "main.parquet", "old/main.pkl", 0.5], folder)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_of_the_page_run(page: Path, prepared: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(prepared, tmp_path / "folder")
    for block in blocks(page, "bash"):
        run_block(block, folder)


@pytest.mark.usefixtures("without_figures")
@pytest.mark.parametrize(
    "page", [page for page in documents() if blocks(page, "python")], ids=lambda page: str(page.relative_to(ROOT))
)
def test_python_of_the_page_runs(page: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shutil.copytree(prepared, tmp_path / "folder"))
    for block in blocks(page, "python"):
        if not is_marked(block):
            exec(compile(shorter(block), page.name, "exec"), {"crt": crt})
