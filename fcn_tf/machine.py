"""What this machine has: asked of Linux; elsewhere nothing is known. No TensorFlow."""

from collections.abc import Iterator

from fcn_tf import files


def memory_for_us(root: str = "/") -> int | None:
    """How many bytes this process may come to hold before memory runs out.

    That is what is free or can be made free, and what the process holds already, within the limits of its control
    groups (a container's).

    Args:
      root: where /proc and /sys are.

    Returns:
      Bytes, or None where nobody says.
    """
    free = _kibibytes(_text(root, "proc/meminfo"), "MemAvailable")
    own = _kibibytes(_text(root, "proc/self/status"), "VmRSS")
    if free is None or own is None:
        return None
    return min([free + own, *_limits(root)])


def _limits(root: str) -> Iterator[int]:
    """Of the control groups that this process is in, and of those around them."""
    for line in _text(root, "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":  # version 2
            folder, name = "sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):
            folder, name = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        groups = [part for part in path.split("/") if part]
        # A container may see its own group as the topmost: those below it are not there then.
        for depth in range(len(groups) + 1):
            limit = _text(root, files.join(folder, *groups[:depth], name)).strip()
            if limit.isdecimal():  # "max" is none
                yield int(limit)


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
