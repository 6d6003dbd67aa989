"""Fully convolutional networks: `python main.py --mode=train`, `--mode=visualize`, ... (see --help).

The same as the command `fcn_tf`, which `pip install` makes, without installing it.
"""

import sys

from fcn_tf.command.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv))
