"""The flags of main.py. They are defined in fcn_tf/command/flags.py, so that an installed package has them, too."""

import sys

from fcn_tf.command.flags import FLAGS, config_from_flags

__all__ = ["FLAGS", "config_from_flags"]

if __name__ == "__main__":
    sys.exit("flags.py holds the flags of main.py; run python main.py --help.")
