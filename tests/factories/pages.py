"""The README and all pages, and the code in them."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def documents() -> list[Path]:
    """The README and all pages."""
    top = (
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "benchmarks/README.md",
        "examples/cpp/README.md",
    )
    return [*(ROOT / name for name in top), *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    """Code blocks of a page in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def bash_lines(block: str) -> list[str]:
    """Lines of a block in Bash; what a backslash continues is one line."""
    return block.replace("\\\n", " ").splitlines()


def commands_in(line: str) -> Iterator[list[str]]:
    """Words of each call of the program in a line, without its name; also where another program calls it.

    >>> list(commands_in("cd demo && cr_trainer runs --csv -  # all"))
    [['runs', '--csv', '-']]
    >>> list(commands_in("sbatch --wrap 'cr_trainer train --folds 5' && torchrun -m cal_ratio_trainer train"))
    [['train', '--folds', '5'], ['train']]
    """
    reader = shlex.shlex(line, posix=True, punctuation_chars=True)
    reader.whitespace_split = True
    words: list[str] = []
    for word in [*reader, ";"]:
        if re.fullmatch(r"[;&|<>()]+", word):
            yield from _call(words)
            words = []
        else:
            words.append(word)


def _call(words: list[str]) -> Iterator[list[str]]:
    for place, word in enumerate(words):
        is_module = word == "cal_ratio_trainer" and words[place - 1] == "-m"
        is_image = re.fullmatch(r"cal_ratio_trainer(:\w+|\.sif)?", word) and "run" in words[:place]
        if is_module or is_image or word.rpartition("/")[2] == "cr_trainer":
            yield words[place + 1 :]
            return
        if " " in word and "cr_trainer " in word:
            yield from commands_in(word)
