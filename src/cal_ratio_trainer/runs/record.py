"""Content of run.json as it is written: versions, machine, data, timings, status."""

import hashlib
import os
import platform
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from cal_ratio_trainer.config.profiles import demo_beside_file
from cal_ratio_trainer.config.training import DEMO, TrainSettings
from cal_ratio_trainer.datasets.splits import Part
from cal_ratio_trainer.errors import ConfigError
from cal_ratio_trainer.files.atomic import sha256_of
from cal_ratio_trainer.files.cache import DemoFiles, local_copy
from cal_ratio_trainer.runs.stored import file_name
from cal_ratio_trainer.version import CODE, __version__

if TYPE_CHECKING:
    from cal_ratio_trainer.datasets.sample import TrainingData, TrainingSample


@dataclass(frozen=True)
class DataFile:
    """A training file as the user named it, and where it lies on this machine."""

    name: str
    path: Path

    def described(self, sample: "TrainingSample") -> dict[str, Any]:
        """Name, size, checksum and what the file says of itself."""
        return {
            "file": self.name,
            "path": str(self.path),
            "size_bytes": self.path.stat().st_size,
            "sha256": sha256_of(self.path),
            "jets_used": len(sample.jets),
            "stage": sample.metadata.stage,
            **sample.data_taking.to_dict(),
            "scaling": sample.metadata.scaling.model_dump() if sample.metadata.scaling else None,
            "events_told_apart_by": sample.identity,
            "notes": list(sample.notes),
        }


def no_demo(cache_path: Path | None) -> DemoFiles:
    """Refuses to make the demo. Raises ConfigError."""
    raise ConfigError(["the demo data are not made here; give main_training_file and cr_training_file"])


def training_files(
    settings: TrainSettings, make_demo: Callable[[Path | None], DemoFiles] = no_demo
) -> tuple[DataFile, ...]:
    """Files of a training on this machine: remote files are copied, those of the demo made.

    Args:
        settings: of the training.
        make_demo: makes the demo data in a cache folder, unless they are there; simulation and conversion bring much
            along that a training on files does not need.

    Returns:
        The main file, the control regions to train on, those that are judged only; in the order of the settings.

    Raises:
        ConfigError: only some of them are the demo, or the demo's control region is not the only one.
    """
    main, regions = settings.main_training_file, [*settings.control_files.values(), *settings.judged_files.values()]
    for control in regions:
        if mixture := demo_beside_file(main, control):
            raise ConfigError([mixture])
    names = (main, *regions)
    if main == DEMO:
        if len(regions) > 1:
            raise ConfigError(["the demo has one control region; give main_training_file and files of all regions"])
        demo = make_demo(settings.cache_path)
        paths = (demo.main, demo.control)[: len(names)]
    else:
        paths = tuple(local_copy(name, settings.cache_path) for name in names)
    return tuple(DataFile(name, path) for name, path in zip(names, paths, strict=True))


@dataclass
class Timings:
    """Seconds that the stages of a training took, each epoch's among them, and the main jets that were trained on.

    The seconds of the classifier two-sample test, `c2st`, are a part of those of the validation.
    """

    steps: float = 0.0
    validation: float = 0.0
    c2st: float = 0.0
    files: float = 0.0
    main_jets: int = 0
    epochs: list[float] = field(default_factory=list)

    @property
    def jets_per_second(self) -> float:
        """Main jets per second in the steps alone."""
        return self.main_jets / self.steps if self.steps else 0.0

    def add_epoch(self, begin: float, stepped: float, validated: float, main_jets: int) -> None:
        """Adds an epoch that ends now: clock readings at its begin, after its steps and after validation. [s]"""
        end = time.perf_counter()
        self.steps += stepped - begin
        self.validation += validated - stepped
        self.files += end - validated
        self.main_jets += main_jets
        self.epochs.append(end - begin)


def new_record(
    data: "TrainingData", files: Sequence[DataFile], settings: TrainSettings, planned_epochs: int
) -> dict[str, Any]:
    """The record of a run that is about to start; `files` as `training_files` gives them."""
    return {
        "status": "running",
        "started": now(),
        "tag": settings.tag,
        "note": settings.note,
        "command": " ".join(sys.argv),
        "seed": settings.network_seed,
        "planned_epochs": planned_epochs,
        "finished_epochs": 0,
        "versions": versions(),
        "machine": machine(),
        "data": _described_data(data, files),
    }


