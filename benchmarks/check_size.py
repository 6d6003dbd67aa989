"""How long --mode=check takes on a data set of ADE20K's size, and how much memory.

    python benchmarks/check_size.py --pairs=2000

makes pairs of 683x512 photos (JPEG) and masks (PNG, 151 classes) in a temporary folder, no two of them alike, runs
`python main.py --mode=check` on them in a process of its own, and prints the seconds, those for 1,000 pairs, what that
makes of ADE20K's 22,210, and the most memory the process held.
"""

import argparse
import io
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
WIDTH, HEIGHT, CLASSES = 683, 512, 151
ADE20K = 22_210
_BLOBS = 24  # regions a mask, as many as a photo of ADE20K has, more or less
_VALIDATION = 0.09  # share of ADE20K's pairs


def pair(seed: int) -> tuple[bytes, bytes]:
    """A photo and its mask: soft regions with the grain of a camera; JPEG and PNG bytes."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    warp = [np.asarray(Image.fromarray(rng.normal(0, 40, (7, 9)).astype(np.float32)).resize((WIDTH, HEIGHT), 3))
            for _ in range(2)]  # fmt: skip
    x, y = x + warp[0], y + warp[1]
    centres = rng.uniform((0, 0), (WIDTH, HEIGHT), (_BLOBS, 2))
    # Frequent classes are as frequent as in ADE20K: a few make most pixels.
    labels = (np.minimum(rng.zipf(1.3, _BLOBS), CLASSES) % CLASSES).astype(np.uint8)
    best, nearest = np.full((HEIGHT, WIDTH), np.inf, np.float32), np.zeros((HEIGHT, WIDTH), int)
    for number, (column, row) in enumerate(centres):
        distance = (x - column) ** 2 + (y - row) ** 2
        nearest[distance < best] = number
        np.minimum(best, distance, out=best)
    colors = rng.uniform(20, 235, (_BLOBS, 3)).astype(np.float32)
    grain = rng.normal(0, 12, (HEIGHT, WIDTH, 1)).astype(np.float32)
    photo = np.clip(colors[nearest] + grain, 0, 255).astype(np.uint8)
    return _encoded(photo, "JPEG", quality=90), _encoded(labels[nearest], "PNG")


def make(folder: Path, pairs: int) -> float:
    """Writes the data set in ADE20K's layout; returns its bytes a pair."""
    held, size = max(1, round(_VALIDATION * pairs)), 0
    for number in range(pairs):
        split = "validation" if number < held else "training"
        for kind, ending, data in zip(("images", "annotations"), ("jpg", "png"), pair(number), strict=True):
            path = folder / "ADEChallengeData2016" / kind / split / f"{number:08}.{ending}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            size += len(data)
    return size / pairs


def check(folder: Path, logs_dir: Path) -> float:
    """Runs the check; returns its wall time in seconds."""
    command = [sys.executable, "main.py", "--mode=check", "--dataset=ade20k", f"--data_dir={folder}"]
    start = time.perf_counter()
    done = subprocess.run([*command, f"--logs_dir={logs_dir}"], cwd=ROOT, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if done.returncode != 0:
        sys.exit(f"the check ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return seconds


def main() -> None:
    """Prints one measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    if options.pairs < 2 or options.repeats < 1:
        parser.error("--pairs must be 2 or more, --repeats 1 or more")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        size = make(folder / "data", options.pairs)
        firsts, seconds = [], []
        for turn in range(options.repeats):
            # The second time the files are remembered: what is left is start-up and the page.
            logs_dir = folder / f"logs{turn}"
            firsts.append(check(folder / "data", logs_dir))
            seconds.append(check(folder / "data", logs_dir))
    first, rest = statistics.median(firsts), statistics.median(seconds)
    each = (first - rest) / options.pairs
    shown = ", ".join(f"{value:.1f}" for value in firsts)
    print(f"{options.pairs} pairs of {WIDTH}x{HEIGHT}, {size / 1000:.0f} kB each: {shown} s, median {first:.1f} s")
    print(f"of which start-up, judging and the page {rest:.1f} s: measured again with the files remembered")
    if each > 0:
        print(f"{1000 * each:.2f} s for 1,000 pairs; {ADE20K:,} pairs: {(rest + ADE20K * each) / 60:.1f} minutes")
    else:
        print("too few pairs to tell reading them from start-up; give more --pairs")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes elsewhere
    print(f"peak memory {peak * unit / 2**20:.0f} MiB")
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.platform()}")


def _encoded(pixels: np.ndarray, form: str, **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form, **options)
    return file.getvalue()


if __name__ == "__main__":
    main()
