"""Contenders as processes that take turns, and what their times say. No TensorFlow.

Two programs are compared by letting them take turns, each in a process of its own and alone on the cores while it is
its turn. A machine that slows down then slows down both, and the median over the rounds of the ratio within a round
is what is reported.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.common import ROOT

Round = dict[str, float]  # seconds by contender


class WorkerError(RuntimeError):
    """A contender failed; `kind` is the name of its exception."""

    def __init__(self, kind: str, message: str):
        super().__init__(f"{kind}: {message}")
        self.kind = kind


class Worker:
    """A contender in a process of its own.

    Args:
      target: `module:Class`; its methods take keywords and return what JSON can hold.
      python: the interpreter.
      root: the checkout whose code runs.
      **options: of the class.
    """

    def __init__(self, target: str, *, python: str = sys.executable, root: str = str(ROOT), **options: Any):
        self._process = subprocess.Popen(  # nosec B603  # a worker of these benchmarks
            [python, "-m", "benchmarks.worker", target, json.dumps(options)],
            cwd=root,
            env={"TF_CPP_MIN_LOG_LEVEL": "2", **os.environ, "PYTHONPATH": root},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._made = False

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def ready(self) -> None:
        """Waits until the object is made; called by `call`. Several workers start at once if all are made first."""
        if not self._made:
            self._answer()
            self._made = True

    def call(self, name: str, **arguments: Any) -> Any:
        """Calls a method of the object, or `peak_bytes`: the most memory its process has held.

        Raises:
          WorkerError: if it raises, or its process ends.
        """
        self.ready()
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([name, arguments]) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """Ends the process, and so frees its memory."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _answer(self):
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise WorkerError("Ended", f"the worker's process ended with status {self._process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"], answer["message"])
        return answer["result"]


def take_turns(
    contenders: Mapping[str, Callable[[], float]],
    *,
    rounds: int,
    seconds: float,
    first: int = 0,
) -> list[Round]:
    """Lets contenders take turns.

    Args:
      contenders: by name, a function that does its work and returns the seconds to remember.
      rounds: how many.
      seconds: no round begins after so many, except the first three.
      first: how many rounds there were before.

    Returns:
      {name: seconds} of each round. Every second round runs in the opposite order, so that what follows whom evens out.
    """
    began = time.perf_counter()
    measured: list[Round] = []
    for number in range(first, first + rounds):
        if number >= 3 and time.perf_counter() - began > seconds:
            break
        times = {name: contenders[name]() for name in (contenders if number % 2 == 0 else reversed([*contenders]))}
        measured.append({name: times[name] for name in contenders})
        print(f"round {number + 1}: " + ", ".join(f"{name} {s:.3f} s" for name, s in measured[-1].items()), flush=True)
    return measured


@dataclass(frozen=True)
class Ratio:
    """How two contenders compare.

    Attributes:
      median, low, high: of the ratios within a round.
      pairs: how many rounds.
    """

    median: float
    low: float
    high: float
    pairs: int


def ratio(rounds: Iterable[Round], over: str, under: str) -> Ratio:
    """Seconds of `over` divided by seconds of `under`, round by round: how many times as fast `under` is."""
    ratios = [times[over] / times[under] for times in rounds]
    return Ratio(statistics.median(ratios), min(ratios), max(ratios), len(ratios))


def median_seconds(rounds: Iterable[Round], name: str) -> float:
    """The median of one contender's seconds."""
    return statistics.median(times[name] for times in rounds)


@dataclass(frozen=True)
class Program:
    """How a program went.

    Attributes:
      status: its exit status.
      seconds: from start to end.
      peak_bytes: the most memory it held at once (resident).
      output: what it printed, errors too.
    """

    status: int
    seconds: float
    peak_bytes: int
    output: str


def run_program(arguments: Sequence[str], *, check: bool = True) -> Program:
    """Runs `python main.py` with `arguments` in the repository's root.

    The peak is never less than this process's own, which the system counts in; so this module imports little.

    Args:
      arguments: after main.py.
      check: whether a status other than 0 is an error.

    Raises:
      RuntimeError: if `check` and it failed; the message ends in what it printed.
    """
    with tempfile.TemporaryFile("w+") as output:
        began = time.perf_counter()
        process = subprocess.Popen(  # nosec B603  # main.py
            [sys.executable, "main.py", *arguments], cwd=ROOT, stdout=output, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)  # it is gone: Popen must not wait for it
        output.seek(0)
        text = output.read()
    if check and process.returncode:
        raise RuntimeError(f"main.py {' '.join(arguments)} ended with status {process.returncode}:\n{text}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Program(process.returncode, seconds, usage.ru_maxrss * unit, text)
