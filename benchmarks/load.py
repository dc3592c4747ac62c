"""How fast files of jets are loaded and in how much memory: python -m benchmarks.load [JETS [flat|pickle]]."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.converted import write_converted
from benchmarks.memory import peak_bytes
from cal_ratio_trainer.jets import DataType

AIM_PEAK_OVER_RAGGED = 1.5
_GIB = 1 << 30


def load(path: Path) -> None:
    """Load a file; runs in a process of its own, whose memory is then its peak."""
    from cal_ratio_trainer.jets.loading import clean_for_training, load_jets

    before = peak_bytes()
    start, start_cpu = time.perf_counter(), time.process_time()
    jets = load_jets(path).jets
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


def main(jets: int, layout: str) -> None:
    """Make a file, then load it in another process."""
    from cal_ratio_trainer.jets.loading import open_jets
    from cal_ratio_trainer.jets.output import writing_layout

    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "jets.parquet"
        write_converted(path, jets, DataType.QCD)
        if layout != "ragged":
            flat = path.with_name("flat.pkl" if layout == "pickle" else "flat.parquet")
            file = open_jets(path)
            with writing_layout(flat, "flat") as writer:
                for batch in file.batches():
                    writer.write(batch)
                writer.finish(file.metadata)
            path = flat
        subprocess.run([sys.executable, "-m", "benchmarks.load", "--in", str(path)], check=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--in"]:
        load(Path(sys.argv[2]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000, sys.argv[2] if len(sys.argv) > 2 else "ragged")
