"""Checks of the whole project: packaged settings, help texts, imports, the README and the files beside it."""

import ast
import importlib
import importlib.metadata
import pkgutil
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pydantic import ValidationError

import cal_ratio_trainer
import cal_ratio_trainer.config
from cal_ratio_trainer.cli.main import cr_trainer
from cal_ratio_trainer.config.base import Settings
from cal_ratio_trainer.config.build import BuildSettings
from cal_ratio_trainer.config.convert import ConvertSettings
from cal_ratio_trainer.config.loading import packaged_configs, read_config
from cal_ratio_trainer.config.plot import PlotSettings
from cal_ratio_trainer.config.training import TrainSettings
from cal_ratio_trainer.config.tuning import search_space
from cal_ratio_trainer.jets.schema import extended_schema
from tests.factories.pages import ROOT, bash_lines, blocks, commands_in, documents

SOURCES = ROOT / "src" / "cal_ratio_trainer"
HEAVY = ("torch", "matplotlib", "awkward", "pydantic", "pandas", "uproot", "pyarrow", "numpy", "scipy", "h5py")


def leaf_commands() -> Iterator[tuple[str, click.Command]]:
    """Leaf commands, with the words that call them."""
    waiting: list[tuple[str, click.Command]] = [("", cr_trainer())]
    while waiting:
        words, command = waiting.pop()
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                child = command.get_command(context, name)
                assert child is not None
                waiting.append((f"{words} {name}".strip(), child))
        else:
            yield words, command


COMMANDS = dict(leaf_commands())
OPTIONS = [
    pytest.param(option, id=f"{words} --{option.name}")
    for words, command in COMMANDS.items()
    for option in command.params
    if isinstance(option, click.Option)
]


def settings_models() -> list[type[Settings]]:
    """All settings models, direct and indirect subclasses."""
    for module in pkgutil.iter_modules(cal_ratio_trainer.config.__path__):
        importlib.import_module(f"cal_ratio_trainer.config.{module.name}")
    found, waiting = [], [Settings]
    while waiting:
        children = waiting.pop().__subclasses__()
        found += children
        waiting += children
    return list(dict.fromkeys(found))


@pytest.mark.parametrize("model", settings_models(), ids=lambda model: model.__name__)
def test_defaults_are_values_that_their_model_accepts(model: type[Settings]) -> None:
    wrong = set()
    try:
        model()
    except ValidationError as error:
        wrong = {str(detail["loc"][0]) for detail in error.errors()}
    # An empty list of inputs can be a mistake too.
    assert wrong <= {name for name in model.model_fields if model.defaults().get(name) in (None, [])}


@pytest.mark.parametrize("name", packaged_configs())
def test_packaged_configurations_parse(name: str) -> None:
    content, accepted = read_config(name), []
    for model in settings_models():
        given = model.with_new_names(content)
        if given.keys() <= model.model_fields.keys():
            accepted.append(model.make(**given))
    assert accepted


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_has_a_sentence_and_every_number_a_unit(option: click.Option) -> None:
    text = re.sub(r"\s+\(default: .*\)$", "", option.help or "")
    sentence = re.sub(r" \[[^\[\]]+\]$", "", text)
    assert re.fullmatch(r"[A-Z-].{9,}\.", sentence), f"no sentence: {option.help!r}"
    if re.match(r"INT|NUMBER", option.metavar or ""):
        assert sentence != text, f"no unit in square brackets: {option.help!r}"


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_is_spelled_with_underscore_and_with_dash(option: click.Option) -> None:
    for spelling in [*option.opts, *option.secondary_opts]:
        if spelling.startswith("--"):
            assert f"--{spelling[2:].replace('_', '-')}" in [*option.opts, *option.secondary_opts]


def test_every_command_of_the_manual_that_this_issue_brings_is_there() -> None:
    assert {"train", "demo", "build", "resample", "convert divertanalysis"} <= COMMANDS.keys()


def modules_after(*arguments: str) -> set[str]:
    """Top-level modules in memory after the command line has run."""
    code = (
        "import sys; from cal_ratio_trainer.cli.main import main; sys.argv = ['cr_trainer', *sys.argv[1:]]\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print('MODULES', *sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True, text=True)
    return set(done.stdout.rpartition("MODULES")[2].split())


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ("convert", "--help")])
def test_help_imports_none_of_the_large_libraries(arguments: tuple[str, ...]) -> None:
    assert modules_after(*arguments) & set(HEAVY) == set()


