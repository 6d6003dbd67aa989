"""What this machine has (its memory is asked of Linux, elsewhere unknown), and a quiet start of TensorFlow on it."""

import functools
import importlib.util
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping

from fcn_tf.errors import UserError
from fcn_tf.io import files, run_log

Available = tuple[int | None, int | None]  # bytes that may be held, and that may be reserved; None where unknown


def memory_for_us(root: str = "/") -> int | None:
    """How many bytes this process may come to hold before memory runs out: `memory_left`, and what it holds already.

    Args:
      root: where /proc and /sys are.

    Returns:
      Bytes, or None where nobody says.
    """
    left, own = memory_left(root), _kibibytes(_text(root, "proc/self/status"), "VmRSS")
    return None if left is None or own is None else left + own


def memory_left(root: str = "/") -> int | None:
    """How many bytes this process may take in addition before memory runs out.

    That is what is free or can be made free on the machine, within the limits of the process's control groups (a
    container's) and of its own address space (`ulimit -v`).

    Args:
      root: where /proc and /sys are.

    Returns:
      Bytes, at least 0, or None where nobody says.
    """
    status = _text(root, "proc/self/status")
    free, own = _kibibytes(_text(root, "proc/meminfo"), "MemAvailable"), _kibibytes(status, "VmRSS")
    if free is None or own is None:
        return None
    return max(0, min([free, *_left(root, own), *_unmapped(root, status)]))


def memory_held(root: str = "/") -> int:
    """How many bytes this process holds; 0 where nobody says.

    Args:
      root: where /proc is.
    """
    return _kibibytes(_text(root, "proc/self/status"), "VmRSS") or 0


def reservable(root: str = "/") -> int | None:
    """How many bytes this process may reserve at once, whether it comes to touch them or not.

    Linux refuses what is more than all memory and swap together, however much is free, and what is beyond the limit of
    the address space.

    Args:
      root: where /proc is.

    Returns:
      Bytes, or None where nobody says.
    """
    text = _text(root, "proc/meminfo")
    memory, swap = _kibibytes(text, "MemTotal"), _kibibytes(text, "SwapTotal")
    if memory is None:
        return None
    return max(0, min([memory + (swap or 0), *_unmapped(root, _text(root, "proc/self/status"))]))


def threads() -> dict[str, int]:
    """The logical CPUs of this process, and the threads that TensorFlow computes with, within and across operations.

    Sums are split among them, so the last digits of a training follow from their number.
    """
    import tensorflow as tf

    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threading, found = tf.config.threading, {"cpus": cpus}
    for name, threads_set in (
        ("intra_op", threading.get_intra_op_parallelism_threads()),
        ("inter_op", threading.get_inter_op_parallelism_threads()),
    ):
        asked = os.environ.get(f"TF_NUM_{name.replace('_', '').upper()}_THREADS", "")
        found[f"{name}_threads"] = threads_set or (int(asked) if asked.isdecimal() else 0) or cpus
    return found


def has_gpu() -> bool:
    """Whether TensorFlow, where it is loaded, computes on a GPU, of whose memory only its own allocator knows."""
    tf = sys.modules.get("tensorflow")
    return tf is not None and bool(tf.config.list_physical_devices("GPU"))


_INSTRUCTIONS = {
    "bfloat16": {"avx512_bf16", "amx_bf16"},  # not ARM's bf16: TensorFlow leaves that unused on most of them
    "float16": {"avx512_fp16", "amx_fp16"},
}


@functools.cache
def has_instructions(dtype: str, root: str = "/") -> bool:
    """Whether the processor has instructions for this type that TensorFlow uses; where nobody says, it has not.

    Args:
      dtype: "bfloat16" or "float16".
      root: where /proc is.
    """
    return not _INSTRUCTIONS[dtype].isdisjoint(_text(root, "proc/cpuinfo").split())


def require_packages(what: str, packages: Mapping[str, str]) -> None:
    """Makes sure that packages are there, without importing them.

    Args:
      what: needs them, such as "--mode=serve".
      packages: {module to import: name to install}.

    Raises:
      UserError: naming those that are not, and the command that installs all of them.
    """
    missing = [name for module, name in packages.items() if importlib.util.find_spec(module) is None]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise UserError(
            f"{what} needs {', '.join(missing)}, which {verb} not installed: pip install {' '.join(packages.values())}"
        )


def _left(root: str, own: int) -> Iterator[int]:
    """What the control groups that this process is in, and those around them, have not used of their limits."""
    for line in _text(root, "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":  # version 2
            folder, name, current = "sys/fs/cgroup", "memory.max", "memory.current"
        elif "memory" in controllers.split(","):
            folder, name, current = "sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
        else:
            continue
        groups = [part for part in path.split("/") if part]
        # A container may see its own group as the topmost: those below it are not there then.
        for depth in range(len(groups) + 1):
            group = files.join(folder, *groups[:depth])
            limit, usage = (_text(root, files.join(group, each)).strip() for each in (name, current))
            if limit.isdecimal():  # "max" is none
                # Files that it has read count as used, and are given up when memory is wanted.
                statistics = _text(root, files.join(group, "memory.stat"))
                cached = re.search(r"^(?:total_)?inactive_file (\d+)$", statistics, re.MULTILINE)
                used = int(usage) - (int(cached[1]) if cached else 0) if usage.isdecimal() else own
                yield int(limit) - used


def _unmapped(root: str, status: str) -> Iterator[int]:
    """What the process has not used of the limit of its address space, if there is one."""
    limit = re.search(r"^Max address space +(\d+) ", _text(root, "proc/self/limits"), re.MULTILINE)
    mapped = _kibibytes(status, "VmSize")
    if limit and mapped is not None:
        yield int(limit[1]) - mapped


def _kibibytes(text: str, name: str) -> int | None:
    """The bytes that a line such as "VmRSS:   123 kB" says."""
    for line in text.splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return None


def _text(root: str, path: str) -> str:
    try:
        return files.read_bytes(files.join(root, path)).decode()
    except OSError:
        return ""


def load_tensorflow() -> None:
    """Imports TensorFlow and finds its devices; what native code writes to standard error meanwhile is for run.log.

    Where this process keeps none, that is held back, but shown all the same if the import fails, or if
    TF_CPP_MIN_LOG_LEVEL=0 asks for everything.
    """
    if run_log.attach():
        import numpy as np
        import tensorflow as tf

        tf.config.list_physical_devices()
        run_log.note(f"TensorFlow {tf.__version__}, NumPy {np.__version__}, {threads()}")
        return
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
