"""How much the server takes in, and what it says beyond that."""

import asyncio
import collections
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

_UPLOADS, _PICTURES = 8, 2  # of the largest size, that are held at once


@dataclass(frozen=True)
class Limits:
    """What is refused.

    Attributes:
      upload_bytes: of a body, at most.
      pixels: of a picture, at most.
      seconds: from a request to its answer, at most.
      requests: taken in at once, at most.
    """

    upload_bytes: int
    pixels: int
    seconds: float
    requests: int

    @property
    def held_bytes(self) -> int:
        """Of all bodies that are held at once; requests beyond it wait before they are read."""
        return _UPLOADS * self.upload_bytes

    @property
    def held_pixels(self) -> int:
        """Of all pictures between decoding and their encoded results; requests beyond it wait before decoding."""
        return _PICTURES * self.pixels


class Refusal(Exception):
    """A request that is not answered with labels.

    Attributes:
      status: of HTTP.
      headers: to send along.
    """

    def __init__(self, status: int, message: str, *, headers: dict[str, str] | None = None):
        """The message is one line: what is wrong, and how to fix it."""
        super().__init__(" ".join(message.split()))
        self.status, self.headers = status, headers or {}


def stopping() -> Refusal:
    """What those hear that wait when the server stops."""
    return Refusal(503, "the server is stopping; send the picture again later.", headers={"Retry-After": "5"})


class Room:
    """Bounds the sum of what is held at once. First come, first served, so that a large one is not starved.

    Args:
      size: the bound.
    """

    def __init__(self, size: int):
        self._size = self._free = size
        self._waiting: collections.deque[tuple[int, asyncio.Future[None]]] = collections.deque()

    @contextlib.asynccontextmanager
    async def hold(self, amount: int) -> AsyncIterator[None]:
        """Waits until there is room for so much, and holds it as long as the context lasts.

        Args:
          amount: what is more than the bound waits until nothing else is held.
        """
        amount = min(amount, self._size)
        await self._enter(amount)
        try:
            yield
        finally:
            self._leave(amount)

    async def _enter(self, amount: int) -> None:
        if not self._waiting and amount <= self._free:
            self._free -= amount
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((amount, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._waiting.remove((amount, turn))
                self._admit()  # those behind it may fit now
            else:
                self._leave(amount)
            raise

    def _leave(self, amount: int) -> None:
        self._free += amount
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self._waiting[0][0] <= self._free:
            amount, turn = self._waiting[0]
            if turn.cancelled():  # it removes itself when it runs
                return
            self._waiting.popleft()
            self._free -= amount
            turn.set_result(None)
