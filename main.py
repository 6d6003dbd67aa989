"""Fully convolutional networks: `python main.py --mode=train`, `--mode=visualize`, ... (see --help).

The same as the command `fcn_tf`, which `pip install` makes, without installing it.
"""

import sys

try:
    from fcn_tf.command.main import main
except ModuleNotFoundError as missing:
    if __name__ != "__main__" or (missing.name or "").startswith("fcn_tf"):
        raise
    print(
        f"error: the package {missing.name} is not installed here; activate the virtual environment "
        "(. .venv/bin/activate), or make one as README.md says.",
        file=sys.stderr,
    )
    sys.exit(2)

if __name__ == "__main__":
    sys.exit(main(sys.argv))
