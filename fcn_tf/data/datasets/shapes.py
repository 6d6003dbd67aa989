"""Generated scenes: patterned shapes on a cluttered ground. No files, no download.

A class is a pattern, whatever its colours, shape, size, turn and light: colour alone tells nothing, so a network
needs filters for texture and a view of more than a few pixels. Plain shapes and lines lie about to be mistaken.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from fcn_tf.data.base import Dataset, DatasetEntry, DatasetSpec, Example, require_split

SIDE = 96  # pixels
IGNORED = 255
_LINE = -1  # among the things of a scene; 0 is a plain shape, k an object of the kth pattern
_EXAMPLES = {"train": 1000, "validation": 100, "test": 100}
# Where each split's seeds begin: no scene is in two splits, whatever is added to one.
_FIRST_SEED = {"train": 0, "validation": 1_000_000, "test": 2_000_000}

_Field = np.ndarray  # float32 (h, w)
_Pattern = Callable[[_Field, _Field], _Field]


def _waves(u: _Field, v: _Field) -> _Field:
    return np.sin(u + 1.6 * np.sin(0.7 * v))


def _bricks(u: _Field, v: _Field) -> _Field:
    course = np.floor(v / np.pi)
    joint = np.minimum(np.abs(np.sin(v)), np.abs(np.sin(0.5 * u + 0.5 * np.pi * (course % 2))))
    return joint - 0.3


# Pattern -> field over the object's own coordinates (radians, the origin at its centre); positive is one colour,
# negative the other.
PATTERNS: dict[str, _Pattern] = {
    "stripes": lambda u, v: np.sin(u),
    "checks": lambda u, v: np.sin(u) * np.sin(v) * 3,
    "dots": lambda u, v: np.cos(u) + np.cos(v) - 1,
    "waves": _waves,
    "bricks": _bricks,
}

SPEC = DatasetSpec(
    name="shapes",
    class_names=("ground", *PATTERNS),
    colors=((70, 76, 86), (228, 87, 86), (76, 120, 168), (242, 190, 80), (84, 162, 75), (178, 121, 210)),
    ignore_label=IGNORED,
)


@dataclass(frozen=True)
class Difficulty:
    """What makes scenes hard.

    Attributes:
      objects: least and most patterned shapes a scene.
      clutter: least and most plain shapes and lines.
      radius: least and largest, in pixels.
      period: least and largest length of a pattern, in pixels.
      contrast: least and largest distance between a pattern's two colours, in grey levels.
      noise: largest standard deviation, in grey levels.
    """

    objects: tuple[int, int] = (1, 3)
    clutter: tuple[int, int] = (1, 3)
    radius: tuple[float, float] = (22.0, 38.0)
    period: tuple[float, float] = (9.0, 15.0)
    contrast: tuple[float, float] = (100.0, 180.0)
    noise: float = 8.0


def load(data_dir: str, split: str) -> Dataset:
    """Lists the scenes of a split; `data_dir` is not used.

    Raises:
      MissingSplit: on an unknown split.
    """
    del data_dir
    require_split("shapes", split)
    chosen = _EXAMPLES if split == "all" else (split,)
    examples = tuple(Example(name=f"{part}_{number:04d}") for part in chosen for number in range(_EXAMPLES[part]))
    return Dataset(SPEC, split, examples, _read)


def _read(example: Example) -> tuple[np.ndarray, np.ndarray]:
    split, number = example.name.split("_")
    return render(_FIRST_SEED[split] + int(number))


def render(
    seed: int,
    *,
    patterns: tuple[_Pattern, ...] = tuple(PATTERNS.values()),
    difficulty: Difficulty = Difficulty(),  # noqa: B008 (frozen)
) -> tuple[np.ndarray, np.ndarray]:
    """Draws one scene.

    Args:
      seed: decides everything.
      patterns: those of the classes 1, 2, ...
      difficulty: how hard to make it.

    Returns:
      uint8 (SIDE, SIDE, 3) RGB and int32 (SIDE, SIDE): 0 the ground, k the kth pattern, IGNORED on the rims.
    """
    rng = np.random.default_rng([seed, SIDE])
    image = _ground(rng)
    label = np.zeros((SIDE, SIDE), np.int32)
    rims = np.zeros((SIDE, SIDE), np.uint8)
    clutter = rng.integers(*difficulty.clutter, endpoint=True)
    lines = int(rng.integers(0, clutter, endpoint=True))
    objects = rng.integers(1, len(patterns), rng.integers(*difficulty.objects, endpoint=True), endpoint=True)
    # Lines lie on the ground: across an object they would be thinner than any network of this kind can draw.
    for thing in [_LINE] * lines + rng.permutation([0] * (clutter - lines) + list(objects)).tolist():
        outline, centre, radius = _outline(rng, difficulty.radius, line=thing == _LINE)
        left, top, width, height = cv2.boundingRect(outline)
        rows = slice(max(top, 0), min(top + height, SIDE))
        columns = slice(max(left, 0), min(left + width, SIDE))
        # Only the window that holds it: eight things on the whole scene would take eight times as long.
        mask = cv2.fillPoly(np.zeros((SIDE, SIDE), np.uint8), [outline], 1)[rows, columns].astype(bool)
        x = np.arange(columns.start, columns.stop, dtype=np.float32)[None, :] - np.float32(centre[0])
        y = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None] - np.float32(centre[1])
        paint, second = _two_colors(rng, difficulty.contrast)
        if thing > 0:
            paint = paint + (second - paint) * _pattern(rng, patterns[thing - 1], x, y, difficulty.period)
        paint = paint * _shade(rng, x / np.float32(radius), y / np.float32(radius))
        image[rows, columns][mask] = paint[mask]
        label[rows, columns][mask] = max(thing, 0)
        rims[rows, columns][mask] = 0  # what lies on top hides the rims below
        if thing > 0:
            cv2.polylines(rims, [outline], True, 1, thickness=2)
    image += rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(2, difficulty.noise))
    label[rims > 0] = IGNORED
    return np.clip(image, 0, 255).astype(np.uint8), label


def _ground(rng: np.random.Generator) -> np.ndarray:
    """A soft gradient between two colours with smooth blotches; float32 (SIDE, SIDE, 3)."""
    first, second = rng.uniform(40, 215, (2, 3)).astype(np.float32)
    turn = rng.uniform(0, 2 * np.pi)
    coarse = np.linspace(0, 1, 6, dtype=np.float32)
    ramp = np.float32(np.cos(turn)) * coarse + np.float32(np.sin(turn)) * coarse[:, None]
    ramp += rng.uniform(-0.5, 0.5, (6, 6)).astype(np.float32)
    ramp = cv2.resize(ramp, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    return first + (second - first) * np.clip(ramp, 0, 1)[..., None]


def _outline(
    rng: np.random.Generator, radii: tuple[float, float], *, line: bool
) -> tuple[np.ndarray, np.ndarray, float]:
    """A polygon: a disc, a box, a triangle, a star or a blob; int32 (N, 1, 2), its centre (x, y) and radius."""
    centre = rng.uniform(0.08 * SIDE, 0.92 * SIDE, 2)
    radius = rng.uniform(*radii)
    corners = int(rng.choice([3, 4, 5, 6, 24]))
    angles = rng.uniform(0, 2 * np.pi) + np.arange(corners) * 2 * np.pi / corners
    reach = np.full(corners, radius) if corners != 24 else radius * (1 + 0.25 * np.sin(3 * angles + rng.uniform(0, 6)))
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1) * reach[:, None]
    if line:
        points[:, 1] *= 0.08
        turn = rng.uniform(0, np.pi)
        points = points @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    return np.rint(points + centre).astype(np.int32)[:, None], centre, radius


def _pattern(
    rng: np.random.Generator, pattern: _Pattern, x: np.ndarray, y: np.ndarray, periods: tuple[float, float]
) -> np.ndarray:
    """The share of the second colour, (h, w, 1) in [0, 1]; x (1, w) and y (h, 1) are pixels from the centre."""
    turn, scale = rng.uniform(0, 2 * np.pi), 2 * np.pi / rng.uniform(*periods)
    across, down = np.float32(np.cos(turn) * scale), np.float32(np.sin(turn) * scale)
    field = pattern(across * x + down * y, across * y - down * x)
    return np.clip(0.5 + 1.5 * field, 0, 1)[..., None]  # edges a pixel or so wide, as a camera would see them


def _two_colors(rng: np.random.Generator, contrasts: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Two colours, float32 (3,), at a distance drawn from `contrasts`, in any direction."""
    first = rng.uniform(20, 235, 3)
    direction = rng.normal(size=3)
    step = direction / np.linalg.norm(direction) * rng.uniform(*contrasts)
    # Away from the end of the scale that is nearer, so that no contrast is lost there.
    second = first + np.where((first + step < 0) | (first + step > 255), -step, step)
    return first.astype(np.float32), second.astype(np.float32)


def _shade(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Light from one side, (h, w, 1) around 1; x and y are in radii from the centre."""
    turn, strength = rng.uniform(0, 2 * np.pi), np.float32(rng.uniform(0, 0.25))
    ramp = np.float32(np.cos(turn)) * x + np.float32(np.sin(turn)) * y
    return (1 + strength * np.clip(ramp, -1, 1))[..., None]


ENTRY = DatasetEntry(load, image_size=SIDE, batch_size=8, max_steps=600, in_files=False)
