"""The state of an installation, for `cr_trainer doctor`: facts about it, and checks that have to pass.

Each part imports the libraries that it needs itself, so that a broken one is a failed check of that part.
"""

import contextlib
import importlib
import importlib.metadata
import json
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cal_ratio_trainer.config.runs import DoctorSettings
from cal_ratio_trainer.results import Result
from cal_ratio_trainer.version import __version__

if TYPE_CHECKING:
    import torch

    from cal_ratio_trainer.jets import Jets

_PACKAGE = "cal_ratio_trainer"
_GIB = 1 << 30
_JETS = 30
_TOLERANCE = 1e-3
"""Largest relative difference of loss and gradients between engines; rounding gives some 1e-6."""

VARIABLES = (
    *("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENBLAS_CORETYPE"),
    *("GOMP_SPINCOUNT", "NUMBA_NUM_THREADS", "NUMBA_CPU_FEATURES", "NUMBA_CACHE_DIR", "NUMBA_DISABLE_JIT"),
    *("TRITON_INTERPRET", "MPLBACKEND", "LD_PRELOAD"),
)
"""Environment variables that are shown if set. No others: some hold passwords."""


@dataclass(frozen=True)
class Check:
    """One thing that has to work: its name, the outcome, and a description of what was found."""

    name: str
    passed: bool
    found: str


@dataclass(frozen=True, repr=False)
class Examination(Result):
    """Result of an examination: facts by subject and name, and checks."""

    facts: dict[str, dict[str, Any]]
    checks: tuple[Check, ...]

    @property
    def is_well(self) -> bool:
        """True where all checks passed."""
        return all(check.passed for check in self.checks)

    def as_json(self) -> str:
        """JSON with the facts by subject, `checks` and `is_well`."""
        content = {**self.facts, "checks": [asdict(check) for check in self.checks], "is_well": self.is_well}
        return json.dumps(content, indent=2, default=str)

    def as_text(self) -> str:
        """Table of the facts, then the checks and their summary."""
        lines = []
        for subject, facts in self.facts.items():
            lines += [subject, *(f"  {name:22} {_in_words(value)}" for name, value in facts.items()), ""]
        lines.append("checks")
        lines += [f"  {'ok  ' if check.passed else 'FAIL'} {check.name}: {check.found}" for check in self.checks]
        return "\n".join([*lines, "", self.headline])

    @property
    def headline(self) -> str:
        """See `Result`."""
        failed = sum(not check.passed for check in self.checks)
        return f"{failed} of {len(self.checks)} checks failed" if failed else "all is well"

    def records(self) -> Sequence[Mapping[str, Any]]:
        """One row per check."""
        return [vars(check) for check in self.checks]


def _in_words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_in_words(each)}" for name, each in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else str(value)


def examine(settings: DoctorSettings) -> Examination:
    """Examines the installation, the machine and the folders, and tries what a training needs.

    Nothing raises: a fact that cannot be determined is a failed check. Folders are left as they were.

    Args:
        settings: the device to try, and the folders of runs and of copies.
    """
    facts: dict[str, dict[str, Any]] = {}
    checks: list[Check] = []
    for subject, find in (
        ("versions", _versions),
        ("extras", _extras),
        ("machine", _machine),
        ("devices", _devices),
        ("engines", lambda: _engines(settings.device)),
        ("BLAS", _blas),
        ("folders", lambda: _folders(settings)),
        ("environment", lambda: {name: os.environ[name] for name in VARIABLES if name in os.environ}),
    ):
        try:
            facts[subject] = find()
        except Exception as error:
            checks.append(Check(subject, False, _error(error)))
    missing = [package for package, extra in _requirements() if extra is None and _version(package) is None]
    checks.append(Check("required packages", not missing, f"missing: {', '.join(missing)}" if missing else "all there"))
    for name, folder in facts.get("folders", {}).items():
        if name != "current":
            found = f"{folder['path']}, {folder['free_GiB']} GiB free"
            checks.append(Check(f"{name} folder can be written", folder["writable"], found))
    checks.append(_check("training step", lambda: _training_step(settings.device)))
    checks.append(_check("Parquet file of jets", _parquet_file))
    checks.append(_check("network file", _network_file))
    return Examination(facts, tuple(checks))


def _check(name: str, do: Callable[[], str]) -> Check:
    try:
        return Check(name, True, do())
    except Exception as error:
        return Check(name, False, _error(error))


def _error(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:500]


