"""From an application to a server: the socket, and signals that end it."""

import asyncio
import ipaddress
import logging
import signal
import socket
from collections.abc import Callable

import uvicorn

from fcn_tf.errors import UserError
from fcn_tf.serving.app import Server

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_LAST_SECONDS = 10.0  # for the model's thread, once all requests are answered


def bind(host: str, port: int) -> socket.socket:
    """A socket at an address, which does not listen yet; one that is taken should show before the model is loaded.

    Raises:
      UserError: if it cannot be had.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        found = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise UserError(f"--host={host} is no address ({_reason(error)}); give 127.0.0.1, or one of yours.") from None
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
    except OSError as error:
        found.close()
        raise UserError(
            f"--host={host} --port={port} cannot be listened on ({_reason(error)}); give another --port, or 0 for any "
            "free one."
        ) from None
    return found


def is_loopback(bound: socket.socket) -> bool:
    """Whether only this machine reaches it."""
    return ipaddress.ip_address(bound.getsockname()[0].partition("%")[0]).is_loopback


def address(bound: socket.socket) -> str:
    """What a browser opens."""
    host, port = bound.getsockname()[:2]
    if ipaddress.ip_address(host.partition("%")[0]).is_unspecified:
        host = socket.gethostname()
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def run(server: Server, bound: socket.socket, *, seconds: float, on_start: Callable[[], object]) -> int:
    """Serves until SIGINT or SIGTERM.

    Then requests that the model has are answered, all others are refused at once. A second SIGINT waits for nothing.

    Args:
      server: the application.
      bound: its socket.
      seconds: how long the last answers may take.
      on_start: is called once requests are taken.

    Returns:
      The exit status: 128 and the number of the signal.
    """
    config = uvicorn.Config(
        server.app,
        log_level="error",
        access_log=False,
        server_header=False,
        ws="none",
        timeout_graceful_shutdown=max(1, round(seconds)),
    )
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # tells of each damaged form
    received: list[int] = []
    former = {number: signal.signal(number, lambda number, _: received.append(number)) for number in _SIGNALS}
    try:
        # uvicorn has handlers of its own meanwhile, and hands signals on to these at the end.
        _Uvicorn(config, server, on_start).run(sockets=[bound])
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
    if len(received) < 2:
        server.join(_LAST_SECONDS)
    return 128 + received[0] if received else 0


class _Uvicorn(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, server: Server, on_start: Callable[[], object]):
        super().__init__(config)
        self._application, self._on_start = server, on_start

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        await asyncio.to_thread(self._on_start)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._application.stop()  # before it waits for all requests
        await super().shutdown(sockets)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
