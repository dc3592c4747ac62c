"""Positional arguments of benchmarks."""

import argparse
from typing import Any


def words(description: str | None, **defaults: Any) -> list[Any]:
    """Returns the given arguments in this order, and the defaults of the others; --help lists both."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    for name, default in defaults.items():
        parser.add_argument(name, type=type(default), nargs="?", default=default, help=name.replace("_", " "))
    given = vars(parser.parse_args())
    return [given[name] for name in defaults]