def _requirements() -> list[tuple[str, str | None]]:
    """Names of the packages in this program's own metadata, each with the extra that asks for it (None: required)."""
    found = []
    for text in importlib.metadata.requires(_PACKAGE) or []:
        name = re.match(r"[\w.-]+", text)
        extra = re.search(r"extra\s*==\s*[\"']([\w-]+)", text)
        if name:
            found.append((name[0], extra[1] if extra else None))
    return found


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _versions() -> dict[str, Any]:
    found: dict[str, str | None] = {_PACKAGE: __version__, "python": platform.python_version()}
    # A run's record imports PyTorch, which may be what is broken; it has a check of its own.
    with contextlib.suppress(ImportError, OSError):
        from cal_ratio_trainer.runs.record import versions

        found |= {"commit": versions()["commit"]}
    return found | {package: _version(package) for package, extra in _requirements() if extra is None}


def _extras() -> dict[str, Any]:
    found: dict[str, dict[str, str | None]] = {}
    for package, extra in _requirements():
        if extra is not None and extra != "test":
            found.setdefault(extra, {})[package] = _version(package)
    return dict(found)


def _machine() -> dict[str, Any]:
    import torch

    from cal_ratio_trainer.datasets.memory import free_bytes
    from cal_ratio_trainer.runs.record import machine
    from cal_ratio_trainer.workers.executor import available_cores

    free = free_bytes(torch.device("cpu"))
    return {
        **{name: value for name, value in machine().items() if name not in ("host", "gpu", "threads")},
        "architecture": platform.machine(),
        "cores for this process": available_cores(),
        "threads of PyTorch": torch.get_num_threads(),
        "free memory": f"{free / _GIB:.1f} GiB" if free is not None else None,
    }


def _devices() -> dict[str, Any]:
    import torch

    from cal_ratio_trainer.network.engine import chosen_device, unserved_card

    found: dict[str, Any] = {"chosen": str(chosen_device("auto")), "CUDA of PyTorch": torch.version.cuda}
    for number in range(torch.cuda.device_count()):
        card = torch.cuda.get_device_properties(number)
        found[f"GPU {number}"] = (
            f"{card.name}, {card.total_memory / _GIB:.0f} GiB, capability {card.major}.{card.minor}"
        )
    if unserved := unserved_card():
        found["GPU not used"] = unserved
    return found


def _engines(device: str) -> dict[str, Any]:
    import torch

    from cal_ratio_trainer.network.engine import Engine, EngineUnusable, chosen_device, engine_for

    place = chosen_device(device)
    found = {"chosen": engine_for(place, torch.float32).value}
    for engine in (Engine.NUMBA, Engine.TRITON, Engine.TORCH):
        try:
            engine_for(place, torch.float32, engine.value)
        except EngineUnusable as unusable:
            found[engine.value] = str(unusable)
        else:
            found[engine.value] = "can be used"
    return found


def _blas() -> dict[str, Any]:
    for user in ("numpy", "scipy.linalg", "torch"):
        importlib.import_module(user)
    from threadpoolctl import threadpool_info

    shown = ("user_api", "internal_api", "version", "architecture", "num_threads")
    return {
        Path(pool["filepath"]).name: {name: pool[name] for name in shown if pool.get(name)}
        for pool in threadpool_info()
    }


def _folders(settings: DoctorSettings) -> dict[str, Any]:
    from cal_ratio_trainer.files.cache import default_cache_path

    named = {
        "cache": settings.cache_path or default_cache_path(),
        "current": Path.cwd(),
        "output": settings.output_path,
        "temporary": Path(tempfile.gettempdir()),
    }
    return {name: _folder(path.expanduser().absolute()) for name, path in named.items()}


def _folder(path: Path) -> dict[str, Any]:
    # A missing folder would be made in the nearest existing one.
    existing = next(each for each in (path, *path.parents) if each.exists())
    try:
        with tempfile.TemporaryFile(dir=existing) as file:
            file.write(b"x")
            file.flush()
        writable = True
    except OSError:
        writable = False
    return {"path": str(path), "writable": writable, "free_GiB": round(shutil.disk_usage(existing).free / _GIB, 1)}