@pytest.mark.parametrize("words", COMMANDS)
def test_help_of_a_command_imports_neither_torch_nor_what_draws_or_reads_ntuples(words: str) -> None:
    assert modules_after(*words.split(), "--help") & {"torch", "matplotlib", "awkward", "uproot"} == set()


def imported_packages() -> dict[str, set[str]]:
    """Top-level packages that the sources import -> the files that do."""
    found: dict[str, set[str]] = {}
    for path in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names = [node.module]
            for name in names:
                found.setdefault(name.partition(".")[0], set()).add(str(path.relative_to(ROOT)))
    return found


ARROWS: dict[str, set[str]] = {
    # The lowest packages do not depend on jets. A package may import those listed here, and the plain modules.
    "files": set(),
    "jets": {"files"},
    "config": {"jets"},
    "network": {"workers", "jets"},
    "evaluation": {"jets"},
    "workers": {"config", "files"},
    "ntuple": {"workers", "jets", "config", "files"},
    "building": {"evaluation", "ntuple", "workers", "jets", "config", "files"},
    "simulation": {"building", "evaluation", "ntuple", "workers", "jets", "config", "files"},
    "plotting": {"evaluation", "workers", "jets", "config", "files"},
    "formats": {"network", "workers", "jets", "config", "files"},
    "datasets": {"evaluation", "network", "workers", "jets", "config", "files"},
}
ARROWS["runs"] = {
    "datasets",
    "formats",
    "plotting",
    "simulation",
    *ARROWS["formats"],
    *ARROWS["plotting"],
    *ARROWS["simulation"],
}
ARROWS["training"] = {"runs", *ARROWS["runs"]}
ARROWS["scoring"] = {"runs", *ARROWS["runs"]}
ARROWS["tuning"] = {"training", *ARROWS["training"]}
ARROWS["reporting"] = {"scoring", "training", "tuning", *ARROWS["training"]}
ARROWS["api"] = {"reporting", *ARROWS["reporting"]}
# The command line calls the public functions; it names the types and texts of their results.
ARROWS["cli"] = {"api", "config", "files", "jets", "ntuple", "reporting", "scoring", "training"}

PLAIN_MODULES = {"errors", "launching", "progress", "results", "version"}

FOREIGN = {
    "evaluation": {"torch", "matplotlib", "mplhep", "uproot", "awkward", "h5py"},
    "plotting": {"torch", "uproot", "awkward", "h5py"},
    "jets": {"torch", "matplotlib", "uproot"},
    "network": {"matplotlib", "uproot", "awkward", "h5py", "pyarrow"},
    "config": {"torch", "matplotlib", "uproot", "awkward", "numpy", "pyarrow", "pandas"},
}
"""Libraries that a package must not import, because other packages use them."""


