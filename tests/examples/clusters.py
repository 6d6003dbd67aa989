"""Ray clusters that tests start on this machine, and the processes in them."""

import contextlib
import importlib.util
import os
import shutil
import tempfile
from pathlib import Path

import pytest

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None or not Path("/proc/self/stat").exists(),
    reason='needs Ray, on Linux: pip install "ray[train,data]"',
)


@contextlib.contextmanager
def environment():
    """Variables for a program that starts a cluster: no statistics are sent, files go to a folder that is removed."""
    folder = tempfile.mkdtemp(prefix="r", dir="/tmp")  # short: sockets lie in it, whose paths have a limit
    try:
        yield {"RAY_TMPDIR": folder, "RAY_USAGE_STATS_ENABLED": "0", "RAY_ADDRESS": ""}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def below(pid):
    """{process id: title} of the processes that a process has started, and those that these have."""
    found, parents = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):  # it has ended
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                title = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if fields[0] != "Z":
                    found[int(entry.name)], parents[int(entry.name)] = title, int(fields[1])
    within, more = set(), {pid}
    while more:
        within |= more
        more = {child for child, parent in parents.items() if parent in more}
    return {each: found[each] for each in within - {pid} if each in found}


def with_title(process, beginning):
    """The ids of those of a program's processes whose titles begin so."""
    return [pid for pid, title in below(process.pid).items() if title.startswith(beginning)]


def alive(pids):
    """Those that are still there."""
    return [pid for pid in pids if os.path.exists(f"/proc/{pid}")]
