"""Labels many photos on a Ray cluster: `--mode=predict`, with actors in place of one process.

    pip install "ray[data]"  # tested with Ray 2.60
    python examples/ray_predict.py --logs_dir=logs --input=photos --output_dir=out

takes the flags of `--mode=predict`, writes the same files and goes on where it was stopped. Each actor loads the model
once, and Ray Data gives it batches of paths. An actor that dies is restarted by Ray, and its batches are done again:
files are put in place whole, under names that follow from the photos', so that each is there once. What is done is
remembered in predict.json; a driver that is killed loses ten seconds of that, and does those again.

Without RAY_ADDRESS a cluster is started on this machine. On several machines, photos, run and results are on disks that
all of them see.
"""

import argparse
import contextlib
import dataclasses
import errno
import functools
import io
import json
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # of a clone that is not installed

import ray
import tqdm

from fcn_tf import predict
from fcn_tf.command import flags
from fcn_tf.config import Config
from fcn_tf.errors import UserError
from fcn_tf.inference import bulk
from fcn_tf.inference.inputs import Input
from fcn_tf.inference.journal import Journal

ROOT = str(Path(__file__).parents[1])
_OBJECT_STORE = 200_000_000  # bytes: only paths and counts go through it
_CPUS_OF_RAY = 1  # that Ray Data's own tasks need: actors that hold every CPU would wait for them for ever


class Written:
    """What an actor has written, in place of a journal: the driver keeps that."""

    def __init__(self) -> None:
        self.rows: dict[str, str] = {}

    def add(self, item: Input, endings: Sequence[str], frames: Sequence[Mapping[int, int]]) -> None:
        """See `Journal.add`."""
        self.rows[item.path] = json.dumps([list(endings), [list(frame.items()) for frame in frames]])


class Labeller:
    """An actor: labels batches of paths, with a model that it loads once.

    Args:
      config: of `--mode=predict`.
      outputs: names of outputs, of pictures (False) and videos (True).
      output_dir: where results go.
    """

    def __init__(self, config: Config, outputs: Mapping[bool, Sequence[str]], output_dir: str):
        self._config, self._outputs, self._output_dir = config, outputs, output_dir
        self._segmenter: Any = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        """Labels the items of a batch.

        Returns:
          For each item what was written, "" where it could not be; once, what was printed and why nothing more can be.
        """
        items = [Input(*json.loads(text)) for text in batch["item"]]
        written, printed, ended = Written(), io.StringIO(), ""
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            try:
                if self._segmenter is None:  # not before: what an actor raises while it is made, Ray tries again
                    self._segmenter = predict.load_segmenter(self._config)
                predictor = bulk.BulkPredictor(self._segmenter, self._output_dir, written, show_progress=False)
                predictor.pictures([item for item in items if not item.video], self._outputs[False])
                predictor.videos([item for item in items if item.video], self._outputs[True])
            except UserError as error:
                ended = json.dumps(["", str(error), ""])
            except OSError as error:
                ended = json.dumps([error.errno or errno.EIO, error.strerror or str(error), error.filename or ""])
        once = [""] * (len(items) - 1)
        return {
            "item": list(batch["item"]),
            "written": [written.rows.get(item.path, "") for item in items],
            "printed": [printed.getvalue(), *once],
            "ended": [ended, *once],
        }


def label_on_ray(
    config: Config,
    items: Sequence[Input],
    outputs: Mapping[bool, Sequence[str]],
    output_dir: str,
    journal: Journal,
    *,
    actors: int,
    batch_size: int,
) -> int:
    """As `predict.label_here`, by actors.

    Raises:
      UserError: if the actors do not fit, or the model cannot be used.
      OSError: if nothing more can be written.
    """
    cpus = int(ray.cluster_resources().get("CPU", 0))
    most = cpus - _CPUS_OF_RAY
    if actors > most:
        raise UserError(
            f"--actors={actors} of one CPU each do not fit into a Ray cluster of {cpus}, of which its own tasks need "
            f"{_CPUS_OF_RAY}: expected {most} at most; add machines, or give a lower --actors."
        )
    rows = [{"item": json.dumps(dataclasses.astuple(item))} for item in items]
    labelled = ray.data.from_items(rows, override_num_blocks=-(-len(rows) // batch_size)).map_batches(
        Labeller,
        fn_constructor_kwargs={"config": config, "outputs": outputs, "output_dir": output_dir},
        batch_size=batch_size,
        compute=ray.data.ActorPoolStrategy(size=min(actors or most, -(-len(rows) // batch_size))),
        num_cpus=1,
    )
    done = 0
    try:
        for row in tqdm.tqdm(labelled.iter_rows(), total=len(items), unit="picture", desc="predict", disable=None):
            if row["printed"]:
                tqdm.tqdm.write(row["printed"].rstrip("\n"), file=sys.stderr)
            if row["written"]:
                endings, frames = json.loads(row["written"])
                journal.add(Input(*json.loads(row["item"])), endings, [dict(frame) for frame in frames])
                done += 1
            if row["ended"]:
                number, reason, path = json.loads(row["ended"])
                raise OSError(number, reason, path or None) if number else UserError(reason)
    finally:
        journal.save()
    return len(items) - done


def main(argv: list[str]) -> int:
    """Labels what the command line says; returns the exit status, which is that of `--mode=predict`."""
    parser = argparse.ArgumentParser(
        usage=f"{argv[0]} [--actors=N] [--cpus=N] [--batch=N], and the flags of --mode=predict",
        allow_abbrev=False,
        add_help=False,
    )
    parser.add_argument("--actors", type=int, default=0, help="default: one for each CPU but one")
    parser.add_argument("--cpus", type=int, default=max(2, os.cpu_count() or 1), help="of a cluster on this machine")
    parser.add_argument("--batch", type=int, default=16, help="photos that an actor is given at once")
    own, rest = parser.parse_known_args(argv[1:])
    config = flags.config_from_flags([argv[0], *rest, "--mode=predict"])
    if config is None:
        parser.print_help()
        return 0
    if min(own.cpus, own.batch) < 1 or own.actors < 0:
        raise UserError(f"got --actors={own.actors} --cpus={own.cpus} --batch={own.batch}; expected positive numbers.")
    start_ray(own.cpus)
    return predict.run(
        _absolute(config), label=functools.partial(label_on_ray, actors=own.actors, batch_size=own.batch)
    )


def start_ray(cpus: int) -> None:
    """Connects to the cluster of RAY_ADDRESS, or starts one on this machine."""
    local = {} if os.environ.get("RAY_ADDRESS") else {"num_cpus": cpus, "object_store_memory": _OBJECT_STORE}
    environment = {"env_vars": {"PYTHONPATH": os.pathsep.join([ROOT, *filter(None, [os.environ.get("PYTHONPATH")])])}}
    ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR", runtime_env=environment, **local)
    logging.getLogger("ray.data").setLevel("ERROR")
    ray.data.DataContext.get_current().enable_progress_bars = False


def _absolute(config: Config) -> Config:
    """The same settings with paths that mean the same in every folder: actors have one of their own."""
    paths = {
        name: os.path.abspath(value)
        for name in ("logs_dir", "output_dir", "input")
        if (value := getattr(config, name)) and value != "-" and "://" not in value
    }
    return dataclasses.replace(config, **paths)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.status)
