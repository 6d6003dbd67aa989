"""A disk that takes no more, for tests: the system refuses to write past a size, as it does where no room is left."""

import contextlib
from collections.abc import Iterator

import pytest


@contextlib.contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """Within it, writing past so many bytes fails with EFBIG, in native code too; Python ignores SIGXFSZ."""
    resource = pytest.importorskip("resource")
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, former[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)
