"""What a benchmark is told by the words of its command line."""

import argparse
from typing import Any


def words(description: str | None, **defaults: Any) -> list[Any]:
    """The words that were given in this order, and the defaults of those that were not; --help tells both."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    for name, default in defaults.items():
        parser.add_argument(name, type=type(default), nargs="?", default=default, help=name.replace("_", " "))
    given = vars(parser.parse_args())
    return [given[name] for name in defaults]
