"""Trains on a Ray cluster: `--mode=train` in several workers, which Ray starts again when one of them is lost.

    pip install "ray[train]"  # tested with Ray 2.60
    python examples/ray_train.py --workers=2 --dataset=camvid --logs_dir=logs/camvid

takes the flags of `--mode=train`; --batch_size counts the images of all workers. Ray tells the workers of each other
(TF_CONFIG) and, when one has died or cannot reach the others, starts all of them anew, --restarts times: they resume at
the newest checkpoint. The same command resumes, too.

Without RAY_ADDRESS a cluster is started on this machine. On several machines, data and --logs_dir are on disks that all
of them see. Workers train in a thread, which signals do not reach: what ends a job between saves loses the steps since.
"""

import argparse
import logging
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # of a clone that is not installed
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # Ray imports TensorFlow

import ray
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.tensorflow import TensorflowTrainer

from fcn_tf.command import flags
from fcn_tf.command.main import main as fcn_tf
from fcn_tf.errors import UserError, WorkerLost

ROOT = str(Path(__file__).parents[1])
_OBJECT_STORE = 200_000_000  # bytes: nothing of a training goes through it


def train_in_worker(settings: dict[str, Any]) -> int:
    """Trains, in each worker, and returns the exit status.

    Raises:
      RuntimeError: where starting all workers again may help.
    """
    os.environ.pop("TF_USE_LEGACY_KERAS", None)  # which Ray sets: this is Keras 3
    os.chdir(settings["folder"])
    status = fcn_tf(["ray_train.py", *settings["arguments"], "--mode=train"])
    if status == WorkerLost.status:
        raise RuntimeError(f"lost another worker (status {status})")
    return status


def main(argv: list[str]) -> int:
    """Trains what the command line says; returns the exit status, which is that of `--mode=train`."""
    parser = argparse.ArgumentParser(
        usage=f"{argv[0]} [--workers=N] [--restarts=N] [--cpus_per_worker=N], and the flags of --mode=train",
        allow_abbrev=False,
        add_help=False,
    )
    parser.add_argument("--workers", type=int, default=2, help="how many")
    parser.add_argument("--restarts", type=int, default=10, help="how often all are started again; -1: for ever")
    parser.add_argument("--cpus_per_worker", type=int, default=1, help="that Ray keeps for each")
    own, rest = parser.parse_known_args(argv[1:])
    config = flags.config_from_flags([argv[0], *rest, "--mode=train"])  # here, too: mistakes should show at once
    if config is None:
        parser.print_help()
        return 0
    if min(own.workers, own.cpus_per_worker) < 1 or own.restarts < -1:
        raise UserError(
            f"got --workers={own.workers} --cpus_per_worker={own.cpus_per_worker} --restarts={own.restarts}; expected "
            "1 or more workers and CPUs, and -1 or more restarts."
        )
    start_ray(own.workers * own.cpus_per_worker)
    cpus = int(ray.cluster_resources().get("CPU", 0))
    if own.workers * own.cpus_per_worker > cpus:
        raise UserError(
            f"--workers={own.workers} of {own.cpus_per_worker} CPUs each do not fit into a Ray cluster of {cpus}; add "
            "machines, or give fewer."
        )
    result = TensorflowTrainer(
        train_in_worker,
        train_loop_config={"arguments": rest, "folder": os.getcwd()},
        scaling_config=ScalingConfig(num_workers=own.workers, resources_per_worker={"CPU": own.cpus_per_worker}),
        run_config=RunConfig(
            storage_path=os.path.join(
                config.logs_dir if "://" in config.logs_dir else os.path.abspath(config.logs_dir), "ray"
            ),
            failure_config=FailureConfig(max_failures=own.restarts),
        ),
    ).fit()
    return result.return_value


def start_ray(cpus: int) -> None:
    """Connects to the cluster of RAY_ADDRESS, or starts one on this machine."""
    local = {} if os.environ.get("RAY_ADDRESS") else {"num_cpus": cpus, "object_store_memory": _OBJECT_STORE}
    variables = {"PYTHONPATH": os.pathsep.join([ROOT, *filter(None, [os.environ.get("PYTHONPATH")])])}
    environment = {"env_vars": variables | {"TF_CPP_MIN_LOG_LEVEL": "2"}, "worker_process_setup_hook": hush}
    ray.init(include_dashboard=False, runtime_env=environment, **local)


def hush() -> None:
    """Keeps processes of the cluster from telling twice a second that nobody runs Ray's dashboard."""
    for name in ("ray.train.v2._internal.execution.controller.placement_group_cleaner", "absl"):
        logging.getLogger(name).setLevel("ERROR")


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.status)
