"""The memory that the exports of a run take for a picture, against what is asked for before they label one.

Each export that `--mode=export` left in a run's folder labels a small picture and then one of `--side` pixels, in a
process of its own; what that grew by at its peak is set against `ExportMemory`, whose factors (`Format.memory`) come
from here. Needs the runtimes that the exports need, and Linux.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

from benchmarks import common, turns, watching, worker
from fcn_tf import registry
from fcn_tf.errors import UserError
from fcn_tf.inference import exported
from fcn_tf.io import files, run_dir

_MOST = 1.1  # times what is asked for
_SMALL = 64  # pixels: loads kernels, and lets runtimes make their threads


def main(argv: Sequence[str] | None = None) -> None:
    """Parses the command line, measures, and writes the results."""
    parser = common.parser(__doc__, __file__)
    parser.add_argument("--logs_dir", default="logs", help="the run that was exported")
    parser.add_argument("--exports", default="", help="its exports; default: LOGS_DIR/export")
    parser.add_argument("--side", type=int, default=1024, help="of the picture, in pixels")
    args = parser.parse_args(argv)
    common.write_json(args.json, args, measure(args))


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Measures one export after the other; see `main` for the arguments."""
    folder = args.exports or run_dir.Run(args.logs_dir).export
    summary = os.path.join(folder, "export.json")
    if not files.exists(summary):
        raise UserError(f"{summary} is not there; make the exports with --mode=export --logs_dir={args.logs_dir}.")
    listed = json.loads(files.read_bytes(summary))["exports"]
    rows = []
    for row in sorted(listed, key=lambda row: [*registry.EXPORTS].index(row["format"])):
        path = os.path.abspath(row["folder"])
        print(path, flush=True)
        with turns.Worker("benchmarks.export_memory:Exported", folder=path) as export:
            peak, kept = (grown / args.side**2 for grown in export.call("grow", side=args.side))
            counted = export.call("counted")
        what = f"{row['format']} {row['quantize']}, memory of a picture against what is asked for"
        note = f"{peak:.0f} bytes a pixel, {counted:.0f} asked for, {kept:.0f} kept for the next picture"
        rows.append(common.row(what, peak / counted, "x", most=_MOST, note=note))
    return {"rows": rows}


class Exported:
    """An export in its own runtime."""

    def __init__(self, *, folder: str):
        export = exported.find(folder)
        if export is None:
            raise UserError(f"{folder} is no export; make it again with --mode=export.")
        self._counted, self._run = exported.ExportMemory(export).bytes_per_pixel, export.load()
        self._run(_noise(_SMALL))

    def counted(self) -> float:
        """Bytes a pixel that are asked for."""
        return self._counted

    def grow(self, *, side: int) -> tuple[int, int]:
        """The bytes by which the process grows while it labels a square picture: at most, and what remains."""
        picture = _noise(side)
        before = watching.memory(os.getpid())
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # sets the peak to what is held now
        self._run(picture)
        held = watching.memory(os.getpid())
        # The kernel counts the two apart, and may be some pages behind with either.
        return max(worker.peak_bytes(), held) - before, held - before


def _noise(side: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (1, side, side, 3), dtype=np.uint8)


if __name__ == "__main__":
    common.run(main)
