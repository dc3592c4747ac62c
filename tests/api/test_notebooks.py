"""The notebooks of the documentation are Python and keep no outputs. `.ci/run docs` executes them for the site."""

import ast
import json
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[2] / "docs" / "tutorials").glob("*.ipynb"))


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_a_notebook_is_python_and_keeps_no_outputs(notebook: Path) -> None:
    cells = [cell for cell in json.loads(notebook.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert cells
    for cell in cells:
        ast.parse("".join(cell["source"]))
        assert not cell["outputs"]
        assert cell["execution_count"] is None
