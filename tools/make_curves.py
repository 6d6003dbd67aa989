"""Makes docs/curves.png: mean IoU over the steps of several runs, on training crops and on validation photos.

    python tools/make_curves.py --output=docs/curves.png \
        "CamVid, 0006R0 left out=logs/holdout" "bags=logs/bag" --aims=0.67

`--aims` draws a line where a run should have come to; nothing between two commas is no line.
"""

import argparse
import io
import itertools

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from fcn_tf.io import files
from fcn_tf.io.run_dir import Run

_CURVES = (("train_mean_iou", "training crops", "#b0761a", "--"), ("val_mean_iou", "validation", "#1f5fbf", ".-"))
_PANEL = (4.0, 3.6)  # inches


def draw(runs: dict[str, Run], aims: list[float | None]) -> bytes:
    """A panel a run, as a PNG.

    Args:
      runs: by the titles of their panels.
      aims: mean IoU, or None, for each run; those that are missing are None.

    Raises:
      SystemExit: if a run has no history.
    """
    figure = Figure(figsize=(_PANEL[0] * len(runs), _PANEL[1]), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(runs), squeeze=False)[0]
    for axes, (title, run), aim in itertools.zip_longest(panels, runs.items(), aims[: len(runs)]):
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
    png = io.BytesIO()
    canvas.print_png(png)
    return png.getvalue()


def main() -> None:
    """Draws the runs that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", default="docs/curves.png")
    parser.add_argument("--aims", default="", help="mean IoU for each run, or nothing, with commas between")
    parser.add_argument("runs", nargs="+", help="TITLE=LOGS_DIR")
    options = parser.parse_args()
    runs = {title: Run(logs_dir) for title, _, logs_dir in (each.partition("=") for each in options.runs)}
    aims = [float(aim) if aim else None for aim in options.aims.split(",")]
    files.write_bytes(options.output, draw(runs, aims))
    print(options.output)


if __name__ == "__main__":
    main()
