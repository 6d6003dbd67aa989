"""What --mode=export prints: a line a format."""

from typing import Any


def text(rows: list[dict[str, Any]]) -> str:
    """Rows of export.json as an aligned table.

    Args:
      rows: each with "format", "quantize", "bytes", "agreement", "confidence_difference", "images_per_second" and
        "tensorflow_images_per_second".
    """
    lines = [
        f"{'format':<12} {'weights':<8} {'MB':>7}  {'agreement %':>11}  {'confidence +-':>13}  {'images/s':>8}  "
        f"{'TensorFlow':>10}"
    ]
    for row in rows:
        lines.append(
            f"{row['format']:<12} {row['quantize']:<8} {row['bytes'] / 1e6:>7.1f}  {100 * row['agreement']:>11.3f}  "
            f"{row['confidence_difference']:>13.6f}  {row['images_per_second']:>8.2f}  "
            f"{row['tensorflow_images_per_second']:>10.2f}"
        )
    return "\n".join(lines)
