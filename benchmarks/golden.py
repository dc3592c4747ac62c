"""Digests of all output of the program except timings: `python -m benchmarks.golden FOLDER` before and after a change.

Makes a demo and runs every command on it, on one thread, with a fixed seed. FOLDER/sums.json then contains a digest of
each output file, of each command's terminal output, and of `--help` and `--print_settings` of all commands.
`python -m benchmarks.golden FOLDER --against OTHER/sums.json` prints differences, and ends with status 1 if there are
any. The files stay in FOLDER/work for inspection. Digests are comparable on one machine only.
"""

import argparse
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import uproot

from cal_ratio_trainer.cli.main import cr_trainer

_SMALL = "--num_splits 5 --sample_fraction 1 --train_fraction 0.8 --keep_weights all --threads 1"
_FILES = "--main_training_file main.parquet --cr_training_file control.parquet"
CHAIN = (
    "demo --output_path . --jets 300 --seed 3",
    "convert divertanalysis --config convert.yaml",
    "build --config build_main.yaml",
    "build --config build_control.yaml",
    "resample main.parquet half.parquet 0.5",
    f"train {_FILES} --epochs 2 {_SMALL}",
    "train --continue -1 --epochs 1 --threads 1",
    f"train {_FILES} --epochs 1 --folds 2 --model_name study {_SMALL}",
    f"train {_FILES} --epochs 1 --adversary_weight 0 --model_name plain --no-epoch_plots {_SMALL}",
    "score main.parquet default/0/best --threads 1",
    "score bib/bib_0000.root study/0 --threads 1 --output_report folds_report/report.md --data_type bib",
    "compare default/0/1 default/0/2 --threads 1",
    "analyze default/0",
    "plot main.parquet control.parquet",
    "convert training default/0/best --format all --output_json exported/model.json",
    "convert training study/0 --folds --format all --output_json folds/model.json",
    "convert training default/0/last --format onnx --with_preprocessing --output_json raw/model.json",
    "import training_results/default/00000/keras/final_model.keras --model_name imported",
    "runs",
    "model-dump default/0/best",
)
"""Arguments of the commands, which run one after the other in one folder."""

_TIMES = re.compile(
    r"_s$|seconds|per_second|^(at|started|ended|since|shares|free_bytes|gib|sha256|size_bytes|pid|workers|id|run)$"
)
"""Keys of JSON whose values depend on the moment, on the machine's load or on the random id of a run."""

_MASKS = (
    (r"\b[0-9a-f]{64}\b", "SHA256"),
    (r"\b[0-9a-f]{40}(-dirty)?\b|(?<=\| )[0-9a-f]{10}(-dirty)?(?= \|)|(?<=>)[0-9a-f]{10}(-dirty)?(?=<)", "COMMIT"),
    (r" [0-9a-f]{10}(-dirty)? +(?=\d{4}-)", " COMMIT "),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(\.\d+)?(\+00:00)?", "TIME"),
    (r"\b[\d.]+[kM]? (figures|epochs|jets|main jets|events|files|plots|MiB|bytes|B)(/s| a second)", "RATE"),
    (r"\b(\d+ min )?[\d.]+ (s|GiB|MiB)\b", "AMOUNT"),
    # Compressed metadata hold digests.
    (r"size.bytes\W+\d+", "SIZE"),
    (r"seconds in .*|compiling what computes.*", "SHARES"),
    # Seconds and jets per second of the tables of convert and score.
    (r"[\d.]+ │\n", "SECONDS │\n"),
    (r"(?<=\| )[\d.]+ \| [\d,]+(?= \| \S+\.(parquet|root) \|)", "SECONDS"),
    (r"(?<=>)[\d.]+</td>\n<td[^>]*>[\d,]+(?=</td>\n<td[^>]*>\S+\.(parquet|root)<)", "SECONDS"),
    # Widths and alignment of columns, and ends of lines, depend on their content.
    (r"\|[:| -]+\|\n| style=\"text-align:\w+\"", ""),
    (r"[ ─━\n]+", " "),
)


def main() -> None:
    """Runs the chain and writes the digests; compares them with earlier ones on request."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="new folder for the files and sums.json")
    parser.add_argument("--against", type=Path, help="sums.json of an earlier state")
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True)
    work = chosen.folder / "work"
    work.mkdir()
    sums = {f"output of {words}": _run(words, work) for words in CHAIN} | sums_of(work)
    sums |= {f"cr_trainer {words}": _digest(_answer(words, work).stdout.encode()) for words in _questions()}
    (chosen.folder / "sums.json").write_text(json.dumps(sums, indent=1, sort_keys=True) + "\n", "utf-8")
    print(f"{len(sums)} sums in {chosen.folder / 'sums.json'}")
    if chosen.against:
        before = json.loads(chosen.against.read_text("utf-8"))
        differences = [name for name in sorted({*before, *sums}) if before.get(name) != sums.get(name)]
        for name in differences:
            print(
                f"differs: {name}"
                if name in before and name in sums
                else f"only {'after' if name in sums else 'before'}: {name}"
            )
        print(f"{len(differences)} differ")
        raise SystemExit(bool(differences))


def sums_of(folder: Path, since: float = 0.0) -> dict[str, str]:
    """Digests of the files below a folder that were changed since a time, by path, without times, ids and caches."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.stat().st_mtime >= since)
    return {
        str(path.relative_to(folder)): _digest(content_of(path, folder))
        for path in files
        if not path.name.startswith(".")
        and "tfevents" not in path.name
        and "cache" not in path.relative_to(folder).parts
    }


