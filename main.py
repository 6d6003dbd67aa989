"""Fully convolutional networks: `python main.py --mode=train`, `--mode=visualize`, ... (see --help)."""

import errno
import importlib
import signal
import sys

import flags
from fcn_tf import files
from fcn_tf.errors import UserError

# What a disk, its owner or a wrong path causes; other errors of files are faults of ours.
_NOT_OURS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR, errno.EISDIR)


def main(argv: list[str]) -> int:
    """Runs the mode that the command line asks for and returns the exit status."""
    try:
        config = flags.config_from_flags(argv)
        if config is None:
            return 0
        # Only now: a typing mistake should not wait for imports.
        verb = importlib.import_module(f"fcn_tf.{config.mode}")
        return verb.run(config)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.errno not in _NOT_OURS and not isinstance(error, files.NotRegularFile):
            raise
        where = "" if error.filename is None else f"{error.filename}: "
        print(
            f"error: {where}{error.strerror}; give files and folders that can be read and written (--logs_dir, "
            "--data_dir, --output_dir), or make room.",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 128 + signal.SIGINT


if __name__ == "__main__":
    sys.exit(main(sys.argv))
