"""Long campaigns of damaged files: `python -m benchmarks.faults --inputs 20000`."""

import argparse
import time

from tests.faults.campaign import run_campaign
from tests.faults.loaders import LOADERS


def main() -> None:
    """Prints for each loader the numbers of damaged files that were refused and read, and the errors."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=1000, help="damaged files for each loader")
    parser.add_argument("--first", type=int, default=0, help="number of the first one, to repeat a fault")
    parser.add_argument("--seed", type=int, default=0, help="of the damage")
    parser.add_argument("--loaders", nargs="*", default=sorted(LOADERS), choices=sorted(LOADERS), metavar="NAME")
    chosen = parser.parse_args()
    failed = False
    for name in chosen.loaders:
        start = time.monotonic()
        outcome = run_campaign(name, chosen.inputs, chosen.seed, chosen.first)
        counts = ", ".join(f"{count} {kind}" for kind, count in sorted(outcome.counts.items()))
        print(f"{name}: {counts} ({time.monotonic() - start:.0f} s)", flush=True)
        for fault in outcome.faults[:20]:
            print(f"  {fault}", flush=True)
        failed |= bool(outcome.faults)
    raise SystemExit(failed)


if __name__ == "__main__":
    main()