def content_of(path: Path, folder: Path) -> bytes:
    """Relevant bytes of a file; text below `folder` does not contain its name."""
    reader = _READERS.get(path.suffix, Path.read_bytes)
    return reader(path).replace(str(folder.resolve()).encode(), b"FOLDER")


def _of_parquet(path: Path) -> bytes:
    file = pq.ParquetFile(path)
    buffer = io.BytesIO()
    # Without compression, dictionaries and statistics only the values remain.
    pq.write_table(file.read().replace_schema_metadata(None), buffer, compression="none", use_dictionary=False)
    known = {
        key.decode(): json.loads(value)
        for key, value in (file.metadata.metadata or {}).items()
        if value.lstrip()[:1] in (b"{", b"[")
    }
    return buffer.getvalue() + json.dumps(_timeless(known), sort_keys=True).encode()


def _of_root(path: Path) -> bytes:
    parts = []
    with uproot.open(path) as file:
        for name, kind in sorted(file.classnames().items()):
            parts.append(f"{name} {kind}".encode())
            if hasattr(found := file[name], "arrays"):
                parts.append(str(found.arrays().to_list()).encode())
            elif hasattr(found, "values"):
                parts.append(np.asarray(found.values()).tobytes())
    return b"\n".join(parts)


def _of_json(path: Path) -> bytes:
    return _masked(json.dumps(_timeless(json.loads(path.read_bytes())))).encode()


def _of_text(path: Path) -> bytes:
    return _masked(path.read_text("utf-8")).encode()


def _of_onnx(path: Path) -> bytes:
    # Its metadata say when the run began and which files it read.
    return _masked(path.read_bytes().decode("latin-1")).encode("latin-1", "replace")


def _of_keras(path: Path) -> bytes:
    # The comment of the zip file holds the run's id.
    with zipfile.ZipFile(path) as file:
        return b"\n".join(name.encode() + file.read(name) for name in sorted(file.namelist()))


def _of_safetensors(path: Path) -> bytes:
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    metadata = {name: json.loads(text) for name, text in header.pop("__metadata__", {}).items() if text.startswith("{")}
    return json.dumps([header, _timeless(metadata)], sort_keys=True).encode() + content[end:]


_READERS: dict[str, Callable[[Path], bytes]] = {
    ".parquet": _of_parquet,
    ".root": _of_root,
    ".json": _of_json,
    ".onnx": _of_onnx,
    ".keras": _of_keras,
    ".safetensors": _of_safetensors,
    **dict.fromkeys((".md", ".html", ".txt", ".yaml"), _of_text),
}


def _timeless(content: Any) -> Any:
    if isinstance(content, dict):
        return {name: _timeless(value) for name, value in content.items() if not _TIMES.search(name)}
    return [_timeless(value) for value in content] if isinstance(content, list) else content


def _masked(text: str) -> str:
    for pattern, word in _MASKS:
        text = re.sub(pattern, word, text)
    return text


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:20]


def _run(words: str, work: Path) -> str:
    print(f"cr_trainer {words}", flush=True)
    done = _answer(words, work)
    if done.returncode:
        raise SystemExit(f"cr_trainer {words} ended with {done.returncode}:\n{done.stderr}")
    return _digest(_masked(done.stdout.replace(str(work.resolve()), "FOLDER")).encode())


def _answer(words: str, work: Path) -> subprocess.CompletedProcess[str]:
    program = shutil.which("cr_trainer", path=str(Path(sys.executable).parent))
    assert program, "the package is not installed"
    settings = {"XDG_CACHE_HOME": str(work / "cache"), "COLUMNS": "120", "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}
    return subprocess.run(
        [program, *words.split()], cwd=work, env=os.environ | settings, capture_output=True, text=True
    )


def _questions() -> Iterator[str]:
    """`--help` and, where it exists, `--print_settings` of every command."""
    import click

    def commands(group: click.Group, before: str) -> Iterator[str]:
        context = click.Context(group)
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            yield f"{before}{name} --help"
            if isinstance(command, click.Group):
                yield from commands(command, f"{before}{name} ")
            elif command and any("--print_settings" in each.opts for each in command.params):
                yield f"{before}{name} --print_settings"

    yield "--help"
    yield from commands(cr_trainer(), "")


if __name__ == "__main__":
    main()
