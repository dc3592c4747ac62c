"""The notebooks of the documentation keep no outputs. One runs here; building the site executes all of them."""

import ast
import json
from pathlib import Path
from typing import Any

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[2] / "docs" / "tutorials").glob("*.ipynb"))


def cells(notebook: Path) -> list[dict[str, Any]]:
    """The cells with code."""
    found: list[dict[str, Any]] = json.loads(notebook.read_text("utf-8"))["cells"]
    return [cell for cell in found if cell["cell_type"] == "code"]


def shown(code: str, names: dict[str, Any]) -> object:
    """Runs a cell; returns the value of its last line where that is an expression, as a notebook shows it."""
    tree = ast.parse(code)
    if isinstance(tree.body[-1], ast.Expr):
        tree.body[-1] = ast.Assign([ast.Name("_", ast.Store())], tree.body[-1].value)
    exec(compile(ast.fix_missing_locations(tree), "cell", "exec"), names)
    return names.pop("_", None)


@pytest.mark.slow
@pytest.mark.usefixtures("without_figures")  # it looks at none of the files that its training draws
def test_the_first_notebook_runs_and_shows_tables_and_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (notebook,) = [path for path in NOTEBOOKS if path.stem == "first_network"]
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "__main__"}
    values = [shown("".join(cell["source"]), names) for cell in cells(notebook)]
    assert any("<table" in getattr(value, "_repr_html_", str)() for value in values)
    pictures = [value._repr_png_() for value in values if hasattr(value, "_repr_png_")]
    assert pictures
    assert all(picture.startswith(b"\x89PNG") for picture in pictures)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_a_notebook_keeps_no_outputs(notebook: Path) -> None:
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in cells(notebook))