def _some_jets() -> "Jets":
    """Jets of random numbers of about the size that scaled features have, so that rounding stays small."""
    import numpy as np

    from cal_ratio_trainer.jets import CONSTITUENTS, Jets, Ragged

    random = np.random.default_rng(1)
    lists = {}
    for kind in CONSTITUENTS:
        lengths = random.integers(0, kind.limit + 1, _JETS)
        values = random.normal(0.0, 0.3, (int(lengths.sum()), len(kind.features)))
        lists[kind.name] = Ragged.from_lengths(values.astype(np.float32), lengths)
    scalars = {name: random.uniform(0.1, 1.0, _JETS) for name in ("jet_pt", "jet_eta", "jet_phi")}
    return Jets.from_columns({"label": random.integers(0, 3, _JETS), **scalars}, lists)


def _training_step(wanted: str) -> str:
    """Compares loss and gradients of the chosen engine, for the default network, with those of PyTorch's operations."""
    import torch

    from cal_ratio_trainer.network.engine import Engine, chosen_device, engine_for

    device = chosen_device(wanted)
    engine = engine_for(device, torch.float32)
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        loss, gradients = _loss_and_gradients(engine.value, device)
        expected_loss, expected = _loss_and_gradients(Engine.TORCH.value, device)
    finally:
        torch.set_float32_matmul_precision(precision)
    difference = abs(loss - expected_loss) / expected_loss
    for name, gradient in gradients.items():
        scale = expected[name].abs().max().clamp_min(1e-6)
        difference = max(difference, float((gradient - expected[name]).abs().max() / scale))
    # NaN fails too.
    if not difference < _TOLERANCE:
        raise ArithmeticError(
            f"engine {engine.value} on {device}: loss or gradients differ from PyTorch's by {difference:.1e}"
        )
    return f"engine {engine.value} on {device}: loss and gradients are PyTorch's (largest difference {difference:.0e})"


def _loss_and_gradients(engine: str, device: "torch.device") -> tuple[float, dict[str, "torch.Tensor"]]:
    import numpy as np
    import torch

    from cal_ratio_trainer.network.batch import JetTensors
    from cal_ratio_trainer.network.classifier import Classifier
    from cal_ratio_trainer.network.shape import DEFAULT_SHAPE
    from cal_ratio_trainer.training.optimizers import keras_nadam

    jets = _some_jets()
    classifier = Classifier(DEFAULT_SHAPE, seed=1, engine=engine).to(device)
    optimizer = keras_nadam(classifier, 1e-3)
    batch = JetTensors.from_jets([jets], device).batch(np.arange(len(jets)))
    labels = torch.from_numpy(np.asarray(jets["label"], dtype=np.int64)).to(device)
    loss = torch.nn.functional.cross_entropy(classifier(batch), labels)
    loss.backward()  # type: ignore[no-untyped-call]
    gradients = {name: weight.grad.clone() for name, weight in classifier.named_parameters() if weight.grad is not None}
    optimizer.step()
    if not all(bool(weight.isfinite().all()) for weight in classifier.parameters()):
        raise ArithmeticError(f"engine {engine} on {device}: weights are not finite after a step")
    return float(loss.detach()), gradients


def _parquet_file() -> str:
    import numpy as np

    from cal_ratio_trainer.jets.loading import read_jets
    from cal_ratio_trainer.jets.metadata import JetMetadata, converted_units
    from cal_ratio_trainer.jets.store import write_jets

    jets = _some_jets()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "jets.parquet"
        write_jets(file, jets, JetMetadata(stage="converted", units=converted_units()))
        read = read_jets(file)
    for name, ragged in jets.constituents.items():
        if not np.array_equal(read.constituents[name].values, ragged.values):
            raise ArithmeticError(f"the {name} that were read are not those that were written")
    return f"{len(read)} jets written and read"


def _network_file() -> str:
    import numpy as np

    from cal_ratio_trainer.formats.keras_file import write_keras
    from cal_ratio_trainer.formats.network_file import read_own_network
    from cal_ratio_trainer.network.classifier import Classifier
    from cal_ratio_trainer.network.shape import DEFAULT_SHAPE

    weights = Classifier(DEFAULT_SHAPE, seed=1).weights()
    with tempfile.TemporaryDirectory() as folder:
        write_keras(Path(folder) / "network.keras", DEFAULT_SHAPE, weights)
        stored = read_own_network(Path(folder) / "network.keras")
        shape, read = stored.shape, stored.weights
    if shape != DEFAULT_SHAPE or any(not np.array_equal(read[name], weights[name]) for name in weights):
        raise ArithmeticError("the network that was read is not the one that was written")
    return f"{sum(each.size for each in weights.values()):,} weights written and read"
