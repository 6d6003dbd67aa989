"""From a request to its answer: within the limits, batched with others, given up where nobody waits for it."""

import asyncio
import concurrent.futures
import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from fastapi import Request

from fcn_tf.inference.segmentation import Segmentation
from fcn_tf.inference.segmenter import Segmenter
from fcn_tf.serving import uploads
from fcn_tf.serving.batching import Batcher
from fcn_tf.serving.counters import Counters
from fcn_tf.serving.limits import Limits, Refusal, Room, stopping


@dataclass
class _Progress:
    """How far a request has come."""

    uploaded: bool = False
    result: "concurrent.futures.Future[Segmentation] | None" = None

    @property
    def in_model(self) -> bool:
        """Whether stopping it would save nothing."""
        return self.result is not None and (self.result.running() or self.result.done())


class Service:
    """Labels pictures of many requests at once.

    Args:
      segmenter: the model.
      limits: what is refused.
      counters: what is counted.
    """

    def __init__(self, segmenter: Segmenter, limits: Limits, counters: Counters):
        self._limits = limits
        self._batcher = Batcher(segmenter, on_batch=counters.batch)
        self._uploads, self._pictures = Room(limits.held_bytes), Room(limits.held_pixels)
        self._open: dict[asyncio.Task[bytes], _Progress] = {}
        self._stopped = False

    @property
    def queue_length(self) -> int:
        """Pictures that wait for the model."""
        return len(self._batcher)

    @property
    def requests_open(self) -> int:
        """Requests that are not answered yet."""
        return len(self._open)

    @property
    def healthy(self) -> bool:
        """Whether pictures are labelled."""
        return self._batcher.alive

    def stop(self) -> None:
        """Refuses what the model has not begun; what it has is answered."""
        self._stopped = True
        self._batcher.stop()
        for task, progress in self._open.items():
            if not progress.in_model:
                task.cancel()

    def join(self, seconds: float) -> None:
        """Waits, after `stop`, for the model's thread."""
        self._batcher.join(seconds)

    async def answer(self, request: Request, encode: Callable[[Segmentation], bytes]) -> bytes:
        """Reads, decodes and labels the picture in a request.

        Args:
          request: its body is the picture, or a form with it.
          encode: makes the answer.

        Raises:
          Refusal: where a limit is passed, the picture cannot be read, or the server stops.
        """
        if self._stopped:
            raise stopping()
        if len(self._open) >= self._limits.requests:
            raise Refusal(
                429, f"{len(self._open)} requests are being answered; try again later.", headers={"Retry-After": "1"}
            )
        progress = _Progress()
        task = asyncio.create_task(self._answer(request, encode, progress))
        self._open[task] = progress
        try:
            async with asyncio.timeout(self._limits.seconds):
                return await task
        except TimeoutError:
            if progress.uploaded:
                text = f"there was no answer within {self._limits.seconds:g} s; try again later, or a smaller picture."
                raise Refusal(503, text, headers={"Retry-After": "5"}) from None
            raise Refusal(
                408, f"the picture did not arrive within {self._limits.seconds:g} s; send it again."
            ) from None
        except asyncio.CancelledError:
            if self._stopped and task.cancelled():
                raise stopping() from None
            raise
        finally:
            del self._open[task]

    async def _answer(self, request: Request, encode: Callable[[Segmentation], bytes], progress: _Progress) -> bytes:
        async with contextlib.AsyncExitStack() as held:
            async with self._uploads.hold(uploads.expected_bytes(request, self._limits)):
                data = await uploads.read(request, self._limits)
                progress.uploaded = True
                pixels = await asyncio.to_thread(uploads.count_pixels, data, self._limits)
                await held.enter_async_context(self._pictures.hold(pixels))
                picture = await asyncio.to_thread(uploads.decode, data)
                del data
            segmentation = await self._label(request, picture, progress)
            return await asyncio.to_thread(encode, segmentation)

    async def _label(self, request: Request, picture: np.ndarray, progress: _Progress) -> Segmentation:
        """Waits for the model, or until the client has gone."""
        progress.result = self._batcher.submit(picture)
        result, gone = asyncio.wrap_future(progress.result), asyncio.create_task(_disconnected(request))
        try:
            await asyncio.wait((result, gone), return_when=asyncio.FIRST_COMPLETED)
            if not result.done():
                raise Refusal(499, "the client has gone.")
            return result.result()
        finally:
            gone.cancel()
            result.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
