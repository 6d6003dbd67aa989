"""Makes docs/curves.png: mean IoU over the steps of several runs, on training crops and on validation photos.

    python tools/make_curves.py --output=docs/curves.png --aims=0.67 \
        "CamVid, 0006R0 left out=logs/holdout" "bags=logs/bag"

`--aims` draws a line where each of the runs should have come to; nothing between two commas is no line.
"""

import argparse
import itertools
from collections.abc import Sequence

from fcn_tf.io import files
from fcn_tf.io.run_dir import Run
from fcn_tf.reports import charts

_CURVES = (("train_mean_iou", "training crops", "#b0761a", "--"), ("val_mean_iou", "validation", "#1f5fbf", ".-"))
_PANEL = (4.0, 3.6)  # inches


def draw(runs: Sequence[tuple[str, Run]], aims: Sequence[float | None]) -> bytes:
    """A panel a run, as a PNG.

    Args:
      runs: and the titles of their panels before them.
      aims: mean IoU, or None, for each run; those that are missing are None.

    Raises:
      SystemExit: if a run has no history.
    """
    figure, encode = charts.new_figure(_PANEL[0] * len(runs), _PANEL[1])
    panels = figure.subplots(1, len(runs), squeeze=False)[0]
    for axes, (title, run), aim in itertools.zip_longest(panels, runs, aims):
        history, training = run.read_history(), run.read_training()
        if not history:
            raise SystemExit(f"{run.history} is empty or missing; expected the --logs_dir of a trained run.")
        for column, label, color, style in _CURVES:
            rows = training if column.startswith("train") and training else history
            points = [(row["step"], row[column]) for row in rows if row[column] is not None]
            axes.plot(*zip(*points, strict=True), style, label=label, color=color)
        if aim is not None:
            axes.axhline(aim, color="#666666", linestyle=":", label=f"aimed at: {aim:g}")
        axes.set_title(title)
        axes.set_xlabel("step")
        axes.set_ylim(0, 1)  # from 0: heights compare
        axes.grid(alpha=0.3)
        axes.legend(loc="lower right")
    panels[0].set_ylabel("mean IoU")
    return encode()


def _aims(text: str) -> list[float | None]:
    return [float(aim) if aim else None for aim in text.split(",")]


def _titled(text: str) -> tuple[str, Run]:
    title, equals, logs_dir = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} has no title; expected TITLE=LOGS_DIR")
    return title, Run(logs_dir)


def main() -> None:
    """Draws the runs that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", default="docs/curves.png")
    parser.add_argument("--aims", type=_aims, default=[], help="mean IoU for each run, or nothing, with commas between")
    parser.add_argument("runs", nargs="+", type=_titled, help="TITLE=LOGS_DIR")
    options = parser.parse_args()
    if len(options.aims) > len(options.runs):
        parser.error(f"--aims names {len(options.aims)}, expected at most one for each of {len(options.runs)} runs")
    files.write_bytes(options.output, draw(options.runs, options.aims))
    print(options.output)


if __name__ == "__main__":
    main()
