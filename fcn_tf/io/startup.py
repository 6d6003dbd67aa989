"""Imports TensorFlow without the dozen lines that its C++ side prints before anything can tell it not to."""

import os
import sys
import tempfile


def load_tensorflow() -> None:
    """Imports TensorFlow and finds its devices, holding back what native code writes to standard error meanwhile.

    It is shown all the same if the import fails, or if TF_CPP_MIN_LOG_LEVEL=0 asks for everything.
    """
    if os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2") == "0" or "tensorflow" in sys.modules:
        return
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            import tensorflow as tf

            tf.config.list_physical_devices()
            held.truncate(0)
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
            held.seek(0)
            sys.stderr.write(held.read().decode(errors="replace"))
