"""Print the lowest versions that pyproject.toml allows as constraints for pip: `name>=version` becomes `name==version`.

Of the dependencies and of the extras that users install; tools of the tests are left as new as they are. Names that are
given on the command line are left out, e.g. torch, of which old builds are large.
"""

import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))["project"]
lines = list(project["dependencies"])
for extra in project["optional-dependencies"].keys() - {"docs", "test"}:
    lines += project["optional-dependencies"][extra]
left_out = {canonicalize_name(name) for name in sys.argv[1:]}
lowest = {}
for requirement in map(Requirement, lines):
    bounds = [bound.version for bound in requirement.specifier if bound.operator == ">="]
    if bounds and canonicalize_name(requirement.name) not in left_out:
        lowest[canonicalize_name(requirement.name)] = bounds[0]
for name, version in sorted(lowest.items()):
    print(f"{name}=={version}")
