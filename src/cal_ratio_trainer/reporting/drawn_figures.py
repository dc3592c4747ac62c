"""Which files in the folder of a report's figures this program has drawn, so that those of earlier calls can go.

Kept beside the folder, in a list with a checksum of each: a figure that somebody has changed, or a file that is not in
the list, is a user's and stays.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from cal_ratio_trainer.files.atomic import sha256_of, write_text
from cal_ratio_trainer.files.locks import held_in_turn


@dataclass(frozen=True)
class DrawnFigures:
    """The figures of one folder.

    Attributes:
        folder: where they lie.
        checksums: of their content when they were drawn, by the names of the files.
    """

    folder: Path
    checksums: Mapping[str, str]

    @classmethod
    @contextmanager
    def in_turn(cls, folder: Path) -> Iterator["DrawnFigures"]:
        """What the list says, while no other process draws to the folder or removes from it; waits for its turn.

        Raises:
            OSError: the folder above cannot be written.
        """
        folder.parent.mkdir(parents=True, exist_ok=True)
        with held_in_turn(_list_of(folder)):
            yield cls._listed_in(folder)

    @classmethod
    def _listed_in(cls, folder: Path) -> "DrawnFigures":
        """Nothing where there is no list that can be read."""
        try:
            content = json.loads(_list_of(folder).read_text("utf-8"))
        except (OSError, ValueError, RecursionError):
            content = None
        listed = content.items() if isinstance(content, dict) else ()
        # A list that was made by hand may name files elsewhere.
        return cls(folder, {name: str(checksum) for name, checksum in listed if Path(name).name == name})

    def with_these(self, names: Collection[str]) -> "DrawnFigures":
        """Those too that were drawn just now; the list then has them."""
        return self._listed({**self.checksums, **{name: sha256_of(self.folder / name) for name in names}})

    def only_these(self, names: Collection[str]) -> "DrawnFigures":
        """Remove all others that are still as they were drawn."""
        for name in self.checksums.keys() - set(names):
            file = self.folder / name
            if file.is_file() and not file.is_symlink() and sha256_of(file) == self.checksums[name]:
                file.unlink()
        return self._listed({name: self.checksums[name] for name in names})

    def _listed(self, checksums: Mapping[str, str]) -> "DrawnFigures":
        if checksums != self.checksums:
            write_text(_list_of(self.folder), json.dumps(dict(checksums), indent=0) + "\n")
        return replace(self, checksums=checksums)


def _list_of(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.json")
