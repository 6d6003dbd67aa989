"""Reads copies of a .mat file, each with one bit flipped: `python -m tests.flips FILE COUNT SEED`.

Half of the flips hit anywhere, half the first bytes of an element: its tag, flags, shape and name. What became of
them is printed as JSON: how many were read and refused, what else was raised, and by how many bytes the process grew.
"""

import json
import re
import resource
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

from fcn_tf.errors import UserError
from fcn_tf.models import matconvnet

_SECONDS = 300  # of processor time for all of it: a reader that hangs is killed
_ELEMENT = b"\x0e\0\0\0"  # where one begins in a file that is not compressed
_HEAD = 200


def flip(data: bytes, rng: np.random.Generator) -> bytes:
    """The same bytes but for one bit."""
    starts = [found.start() for found in re.finditer(re.escape(_ELEMENT), data)]
    place = int(rng.integers(len(data)))
    if starts and rng.random() < 0.5:
        place = min(int(rng.choice(starts)) + int(rng.integers(_HEAD)), len(data) - 1)
    changed = bytearray(data)
    changed[place] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def main(path: str, count: int, seed: int) -> None:
    """Reads `count` damaged copies."""
    resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
    data, rng, found = Path(path).read_bytes(), np.random.default_rng(seed), Counter[str]()
    before = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "a.mat")
        for _ in range(count):
            copy.write_bytes(flip(data, rng))
            try:
                matconvnet.read(copy)
                found["read"] += 1
            except UserError as error:
                found["refused" if "\n" not in str(error) else "of several lines"] += 1
            except Exception as error:
                found[repr(error)] += 1
            before = before or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    print(json.dumps({**found, "grown": grown}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
