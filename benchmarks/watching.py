"""What a process holds while it runs: memory, open files, threads, and the files of its folder. Linux only."""

import os
import re
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

FLAT = 1.05  # of the memory, afterwards against before; allocators alone move it by a few percent


class Sample(NamedTuple):
    """What a process held at one moment.

    Attributes:
      seconds: since the watch began.
      memory: bytes of the resident set.
      open_files: and connections, pipes and the like.
      threads: of the process.
      files: in the folder that is watched with it, and in those below.
    """

    seconds: float
    memory: int
    open_files: int
    threads: int
    files: int


class Trend(NamedTuple):
    """A straight line through samples, by least squares.

    Attributes:
      first: its value at the first of them.
      last: its value at the last.
      hourly: its slope, per hour.
    """

    first: float
    last: float
    hourly: float


def memory(pid: int) -> int:
    """Bytes of the resident set of a process."""
    return int(_status(pid, "VmRSS")) * 1024


def open_files(pid: int) -> int:
    """How many files and connections a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def threads(pid: int) -> int:
    """How many threads a process has."""
    return int(_status(pid, "Threads"))


def _status(pid: int, name: str) -> str:
    found = re.search(rf"^{name}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.M)
    if not found:  # it has ended, and its parent has not asked for its status
        raise ProcessLookupError(f"process {pid} has ended")
    return found[1]


def watch(
    process: subprocess.Popen, *, every: float, seconds: float = float("inf"), folder: str | None = None
) -> list[Sample]:
    """Samples a process until it ends or the time is over.

    Args:
      process: is neither stopped nor waited for.
      every: so many seconds.
      seconds: how long at most.
      folder: whose files to count; it need not be there yet.
    """
    began, samples = time.monotonic(), []
    while process.poll() is None and (now := time.monotonic() - began) < seconds:
        count = sum(len(files) for _, _, files in os.walk(folder)) if folder else 0
        try:
            samples.append(Sample(now, memory(process.pid), open_files(process.pid), threads(process.pid), count))
        except (ProcessLookupError, FileNotFoundError):  # it ended just now
            break
        time.sleep(every)
    return samples


def trend(samples: Sequence[Sample], what: str) -> Trend:
    """How one of the fields of `Sample` moves.

    Args:
      samples: two at least.
      what: the name of the field.
    """
    seconds = np.array([sample.seconds for sample in samples])
    slope, start = np.polyfit(seconds, [getattr(sample, what) for sample in samples], 1)
    return Trend(float(start + slope * seconds[0]), float(start + slope * seconds[-1]), float(3600 * slope))