def _described_data(data: "TrainingData", files: Sequence[DataFile]) -> dict[str, Any]:
    described = {"main": files[0].described(data.main)}
    regions = list(zip(data.regions, files[1:], strict=True))
    if not data.compares_regions:
        return described | dict(zip(["control"], (file.described(each) for each, file in regions), strict=False))
    for kind, sample in data.samples.items():
        if kind == "main":
            continue
        of_kind = [
            {**file.described(each), "name": each.name}
            for each, file in regions
            if (each.share == 0) == (kind == "judged")
        ]
        sums = hashlib.sha256("".join(each["sha256"] for each in of_kind).encode())
        described[kind] = {
            **of_kind[0],
            "file": ", ".join(f"{each['name']}={file_name(each['file'])}" for each in of_kind),
            "size_bytes": sum(each["size_bytes"] for each in of_kind),
            "sha256": sums.hexdigest() if len(of_kind) > 1 else of_kind[0]["sha256"],
            "jets_used": len(sample.jets),
            "regions": of_kind,
        }
    return described


def history_references(data: "TrainingData", settings: TrainSettings) -> dict[str, float | None]:
    """Reference lines of the histories: the loss without information, and the share of the most frequent class.

    The names are those of the first versions of this program; `plotting.histories.HistoryReferences` describes them.
    """
    main = data.main.jets.label[data.main.positions(Part.VALIDATION)]
    references: dict[str, float | None] = dict.fromkeys(
        ("clueless_loss", "clueless_training_loss", "main_majority", "control_majority", "kept_below")
    )
    references["main_majority"] = float(np.bincount(main).max() / len(main))
    if "control" in data.samples:
        control = data.control.is_data[data.control.positions(Part.VALIDATION)]
        for name, part in (("clueless_loss", Part.VALIDATION), ("clueless_training_loss", Part.TRAIN)):
            references[name] = float(np.log(2) * data.control.loss_weight[data.control.positions(part)].mean())
        references["control_majority"] = float(max(control.mean(), 1 - control.mean()))
        references["kept_below"] = settings.ks_limit
    return references


def versions() -> dict[str, str | None]:
    """This program, Python and the libraries that decide numbers.

    Where the program runs from a checkout its commit stands there too, with '-dirty' behind it where files differ.
    """
    import torch

    return {
        "cal_ratio_trainer": __version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
    }


def machine() -> dict[str, Any]:
    """Facts of the machine that this runs on."""
    import torch

    return {
        "host": socket.gethostname(),
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def timings_of(timings: Timings, data_s: float, compiling_s: float) -> dict[str, float]:
    """Seconds by stage, and throughput."""
    total = data_s + compiling_s + timings.steps + timings.validation + timings.files
    return {
        "data_s": data_s,
        "compiling_s": compiling_s,
        "steps_s": timings.steps,
        "validation_s": timings.validation,
        "c2st_s": timings.c2st,
        "files_s": timings.files,
        "total_s": total,
        "main_jets_per_second": timings.jets_per_second,
        "seconds_an_epoch": sum(timings.epochs) / len(timings.epochs) if timings.epochs else 0.0,
    }


def shares_of(timings: Mapping[str, float]) -> dict[str, float]:
    """Share of the time of each stage, in their order; of all that `timings_of` gives and `end_s`."""
    seconds = {stage: timings[f"{stage}_s"] for stage in ("data", "compiling", "steps", "validation", "files", "end")}
    total = sum(seconds.values())
    return {stage: each / total if total else 0.0 for stage, each in seconds.items()}


def record_text(record: Mapping[str, Any]) -> str:
    """A record as readable text: when, with which command and versions, where, and on which data."""
    content = {name: record[name] for name in ("tag", "note", "notes", "reason") if record.get(name)}
    content |= {name: record[name] for name in ("started", "command", "seed", "planned_epochs", "versions", "machine")}
    data = {
        name: {key: file[key] for key in ("file", "sha256", "jets_used", "events_told_apart_by", "notes")}
        for name, file in record["data"].items()
    }
    text: str = yaml.safe_dump({**content, "data": data}, sort_keys=False, allow_unicode=True, width=120)
    return text


def now() -> str:
    """The time in UTC, ISO 8601, to the millisecond: runs that start in one second keep their order."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _commit() -> str | None:
    # An environment can lie within another checkout, whose commit does not describe this program.
    tracked, commit = ("ls-files", "--error-unmatch", "__init__.py"), ("describe", "--always", "--dirty", "--exclude=*")
    try:
        for words in (tracked, (*commit, "--abbrev=40")):
            done = subprocess.run(
                ["git", "-C", str(CODE), *words], capture_output=True, text=True, timeout=5, check=True
            )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
