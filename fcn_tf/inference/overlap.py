"""Reading, labelling and writing pictures at the same time. No TensorFlow."""

import collections
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_WRITERS = 2
_BACKLOG = 4  # results that wait to be written: bounds the memory

Item = TypeVar("Item")
Picture = TypeVar("Picture")
Labelled = TypeVar("Labelled")
Result = TypeVar("Result")


def overlapped(
    items: Iterable[Item],
    *,
    read: Callable[[Item], Picture],
    label: Callable[[Item, Picture], Labelled],
    write: Callable[[Item, Labelled], Result],
    alone: Callable[[Picture], bool] = lambda picture: False,
) -> Generator[tuple[Item, Future[Result]], None, None]:
    """While one item is labelled, in this thread, the next one is read, and those before are written, in others.

    Args:
      items: what to do, in this order.
      read: gives the picture of an item.
      label: labels it.
      write: writes what `label` gave.
      alone: whether a picture is so large that nothing else should be in memory.

    Yields:
      Each item, in order, with what `write` returned, or the exception of the first of the three that raised one.
    """
    queue = iter(items)
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(_WRITERS) as writers:
        written: collections.deque[tuple[Item, Future[Result]]] = collections.deque()
        upcoming = _next(queue, reader, read)
        while upcoming is not None:
            item, reading = upcoming
            upcoming = None
            result: Future[Result]
            try:
                picture = reading.result()
                if large := alone(picture):
                    yield from _drain(written, 0)
                else:
                    upcoming = _next(queue, reader, read)
                result = writers.submit(write, item, label(item, picture))
                del picture
            except Exception as error:
                large = False
                result = Future()
                result.set_exception(error)
            del reading
            written.append((item, result))
            yield from _drain(written, 0 if large else _BACKLOG)
            upcoming = upcoming or _next(queue, reader, read)
        yield from _drain(written, 0)


def _next(
    queue: Iterator[Item], reader: ThreadPoolExecutor, read: Callable[[Item], Picture]
) -> tuple[Item, Future[Picture]] | None:
    for item in queue:
        return item, reader.submit(read, item)
    return None


def _drain(written: collections.deque[tuple[Item, Future[Result]]], left: int) -> Iterator[tuple[Item, Future[Result]]]:
    """The oldest of what was submitted, once it is written, until so many are left."""
    while len(written) > left:
        item, result = written.popleft()
        result.exception()  # waits
        yield item, result
