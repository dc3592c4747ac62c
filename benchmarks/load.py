"""Speed and memory of loading files of jets.

Layouts: 'training' (two files as a training loads them), 'disk' (the same, with constituents on disk), and 'ragged',
'flat' or 'pickle' (one complete file of that format).
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow.parquet as pq

from benchmarks.arguments import words
from benchmarks.converted import write_converted
from benchmarks.memory import AnonymousPeak, anonymous_bytes, peak_bytes
from benchmarks.train import random_jets
from cal_ratio_trainer.jets import CONSTITUENTS, DataType
from cal_ratio_trainer.jets.jet_file import writing
from cal_ratio_trainer.jets.metadata import JetMetadata
from cal_ratio_trainer.jets.store import JetsWriter, RaggedFile

AIM_PEAK_OVER_RAGGED = 1.5
AIM_SECONDS = 20
_GIB = 1 << 30
_JETS_A_BATCH = 50_000


def load(path: Path) -> None:
    """Loads a file; runs in a separate process, whose peak memory is then its own."""
    from cal_ratio_trainer.jets.cleaning import clean_for_training
    from cal_ratio_trainer.jets.loading import read_jets

    before = peak_bytes()
    start, start_cpu = time.perf_counter(), time.process_time()
    jets = read_jets(path)
    took, cpu = time.perf_counter() - start, time.process_time() - start_cpu
    ragged = sum(each.values.nbytes + each.offsets.nbytes for each in jets.constituents.values()) + jets.scalars.nbytes
    peak = peak_bytes() - before
    start = time.perf_counter()
    clean_for_training(jets)
    cleaned = time.perf_counter() - start
    print(f"loaded {len(jets)} jets in {took:.2f} s ({len(jets) / took / 1e3:.0f} k jets/s)")
    print(f"processor time {cpu:.2f} s; looked for non-finite inputs in {cleaned:.2f} s")
    print(f"ragged {ragged / _GIB:.3f} GiB, file {path.stat().st_size / _GIB:.3f} GiB")
    print(f"peak over what stood before: {peak / _GIB:.3f} GiB, {peak / ragged:.2f} times the ragged jets")
    print(f"aim: ragged files under {AIM_PEAK_OVER_RAGGED} times; a pickle may cost its own size besides")


def load_training(main_file: Path, control_file: Path, place: Literal["device", "disk"]) -> None:
    """Loads two files as a training does; runs in a separate process, whose peak memory is then its own."""
    import torch

    from cal_ratio_trainer.config.training import TrainSettings
    from cal_ratio_trainer.datasets.data import choose_training_data, read_training_data
    from cal_ratio_trainer.datasets.placement import data_place
    from cal_ratio_trainer.training.setup import keep_freed_memory

    keep_freed_memory()
    cpu, folder = torch.device("cpu"), main_file.parent / "cache"
    settings = TrainSettings.make(sample_fraction=1.0, data_place=place, cache_path=folder)
    before, own_before = peak_bytes(), anonymous_bytes()
    with AnonymousPeak() as own:
        start, start_cpu = time.perf_counter(), os.times()
        chosen = choose_training_data(settings, main_file, control_file)
        where = data_place(settings, chosen, cpu, step=0, gathered=0)
        _, tensors = read_training_data(chosen, where.fill_folder, cpu, where.tensors)
        took, cpu_now = time.perf_counter() - start, os.times()
    jets, ragged = len(tensors), _ragged_bytes(main_file) + _ragged_bytes(control_file)
    user, system = cpu_now.user - start_cpu.user, cpu_now.system - start_cpu.system
    print(f"loaded {jets} jets in {took:.2f} s ({jets / took / 1e3:.0f} k jets/s); aim: 3 million in {AIM_SECONDS} s")
    print(f"processor time of all threads {user + system:.2f} s ({system:.2f} s of it in the system)")
    files = main_file.stat().st_size + control_file.stat().st_size
    print(f"files {files / _GIB:.3f} GiB, ragged {ragged / _GIB:.3f} GiB")
    peak = peak_bytes() - before
    print(f"peak over what stood before: {peak / _GIB:.3f} GiB, {peak / ragged:.2f} times the ragged jets")
    print(f"of it the process' own, not pages of files: {(own.bytes - own_before) / _GIB:.3f} GiB")
    print(f"aim: under {AIM_PEAK_OVER_RAGGED} times")


def _ragged_bytes(file: Path) -> int:
    """Bytes of all jets in a file: values and offsets of the constituents, scalars."""
    opened = pq.ParquetFile(file)
    values = sum(
        len(batch.column(0).flatten()) * len(kind.features)
        for kind in CONSTITUENTS
        for batch in opened.iter_batches(columns=[kind.columns[0]])
    )
    offsets = len(CONSTITUENTS) * (opened.metadata.num_rows + 1)
    scalars = RaggedFile(file).all_scalars().scalars.nbytes
    return int(4 * values + 8 * offsets + scalars)


def write_training_file(path: Path, jets: int, kind: Literal["main", "control"]) -> None:
    """Writes a training file of random jets with as many constituents as real ones and the columns of a built file."""
    rng = np.random.default_rng(len(kind))
    with writing(path, JetsWriter) as writer:
        for start in range(0, jets, _JETS_A_BATCH):
            table = random_jets(min(_JETS_A_BATCH, jets - start), kind, rng)
            count = len(table)
            labels = table.label if kind == "main" else np.where(table.label == 0, 0, 2)
            truth = {name: rng.random(count) for name in ("llp_pt", "llp_eta", "llp_phi", "llp_Lxy", "llp_Lz")}
            masses = {"llp_mH": np.where(labels == 1, 125.0, 0.0), "llp_mS": np.where(labels == 1, 35.0, 0.0)}
            origin = {"source_file": np.full(count, "random.root"), "source_entry": np.arange(count)}
            origin |= {"jet_index": np.zeros(count), "mcChannelNumber": np.full(count, 364702)}
            event = {"eventNumber": start + np.arange(count), "runNumber": np.full(count, 310000)}
            event |= {"mcEventWeight": rng.exponential(1.0, count)}
            writer.write(table.with_columns({"label": labels, **event, **masses, **truth, **origin}))
        writer.finish(JetMetadata(stage="built", kind=kind))


def main(jets: int, layout: str) -> None:
    """Makes files, then loads them in another process."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if layout in ("training", "disk"):
            files = [folder / "main.parquet", folder / "control.parquet"]
            write_training_file(files[0], 2 * jets // 3, "main")
            write_training_file(files[1], jets - 2 * jets // 3, "control")
        else:
            files = [_whole_file(folder, jets, layout)]
        words = [sys.executable, "-m", "benchmarks.load", "--in", layout, *map(str, files)]
        subprocess.run(words, check=True)


def _whole_file(folder: Path, jets: int, layout: str) -> Path:
    from cal_ratio_trainer.jets.loading import open_jets, writing_layout

    path = folder / "jets.parquet"
    write_converted(path, jets, DataType.QCD)
    if layout == "ragged":
        return path
    flat = path.with_name("flat.pkl" if layout == "pickle" else "flat.parquet")
    file = open_jets(path)
    with writing_layout(flat, "flat") as writer:
        for batch in file.batches():
            writer.write(batch)
        writer.finish(file.metadata)
    return flat


if __name__ == "__main__":
    if sys.argv[1:2] == ["--in"]:
        files = [Path(each) for each in sys.argv[3:]]
        if len(files) == 1:
            load(files[0])
        else:
            load_training(files[0], files[1], "disk" if sys.argv[2] == "disk" else "device")
    else:
        main(*words(__doc__, jets=1_000_000, layout="training"))
