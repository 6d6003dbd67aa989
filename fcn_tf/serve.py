"""`--mode=serve`: a page and an HTTP API that label pictures with the model of a run."""

import os
import secrets

import numpy as np

from fcn_tf.config import Config
from fcn_tf.inference import exported, segmenter
from fcn_tf.inference.runs import load_run
from fcn_tf.io import system
from fcn_tf.io.run_dir import Run

_PACKAGES = {  # of the extra [serve], by what they are imported as
    "fastapi": "fastapi",
    "uvicorn": "uvicorn",
    "python_multipart": "python-multipart",
    "fastapi_offline": "fastapi-offline",
}


def run(config: Config) -> int:
    """Serves until SIGINT or SIGTERM.

    Args:
      config: uses logs_dir, palette, runtime, quantize, tta, sliding_window, host, port, token, request_megabytes,
        request_megapixels, request_seconds and queue_size.

    Returns:
      The exit status, 128 and the number of the signal.

    Raises:
      UserError: without a trained model, the packages that serving needs, the export that --runtime runs, or an
        address that can be listened on.
    """
    trained = load_run(config.logs_dir).in_palette(config.palette)
    system.require_packages("--mode=serve", _PACKAGES)
    export = exported.of_run(Run(config.logs_dir), config.runtime, quantize=config.quantize, plain=not config.tta)
    from fcn_tf.serving import server
    from fcn_tf.serving.app import Server
    from fcn_tf.serving.limits import Limits

    with server.bind(config.host, config.port) as bound:
        made = "" if config.token or server.is_loopback(bound) else secrets.token_urlsafe(24)
        model = segmenter.of_run(trained, export, tta=config.tta, sliding_window=config.sliding_window, say=print)
        model(np.zeros((64, 64, 3), np.uint8))  # traces now, so that no request waits for it
        limits = Limits(
            upload_bytes=config.request_megabytes * 1_000_000,
            pixels=config.request_megapixels * 1_000_000,
            seconds=config.request_seconds,
            requests=config.queue_size,
        )
        application = Server(
            model,
            class_names=trained.class_names,
            colors=trained.colors,
            title=os.path.basename(os.path.normpath(trained.logs_dir)),  # no path of this machine: others see it
            limits=limits,
            token=config.token or made,
        )
        link = server.address(bound) + (f"/?token={made}" if made else "")
        return server.run(
            application,
            bound,
            seconds=config.request_seconds,
            on_start=lambda: print(f"serving {trained.logs_dir} at {link} (Ctrl-C stops)", flush=True),
        )
