"""Settings of Sphinx: `sphinx-build -W --keep-going docs build/docs` makes the site, from the extra `docs`.

Pages are written so that they can also be read on GitHub. The functions below turn what GitHub understands and Sphinx
does not into what both have: links that leave `docs/`, anchors of HTML, and pages whose text stands in the top folder.
"""

import inspect
import os
import re
import tomllib
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
with (ROOT / "pyproject.toml").open("rb") as file:
    REPOSITORY = tomllib.load(file)["project"].get("urls", {}).get("Homepage")
"""Address of the repository; None as long as it has none. Links to files outside the site are their text then."""

project = "cal_ratio_trainer"
author = copyright = "The CalRatioTrainer developers"
version = release = re.search(r'__version__ = "(.+)"', (ROOT / "src" / project / "version.py").read_text("utf-8"))[1]

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton", "sphinxcontrib.mermaid"]
exclude_patterns = ["**.ipynb_checkpoints"]
nitpicky = False

html_theme = "furo"
html_title = f"cal_ratio_trainer {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {
    **({"source_repository": REPOSITORY, "source_branch": "main", "source_directory": "docs/"} if REPOSITORY else {}),
    "navigation_with_keys": True,
}

myst_heading_anchors = 4
myst_fence_as_directive = ["mermaid"]

# Notebooks keep no outputs; they run here, in a folder of their own, and an error in a cell is an error of the build.
nb_execution_mode = "off" if os.environ.get("NOTEBOOKS") == "off" else "force"
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 900
# Progress and messages of commands; results are what a page shows.
nb_output_stderr = "remove"
# These need the real ATLAS jets, which are not public; without them they are shown as they stand.
REAL_JETS = ROOT.parent / "shared" / "real"
os.environ["REAL_JETS_FOLDER"] = str(REAL_JETS)
os.environ["CPP_EXAMPLE_FOLDER"] = str(ROOT / "examples" / "cpp")
nb_execution_excludepatterns = [] if REAL_JETS.is_dir() else ["tutorials/real_*"]

autodoc_typehints = "none"
autodoc_member_order = "bysource"
napoleon_custom_sections = [("Source", "notes_style")]

ELSEWHERE = {
    "changelog": "CHANGELOG.md",
    "contributing": "CONTRIBUTING.md",
    "security": "SECURITY.md",
    "benchmarks": "benchmarks/README.md",
}
"""Pages whose text stands outside `docs/`. Their files in `docs/` hold a link for readers on GitHub."""


def replace_links(app: Sphinx, docname: str, source: list[str]) -> None:
    """Takes the text of a page from outside, and points links that leave `docs/` to a page or to the repository."""
    text, folder = source[0], (DOCS / docname).parent
    if docname in ELSEWHERE:
        outside = ROOT / ELSEWHERE[docname]
        app.env.note_dependency(str(outside))
        text, folder = outside.read_text("utf-8"), outside.parent
    pages = {ROOT / path: f"{name}.md" for name, path in ELSEWHERE.items()} | {ROOT / "README.md": "index.md"}

    def point(link: re.Match[str]) -> str:
        target = (folder / link[2]).resolve()
        if target.is_relative_to(DOCS) or not target.exists():
            inside = os.path.relpath(target, (DOCS / docname).parent)
        elif target in pages:
            inside = os.path.relpath(DOCS / pages[target], (DOCS / docname).parent)
        elif REPOSITORY is None:
            return link[1]
        else:
            inside = f"{REPOSITORY}/blob/main/{target.relative_to(ROOT)}"
        return f"[{link[1]}]({inside}{link[3]})"

    if not docname.startswith("tutorials/"):
        anchors = re.findall(r'<a id="([^"]+)"', text)
        text = re.sub(
            r"\]\(#([\w-]+)\)", lambda link: f"]({docname}.md{link[0][2:]}" if link[1] in anchors else link[0], text
        )
        source[0] = re.sub(r"\[([^]]*)\]\((?!\w+:|#)([^)#\s]+)([^)]*)\)", point, text)


def register_anchors(app: Sphinx, doctree: nodes.document) -> None:
    """Makes anchors in HTML (`<a id="...">`) targets of links, which MyST checks."""
    slugs = app.env.metadata[app.env.docname].setdefault("myst_slugs", {})
    for node in doctree.findall(nodes.raw):
        for name in re.findall(r'<a id="([^"]+)"', node.astext()):
            slugs[name] = (node.line or 0, name, name)


def add_defaults(app: Sphinx, kind: str, name: str, function: object, options: object, lines: list[str]) -> None:
    """Adds its default to the description of each argument of a public function."""
    if kind != "function":
        return
    for argument in inspect.signature(function).parameters.values():
        for number, line in enumerate(lines):
            if line.startswith(f":param {argument.name}: ") and argument.default not in (inspect.Parameter.empty, None):
                lines[number] = f"{line} Default: ``{argument.default}``."


def setup(app: Sphinx) -> dict[str, bool]:
    """Connects the functions above; pages may be read in parallel."""
    app.connect("source-read", replace_links)
    app.connect("doctree-read", register_anchors)
    app.connect("autodoc-process-docstring", add_defaults, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