def imports_of(package: str) -> Iterator[tuple[str, str]]:
    """(file, module) of all imports of a package, anywhere in a file."""
    for path in sorted((SOURCES / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                yield from ((path.name, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: relative imports hide the arrows"
                here = node.module == SOURCES.name
                yield from (
                    (path.name, f"{node.module}.{alias.name}" if here else str(node.module)) for alias in node.names
                )


def test_every_package_has_its_arrows() -> None:
    assert {path.name for path in SOURCES.iterdir() if (path / "__init__.py").exists()} == ARROWS.keys()


@pytest.mark.parametrize("package", ARROWS)
def test_packages_import_along_the_arrows_only(package: str) -> None:
    allowed = {package, *ARROWS[package], *PLAIN_MODULES}
    ours = {(file, name.split(".")[1]) for file, name in imports_of(package) if name.startswith(f"{SOURCES.name}.")}
    assert {(file, name) for file, name in ours if name not in allowed} == set()


def test_the_arrows_make_no_circle() -> None:
    assert next(iter(TopologicalSorter(ARROWS).static_order())) == "files"


def test_no_files_import_each_other_in_a_circle() -> None:
    files = {
        ".".join(path.relative_to(SOURCES.parent).with_suffix("").parts).removesuffix(".__init__"): path
        for path in SOURCES.rglob("*.py")
    }
    graph: dict[str, set[str]] = {}
    for name, path in files.items():
        found = set()
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                named = {f"{node.module}.{alias.name}" for alias in node.names}
                found |= {each if each in files else str(node.module) for each in named}
        graph[name] = (found & files.keys()) - {name}
    # Raises CycleError, which names the circle.
    TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("package", FOREIGN)
def test_packages_leave_libraries_to_those_whose_business_they_are(package: str) -> None:
    used = {(file, name.partition(".")[0]) for file, name in imports_of(package)}
    assert {(file, name) for file, name in used if name in FOREIGN[package]} == set()


def test_everything_the_sources_import_is_a_declared_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    declared = {canonicalize_name(Requirement(text).name) for text in project["dependencies"]}
    for extra in ("dask", "xrootd", "onnx", "tensorboard", "mlflow", "gpu", "notebook", "tune"):
        declared |= {canonicalize_name(Requirement(text).name) for text in project["optional-dependencies"][extra]}
    declared.add(canonicalize_name("pydantic-core"))  # a part of pydantic, which requires the matching version
    owners = importlib.metadata.packages_distributions()
    undeclared = {
        package: files
        for package, files in imported_packages().items()
        if package not in sys.stdlib_module_names
        and package != "cal_ratio_trainer"
        and not {canonicalize_name(owner) for owner in owners.get(package, [package])} & declared
    }
    assert undeclared == {}


def test_an_environment_with_torch_keeps_it_and_the_manual_s_extras_are_there() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    torch = next(Requirement(text) for text in project["dependencies"] if text.startswith("torch"))
    for version in ("2.6.0+cu124", "2.9.1", "2.13.0+cpu"):
        assert torch.specifier.contains(version)
    assert {"test", "wsl2"} <= project["optional-dependencies"].keys()


def test_the_version_and_the_requirements_stand_in_the_recipe_too() -> None:
    recipe = yaml.safe_load((ROOT / "recipe" / "recipe.yaml").read_text("utf-8"))
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert recipe["context"]["version"] == citation["version"] == cal_ratio_trainer.__version__
    assert f"\n## {cal_ratio_trainer.__version__} (" in (ROOT / "CHANGELOG.md").read_text("utf-8")
    names = {"matplotlib": "matplotlib-base", "torch": "pytorch", "xxhash": "python-xxhash"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = {canonicalize_name(each.name): str(each.specifier) for each in map(Requirement, project["dependencies"])}
    _, *listed = recipe["requirements"]["run"]
    assert dict(line.split() for line in listed) == {names.get(name, name): bound for name, bound in wanted.items()}


def test_the_earlier_program_s_repository_is_credited_only_and_nothing_is_downloaded_from_it() -> None:
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    address = re.compile(r"github\.com[/:][\w-]+/CalRatioTrainer\b(?!\))")
    found = [name for name in tracked.split("\0")[:-1] if address.search((ROOT / name).read_text("utf-8", "ignore"))]
    assert found == []
    credited = [
        page.name for page in documents() if "(https://github.com/gordonwatts/CalRatioTrainer)" in page.read_text()
    ]
    assert sorted(credited) == ["README.md", "changes.md"]


def readme() -> str:
    """The text of the README."""
    return (ROOT / "README.md").read_text("utf-8")


def test_the_command_that_ci_takes_from_the_readme_installs_then_tests() -> None:
    block = readme().partition("<!-- install and test -->")[2].partition("<!-- end -->")[0]
    (line,) = [line for line in block.splitlines() if line.startswith("python3 ")]
    *install, test = line.split(" && ")
    assert install == ["python3 -m venv .venv", ".venv/bin/pip install -e '.[test]'"]
    assert test == ".venv/bin/pytest -n auto --dist loadfile"


def test_the_readme_has_three_pictures_and_at_most_500_words() -> None:
    assert len(re.findall(r"!\[[^\]]+\]\(docs/images/\w+\.png\)", readme())) == 3
    assert len(readme().split()) <= 500


def anchors(page: Path) -> set[str]:
    """Targets of links within a page: GitHub's names of its headings, and anchors in HTML."""
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
    return slugs | set(re.findall(r'<a id="([^"]+)"', text))


@pytest.mark.parametrize("page", documents(), ids=lambda page: page.name)
def test_links_between_pages_and_to_pictures_lead_somewhere(page: Path) -> None:
    wrong = []
    for target, anchor in re.findall(r"\]\(([^)#\s]*)#?([^)\s]*)\)", page.read_text("utf-8")):
        file = page.parent / target if target else page
        if "://" not in target and not (file.exists() and (not anchor or anchor in anchors(file))):
            wrong.append(f"{target}#{anchor}")
    assert wrong == []


@pytest.mark.parametrize("page", documents(), ids=lambda page: page.name)
def test_options_in_the_pages_are_options_of_a_command(page: Path) -> None:
    known = {spelling for command in COMMANDS.values() for option in command.params for spelling in option.opts}
    known |= {
        spelling for command in COMMANDS.values() for option in command.params for spelling in option.secondary_opts
    }
    used = set()
    for line in re.findall(r"cr_trainer [^\n`]*", page.read_text("utf-8")):
        used |= set(re.findall(r"(?<=\s)--[a-zA-Z][\w-]*", line))
    assert used - known - {"--help", "--version"} == set()


@pytest.mark.parametrize("page", documents(), ids=lambda page: page.name)
def test_python_in_the_pages_is_python_and_commands_are_commands(page: Path) -> None:
    for block in blocks(page, "python"):
        ast.parse(block)
    for block in blocks(page, "bash"):
        subprocess.run(["bash", "-n"], input=block, check=True, text=True)
    for words in (words for block in blocks(page, "bash") for line in bash_lines(block) for words in commands_in(line)):
        command: click.Command = cr_trainer()
        context, rest = click.Context(command), words
        while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
            found = command.get_command(context, rest[0])
            assert found is not None, words
            command, rest = found, rest[1:]
        # Raises UsageError for an option that is unknown or lacks its value.
        command.make_parser(click.Context(command)).parse_args(list(rest))


READERS: dict[str, Callable[[dict[str, Any]], object]] = {
    "build.md": lambda content: BuildSettings.make(**{"output_file": "a.pkl", "input_files": ["b.pkl"]} | content),
    "convert.md": lambda content: (
        extended_schema("page", content) if "constituents" in content else ConvertSettings.make(**content)
    ),
    "plot.md": lambda content: PlotSettings.make(**content),
    "tune.md": lambda content: search_space(content, TrainSettings.make(), "page", set()),
}
"""Functions that read the YAML of a page, and refuse what its command would refuse."""


@pytest.mark.parametrize("page", [page for page in documents() if blocks(page, "yaml")], ids=lambda page: page.name)
def test_yaml_in_the_pages_is_accepted_by_its_command(page: Path) -> None:
    for block in blocks(page, "yaml"):
        assert READERS[page.name](yaml.safe_load(block))


def test_every_page_is_in_a_table_of_contents_of_the_site() -> None:
    index = (ROOT / "docs" / "index.md").read_text("utf-8")
    listed = re.findall(r"^[\w/]+$", "\n".join(re.findall(r"```{toctree}\n(.*?)```", index, re.DOTALL)), re.MULTILINE)
    pages = {path for suffix in ("md", "ipynb") for path in (ROOT / "docs").rglob(f"*.{suffix}")}
    assert sorted(listed) == sorted(
        str(page.relative_to(ROOT / "docs").with_suffix("")) for page in pages - {ROOT / "docs" / "index.md"}
    )


def test_the_reference_has_every_public_function() -> None:
    listed = re.findall(r"autofunction:: (\w+)", (ROOT / "docs" / "reference.md").read_text("utf-8"))
    assert set(listed) == set(cal_ratio_trainer.__all__) - {"UserError", "__version__", "errors"}


def test_every_picture_of_the_pages_is_drawn_by_the_module_for_them() -> None:
    drawn = re.findall(r"^def (\w+)\(demo: Demo\)", (ROOT / "docs" / "figures.py").read_text("utf-8"), re.MULTILINE)
    assert {path.stem for path in (ROOT / "docs" / "images").glob("*.png")} == set(drawn)


def test_the_test_named_for_profiling_exists() -> None:
    (name,) = set(re.findall(r"pytest --profile (\S+)", (ROOT / "docs" / "development.md").read_text("utf-8")))
    file, _, function = name.partition("::")
    assert re.search(rf"^def {function}\(", (ROOT / file).read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize("page", documents(), ids=lambda page: page.name)
def test_no_table_or_figure_waits_to_be_filled_in(page: Path) -> None:
    assert re.findall(r"<!-- slot: [^>]*-->", page.read_text("utf-8")) == []


RUNS = "Folder that holds all runs, by model name and run number."


def test_the_folder_of_runs_has_the_same_name_in_every_command() -> None:
    spellings = {
        words: {"--output_path", "--runs_path"} - set(option.opts)
        for words, command in COMMANDS.items()
        for option in command.params
        if isinstance(option, click.Option) and (option.help or "").startswith(RUNS)
    }
    assert {"train", "plot", "analyze", "score", "compare", "runs", "import", "model-dump", "convert training"} <= (
        spellings.keys()
    )
    assert {words for words, missing in spellings.items() if missing} == set()
