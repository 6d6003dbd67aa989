"""How long --mode=check takes on a data set of ADE20K's size, and how much memory.

Pairs of 683x512 photos (JPEG) and masks (PNG, 151 classes) are made in a temporary folder, no two of them alike, and
`python main.py --mode=check` runs on them in a process of its own: with files it never saw, and again, when it
remembers them.
"""

import io
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import common, turns

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


def main(argv: Sequence[str] | None = None) -> None:
    """Parses the command line, measures, and writes the results."""
    parser = common.parser(__doc__, __file__)
    parser.add_argument("--pairs", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args(argv)
    if args.pairs < 2 or args.rounds < 1:
        parser.error("--pairs must be 2 or more, --rounds 1 or more")
    common.write_json(args.json, args, measure(args.pairs, args.rounds))


def measure(pairs: int, rounds: int) -> dict:
    """Makes a data set and checks it again and again; see `main` for the arguments."""
    firsts: list[turns.Program] = []
    seconds: list[turns.Program] = []
    with tempfile.TemporaryDirectory() as scratch:
        size = make(Path(scratch) / "data", pairs)
        command = ["--mode=check", "--dataset=ade20k", f"--data_dir={scratch}/data"]
        for number in range(rounds):
            # The second time the files are remembered: what is left is start-up and the page.
            for programs in (firsts, seconds):
                programs.append(turns.run_program([*command, f"--logs_dir={scratch}/logs{number}"]))
    first, rest = (statistics.median(program.seconds for program in programs) for programs in (firsts, seconds))
    each = (first - rest) / pairs
    note = f"{pairs} pairs of {WIDTH}x{HEIGHT}, {size / 1000:.0f} kB each"
    extrapolated = f"from the rate of these and {rest:.1f} s for start-up and the page"
    if each <= 0:
        note = extrapolated = "too few pairs to tell reading them from start-up; give more --pairs"
    return {
        "rows": [
            common.row("check, 1,000 pairs", 1000 * each if each > 0 else None, "s", note=note),
            common.row(
                f"check, {ADE20K:,} pairs (ADE20K)",
                (rest + ADE20K * each) / 60 if each > 0 else None,
                "min",
                most=10.0,
                note=extrapolated,
            ),
            common.row("check, peak memory", max(program.peak_bytes for program in firsts) / 2**20, "MiB"),
        ],
        "seconds": {"first": [p.seconds for p in firsts], "remembered": [p.seconds for p in seconds]},
    }


def _encoded(pixels: np.ndarray, form: str, **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form, **options)
    return file.getvalue()


if __name__ == "__main__":
    common.run(main)
