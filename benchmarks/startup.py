"""How long the program takes to answer: `--help`, a wrong flag, and the first optimiser step after the launch.

The first step is seen on the progress bar, which is shown on a pseudo-terminal as it would be to a person. The data are
generated, so what is timed is the program's start, reading the weights, building and tracing the network, and one step.
"""

import argparse
import os
import pty
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import common, turns

_STEP = re.compile(rb"\s1/\d+ \[")  # what tqdm shows once a step is done
_PATIENCE = 600.0  # seconds


def main(argv: Sequence[str] | None = None) -> None:
    """Parses the command line, measures, and writes the results."""
    parser = common.parser(__doc__, __file__)
    common.add_weights(parser)
    parser.add_argument("--image_size", type=int, default=224)
    parser.add_argument("--batch_size", type=int, default=2)
    parser.add_argument("--arch", default="original")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--rounds", type=int, default=3, help="launches of each kind; medians are reported")
    args = parser.parse_args(argv)
    common.write_json(args.json, args, measure(args))


def measure(args: argparse.Namespace) -> dict:
    """Launches the program again and again; see `main` for the arguments."""
    answers: dict[str, list[float]] = {"help": [], "wrong flag": [], "first step": []}
    with tempfile.TemporaryDirectory() as folder:
        weights = common.weights_file(args.weights, folder)
        for number in range(args.rounds):
            for name, flag, status in (("help", "--help", 0), ("wrong flag", "--no_such_flag=1", 2)):
                program = turns.run_program([flag], check=False)
                if program.status != status:
                    raise RuntimeError(f"main.py {flag} ended with status {program.status}, not {status}")
                answers[name].append(program.seconds)
            flags = {name: getattr(args, name) for name in ("image_size", "batch_size", "arch", "precision")}
            flags |= {"dataset": "shapes", "weights": weights, "logs_dir": os.path.join(folder, f"run{number}")}
            answers["first step"].append(first_step([f"--{name}={value}" for name, value in flags.items()]))
    medians = {name: statistics.median(seconds) for name, seconds in answers.items()}
    return {
        "rows": [
            common.row("`--help`", medians["help"], "s", most=1.0),
            common.row("a wrong flag", medians["wrong flag"], "s", most=1.0),
            common.row("first optimiser step after launch", medians["first step"], "s", most=20.0),
        ],
        "seconds": answers,
    }


def first_step(arguments: Sequence[str]) -> float:
    """Seconds from launching `python main.py --mode=train` until its bar shows one step; then it is ended.

    Raises:
      RuntimeError: if it ends by itself, or takes ten minutes.
    """
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 120))  # without a width tqdm draws nothing
    began = time.perf_counter()
    process = subprocess.Popen(  # nosec B603  # main.py
        [sys.executable, "main.py", "--mode=train", *arguments], cwd=common.ROOT, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    shown = b""
    try:
        while not _STEP.search(shown):
            if time.perf_counter() - began > _PATIENCE:
                raise RuntimeError(f"no step within {_PATIENCE:.0f} s:\n{shown.decode(errors='replace')}")
            try:
                shown += os.read(ours, 4096)
            except OSError:  # Linux' way to say that nobody holds the other end any more
                raise RuntimeError(f"training ended before its first step:\n{shown.decode(errors='replace')}") from None
        return time.perf_counter() - began
    finally:
        process.send_signal(signal.SIGKILL)  # nothing of this run is wanted
        process.wait()
        os.close(ours)


if __name__ == "__main__":
    common.run(main)
