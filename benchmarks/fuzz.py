"""Changes files at random for as long as wanted, and reads them by every reader there is (tests/fuzzing.py).

A try fails where a reader raises anything but a mistake told in one line, takes more than 10 s or 1 GB, unpickles, or
writes outside its folder. What fails is printed with what hypothesis found smallest, and the exit status is 1; the
same --seed makes the same tries. `--seconds=5 --readers=journal` is quick.
"""

import argparse
import faulthandler
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import common
from tests import fuzzing

_TRIES = 200  # of a reader before it is the next one's turn


def main(argv: Sequence[str] | None = None) -> None:
    """Parses the command line, tries, and writes the results."""
    parser = common.parser(__doc__, __file__)
    parser.add_argument("--seconds", type=float, default=600, help="how long to go on, at least once through all")
    parser.add_argument("--seed", type=int, default=0, help="of the first round; the next one has the next")
    parser.add_argument(
        "--readers", nargs="+", choices=fuzzing.READERS, default=list(fuzzing.READERS), help="which ones"
    )
    args = parser.parse_args(argv)
    faulthandler.enable(sys.__stderr__ or sys.stderr)  # native code that ends the process says where
    results = measure(args)
    common.write_json(args.json, args, results)
    if any(row["failures"] for row in results["readers"].values()):
        sys.exit(1)


def measure(args: argparse.Namespace) -> dict:
    """Goes round the readers; see `main` for the arguments."""
    rows = {name: {"tries": 0, "read": 0, "failures": 0} for name in args.readers}
    began, seed = time.monotonic(), args.seed
    while seed == args.seed or time.monotonic() - began < args.seconds:
        for name, row in rows.items():
            reader = fuzzing.READERS[name]
            try:
                row["read"] += fuzzing.fuzz(name, reader, tries=_TRIES, seed=seed)
            except Exception:
                row["failures"] += 1
                print(f"{name}, --seed={seed}:\n{traceback.format_exc()}", file=sys.stderr)
            row["tries"] += max(_TRIES // reader.slow, 1)
        seed += 1
    print(f"{'reader':<30} {'tries':>7} {'read':>7} {'failures':>9}")
    for name, row in rows.items():
        print(f"{name:<30} {row['tries']:>7} {row['read']:>7} {row['failures']:>9}")
    tries, failures = (sum(row[what] for row in rows.values()) for what in ("tries", "failures"))
    found = common.row(f"failures in {tries:,} tries of {len(rows)} readers", failures, "", most=0)
    return {"rows": [found], "readers": rows, "seconds": round(time.monotonic() - began)}


if __name__ == "__main__":
    main()
