"""Masks in colours beside palette images or class ids: whether all of a data set can be told by colours."""

from collections.abc import Mapping

from fcn_tf.data.masks import notation
from fcn_tf.data.masks.histogram import Histogram
from fcn_tf.data.masks.rules import APART, ids_among_colors
from fcn_tf.data.palette import Color
from fcn_tf.errors import UserError
from fcn_tf.io import texts

_SHOWN = 3  # files or colours in a message
_FEW = 8  # a palette image of more colours may have blended edges: only colours that fill an area count
_LINES = 2  # an area has more pixels than so many rows and columns


def require_one_reading(masks: Mapping[str, Histogram], *, name: str) -> None:
    """Makes sure that masks in colours and the others agree on which colours there are.

    They do where the palettes have no other colours than the masks in colours, or the other way round: a class may
    occur in one kind of masks alone.

    Args:
      masks: what each mask stores, by its path; some are in colours.
      name: of the data set's folder, for the error.

    Raises:
      UserError: naming the others, if they hold class ids, or their palettes have colours of their own.
    """
    in_color = [each for each in masks.values() if each.in_color]
    ours = {notation.unpack(value) for each in in_color for value in each.counts}
    greys = {value for each in masks.values() if not (each.in_color or each.palette) for value in each.counts}
    ids = [path for path, each in masks.items() if ids_among_colors(each, ours)]
    if ids:
        raise UserError(
            f"{name}: {len(in_color)} of {len(masks)} masks are coded in colours, but these seem to hold class ids: "
            f"{texts.some(ids, _SHOWN)}. Save them in the colours of the others, or every mask as class ids."
        )
    ours |= {(value, value, value) for value in greys if 0 <= value <= 255}
    palettes = {path: each.in_colors for path, each in masks.items() if each.palette}
    theirs = {color for each in palettes.values() for color in _areas(each)}
    off = APART // 2 if any(each.lossy for each in in_color) else 0
    own = {color for color in theirs if not _is_near(color, ours, off)}
    if not own or all(_is_near(color, theirs, off) for each in in_color for color in _areas(each)):
        return
    strange = [path for path, each in palettes.items() if own & _areas(each)]
    every = tuple(sorted({color for each in in_color for color in _areas(each)} | theirs))
    flags = (f"--num_classes={len(every)} --mask_colors={notation.format_colors(every)}",)
    raise UserError(
        f"{name}: {len(in_color)} of {len(masks)} masks are coded in colours, but these are palette images of colours "
        f"that no other mask has ({_some(own)}): {texts.some(strange, _SHOWN)}. Save them in the colours of the "
        f"others; or, if each colour is a class of its own, say so: {flags[0]}.",
        flags=flags,
    )


def _areas(mask: Histogram) -> set[Color]:
    """The colours of a mask that are no steps of blended edges."""
    least = _LINES * (mask.width + mask.height) if mask.distinct > _FEW else 0
    return {notation.unpack(value) for value, count in mask.counts.items() if count > least}


def _is_near(color: Color, others: set[Color], off: int) -> bool:
    """Whether another colour is the same, but for so much in each channel."""
    return color in others or any(
        max(abs(a - b) for a, b in zip(color, other, strict=True)) <= off for other in others if off
    )


def _some(colors: set[Color]) -> str:
    return texts.some([notation.format_colors((color,)) for color in sorted(colors)], _SHOWN)
