"""Whether anything grows while fcn_tf works for long: memory, open files, threads and files of a run.

`python main.py --mode=train` trains on `shapes` for `--minutes`, with validations, events and saves, and is stopped by
Ctrl-C; then `--mode=predict` labels `--pictures` generated pictures with what was trained. Both are sampled every few
seconds. What comes in the first quarter is warming up; through the rest goes a straight line. `--minutes=1
--pictures=100 --every=0.5` is quick.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import common, scenes, watching
from benchmarks.watching import Sample
from fcn_tf.errors import UserError
from fcn_tf.io import files, images
from fcn_tf.io.run_dir import Run

_WARM_UP = 0.25  # of the samples
_SIDE = 64  # pixels of a picture to predict
_MOST = 1.0  # open files, threads or files that a line may rise by from its first sample to its last
_LONG = ("--max_steps=10000000", "--save_every=50", "--batch_size=2")
_COUNTED = {"open_files": "open files", "threads": "threads", "files": "files in --logs_dir"}


def main(argv: Sequence[str] | None = None) -> None:
    """Parses the command line, measures, and writes the results."""
    parser = common.parser(__doc__, __file__)
    parser.add_argument("--minutes", type=float, default=40.0, help="of training")
    parser.add_argument("--eval_every", type=int, default=200, help="steps from validation to validation")
    parser.add_argument("--pictures", type=int, default=20_000, help="to predict")
    parser.add_argument("--every", type=float, default=5.0, help="seconds from sample to sample")
    args = parser.parse_args(argv)
    for results in measure(args):
        common.write_json(args.json, args, results)


def measure(args: argparse.Namespace) -> Iterator[dict]:
    """Trains, then predicts; gives the results after each, for hours lie between. See `main` for the arguments."""
    with tempfile.TemporaryDirectory() as folder:
        logs_dir, photos, out = (os.path.join(folder, name) for name in ("run", "photos", "out"))
        flags = ["--mode=train", "--dataset=shapes", "--weights=tiny", f"--logs_dir={logs_dir}", *_LONG]
        flags.append(f"--eval_every={args.eval_every}")
        training = _run(flags, args, seconds=60 * args.minutes, folder=logs_dir)
        found = [
            *rows(f"training for {args.minutes:g} minutes", training, counted=_COUNTED),
            common.row("steps of that training", Run(logs_dir).resume_step(), ""),
        ]
        samples = {"train": [list(sample) for sample in training]}
        yield {"rows": found, "samples": samples, "columns": Sample._fields}
        write_pictures(photos, args.pictures)
        flags = ["--mode=predict", f"--logs_dir={logs_dir}", f"--input={photos}", f"--output_dir={out}"]
        predicting = _run(flags, args)
        labelled = sum(name.endswith("_label.png") for name in os.listdir(out))
    minutes = (predicting[-1].seconds - predicting[0].seconds) / 60
    counted = {name: shown for name, shown in _COUNTED.items() if name != "files"}
    found += [
        *rows(f"predicting {args.pictures:,} pictures", predicting, counted=counted),
        common.row(
            "pictures labelled", labelled, "", least=args.pictures, note=f"of {_SIDE}x{_SIDE}, {minutes:.1f} minutes"
        ),
    ]
    samples["predict"] = [list(sample) for sample in predicting]
    yield {"rows": found, "samples": samples, "columns": Sample._fields}


def rows(what: str, samples: Sequence[Sample], *, counted: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Lines of the table: how much a process held after warming up, and at its end.

    Args:
      what: it did.
      samples: of the whole.
      counted: which other fields than the memory, and how each is called.

    Raises:
      UserError: if there are too few samples for a line.
    """
    warm = samples[int(_WARM_UP * len(samples)) :]
    if len(warm) < 2:
        raise UserError(f"{what} gave {len(samples)} samples, expected 3 at least; give a smaller --every.")
    found = watching.trend(warm, "memory")
    yield common.row(
        f"{what}: memory at the end against that when warm",
        found.last / found.first,
        "x",
        most=watching.FLAT,
        note=f"{found.first / 1e6:.0f} to {found.last / 1e6:.0f} MB, slope {found.hourly / 1e6:+.1f} MB an hour",
    )
    for name, shown in counted.items():
        found = watching.trend(warm, name)
        note = f"{found.first:.1f} to {found.last:.1f}, slope {found.hourly:+.2f} an hour"
        yield common.row(
            f"{what}: {shown} at the end beyond those when warm", found.last - found.first, "", most=_MOST, note=note
        )


def write_pictures(folder: str, count: int) -> None:
    """Writes small generated photos as JPEG files, in one folder."""
    files.makedirs(folder)
    for number in range(count):
        picture = scenes.scene(number, width=_SIDE, height=_SIDE)[0]
        Path(folder, f"{number:06d}.jpg").write_bytes(images.encode_jpeg(picture))


def _run(
    flags: Sequence[str], args: argparse.Namespace, *, seconds: float = float("inf"), folder: str | None = None
) -> list[Sample]:
    """Watches main.py until it ends, or stops it by SIGINT when the time is over.

    Raises:
      UserError: if it ended otherwise than it should.
    """
    with tempfile.TemporaryFile("w+") as output:
        command = [sys.executable, "main.py", *flags]
        process = subprocess.Popen(  # nosec B603  # main.py
            command, cwd=common.ROOT, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            samples = watching.watch(process, every=args.every, seconds=seconds, folder=folder)
            expected = 0
            if process.poll() is None and seconds != float("inf"):
                process.send_signal(signal.SIGINT)
                expected = 128 + signal.SIGINT
            status = process.wait()
        finally:
            process.kill()
            process.wait()
        output.seek(0)
        if status != expected:
            raise UserError(f"{' '.join(command)} ended with status {status}, expected {expected}:\n{output.read()}")
    return samples


if __name__ == "__main__":
    common.run(main)
