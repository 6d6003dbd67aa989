"""What a configuration reaches: trains it, evaluates it on the validation split, and says what it took.

    python benchmarks/accuracy.py --config=configs/camvid.cfg --seeds=2 -- --data_dir=CAMVID --weights=VGG16.mat

What follows the two dashes are flags of main.py, which win over those of the file. Runs lie in `--logs_dir`, one a
seed, and the same command goes on where it stopped. Results go to results/accuracy-NAME.json; report.py makes the
tables of the documents of these files, one for each value of `--table`. `-- --max_steps=4 --image_size=32` is quick.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import common, turns
from fcn_tf.io import files
from fcn_tf.io.run_dir import Run

# Recipes reach what they can; networks and quirks of the original are trained alike, to be compared.
TABLES = ("recipes", "networks", "quirks")


def main(argv: Sequence[str] | None = None) -> None:
    """Parses the command line, trains what is not trained yet, and writes the results."""
    parser = common.parser(__doc__, __file__)
    parser.add_argument("--config", default="", help="a file of flags such as configs/camvid.cfg")
    parser.add_argument("--name", default="", help="of the results; by default that of the file of flags")
    parser.add_argument("--table", choices=TABLES, default=TABLES[0], help="where the results are shown")
    parser.add_argument("--seeds", type=int, default=1, help="how many trainings, with the seeds 0, 1, ...")
    parser.add_argument("--logs_dir", default="logs/accuracy", help="where the runs are: LOGS_DIR/NAME/seed0, ...")
    parser.add_argument("flags", nargs="*", help="flags of main.py, after two dashes")
    parser.set_defaults(json="")
    args = parser.parse_args(argv)
    args.name = args.name or Path(args.config).stem or "default"
    path = args.json or os.path.relpath(common.RESULTS / f"accuracy-{args.name}.json")
    common.write_json(path, args, measure(args))


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Trains and evaluates; see `main` for the arguments."""
    flags = [*([f"--flagfile={args.config}"] if args.config else []), *args.flags]
    # Of paths the last part, as in the settings.
    command = " ".join(["python main.py", *(_without_folders(flag) for flag in flags)])
    seeds = [_train(args, flags, seed) for seed in range(args.seeds)]
    first = seeds[0]
    rows = [
        common.row("mean IoU", mean(seed["mean_iou"] for seed in seeds), "", note=_note(seeds)),
        common.row("BF, common rule", mean(seed["bf"] for seed in seeds), ""),
        common.row("training", sum(seed["hours"] for seed in seeds) / len(seeds), "h", note="validations included"),
    ]
    args.flags = command  # a list says less
    shared = {name: first[name] for name in ("arch", "data", "parameters", "images")}
    return {"rows": rows, "name": args.name, "table": args.table, "command": command, **shared, "seeds": seeds}


def _train(args: argparse.Namespace, flags: Sequence[str], seed: int) -> dict[str, Any]:
    """One training and its scores."""
    run = Run(os.path.abspath(os.path.join(args.logs_dir, args.name, f"seed{seed}")))
    print(f"training {args.name}, seed {seed}", flush=True)
    mark = f"{run.logs_dir}.revision"  # the code may be another one by the time the training has ended
    if not files.exists(mark):
        files.write_bytes(mark, str(common.revision()).encode())
    turns.run_program(["--mode=train", *flags, f"--seed={seed}", f"--logs_dir={run.logs_dir}"])
    turns.run_program(["--mode=evaluate", "--boundary", f"--logs_dir={run.logs_dir}"])
    metrics = json.loads(files.read_bytes(files.join(run.evaluation, "metrics.json")))
    history, config = run.read_history(), run.read_config()
    best = run.best_validation()
    from fcn_tf.inference import load_model

    return {
        "seed": seed,
        "trained_from": files.read_bytes(mark).decode(),
        "arch": config["flags"]["arch"],
        "data": f"{metrics['dataset']} {metrics['split']}",
        "images": metrics["images"],
        "parameters": int(load_model(run.model).count_params()),
        "steps": history[-1]["step"],
        "best_step": best["step"] if best else None,
        "trained_images": history[-1]["step"] * config["flags"]["batch_size"],
        "hours": history[-1]["elapsed_seconds"] / 3600,
        "images_per_second": median(row["images_per_second"] for row in history),
        "mean_iou": metrics["mean_iou"],
        "interval": metrics["intervals"]["mean_iou"],
        "bf": metrics["boundary"]["bf_common"],
        "class_iou": {row["name"]: row["iou"] for row in metrics["per_class"]},
        "curve": [[row["step"], row["val_mean_iou"]] for row in history],
    }


def _note(seeds: Sequence[dict[str, Any]]) -> str:
    if len(seeds) == 1:
        low, high = seeds[0]["interval"]
        return f"one seed; 95 % interval over the photos {low:.3f} to {high:.3f}"
    return "seeds: " + ", ".join(f"{seed['mean_iou']:.3f}" for seed in seeds)


def _without_folders(flag: str) -> str:
    name, separator, value = flag.partition("=")
    return name + separator + (os.path.basename(value.rstrip("/")) if value.startswith(("/", "..")) else value)


if __name__ == "__main__":
    common.run(main)
