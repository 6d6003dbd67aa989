"""What every request passes before the routes see it: counting, the token, and bodies that nobody read."""

import asyncio
import hmac
import http.cookies
import ipaddress
import json
import time
import urllib.parse
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any

from fcn_tf.reports import html
from fcn_tf.serving.counters import Counters

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

_OPEN_PATHS = ("/healthz",)  # need no token
_PAGE = "/"
_LINGER_BYTES, _LINGER_SECONDS = 1 << 28, 5.0
# Nothing from elsewhere, whatever a class is called.
_HEADERS = (
    (b"content-security-policy", b"default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' "
     b"'unsafe-inline'; img-src 'self' blob: data:; connect-src 'self'; form-action 'self'; frame-ancestors 'self'; "
     b"base-uri 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)  # fmt: skip


def counted(app: App, counters: Counters, paths: Collection[str]) -> App:
    """Counts each request by path and status, and adds the headers that all answers have.

    Args:
      app: the application.
      counters: where to count.
      paths: those that are told apart; all others count as one.
    """

    async def count(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await app(scope, receive, send)
        began, status = time.monotonic(), 500

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        try:
            await app(scope, receive, note)
        finally:
            path = scope["path"] if scope["path"] in paths else "other"
            counters.request(path, status, time.monotonic() - began)

    return count


def drained(app: App) -> App:
    """Reads, before an error is sent, what is left of the body: closing the connection would lose the error."""

    async def drain(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await app(scope, receive, send)
        # Who asks before sending the body does not send it after an error.
        complete = any(name == b"expect" for name, _ in scope["headers"])

        async def watch() -> Message:
            nonlocal complete
            message = await receive()
            complete = complete or not message.get("more_body", False)
            return message

        async def discard() -> None:
            left = _LINGER_BYTES
            while not complete and left > 0:
                left -= len((await watch()).get("body", b""))

        async def finish(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] >= 400 and not complete:
                try:
                    await asyncio.wait_for(discard(), _LINGER_SECONDS)
                except TimeoutError:
                    pass
            await send(message)

        await app(scope, watch, finish)

    return drain


def guarded(app: App, *, token: str) -> App:
    """Lets in who shows the token; without one, who asks for this machine by one of its own names.

    The token is shown as `Authorization: Bearer TOKEN`, as `?token=TOKEN`, or by the cookie that opening the page with
    `?token=TOKEN` sets. Without a token, the Host header must be a loopback one: a page from elsewhere whose name leads
    to this machine (DNS rebinding) is kept out.

    Args:
      app: the application.
      token: the token, or "" where all of this machine may come in.
    """

    async def guard(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _OPEN_PATHS:
            return await app(scope, receive, send)
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if not token:
            if _is_loopback(headers.get("host", "")):
                return await app(scope, receive, send)
            text = "the Host header names another machine; use 127.0.0.1, or start the server with a --token."
            return await _reply(send, 403, _error(text))
        query = urllib.parse.parse_qs(scope["query_string"].decode("latin-1"))
        cookie = f"fcn_tf_token_{(scope.get('server') or ('', 0))[1]}"  # cookies do not tell ports apart
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        shown = query.get("token", [""])[-1]
        for each in (bearer.strip() if scheme.lower() == "bearer" else "", shown, _cookie(headers, cookie)):
            if each and hmac.compare_digest(each.encode(), token.encode()):
                break
        else:
            text = "a token is needed: Authorization: Bearer TOKEN, or ?token=TOKEN."
            if scope["path"] == _PAGE and "text/html" in headers.get("accept", ""):
                page = html.render("token.html", title="Token", wrong=bool(shown))
                return await _reply(send, 401, page, kind=b"text/html; charset=utf-8")
            return await _reply(send, 401, _error(text), (b"www-authenticate", b"Bearer"))
        if scope["path"] == _PAGE and shown:  # away from the address bar and the history
            keep = f"{cookie}={token}; HttpOnly; SameSite=Strict; Path=/".encode()
            return await _reply(send, 303, b"", (b"location", b"/"), (b"set-cookie", keep))
        return await app(scope, receive, send)

    return guard


def _cookie(headers: dict[str, str], name: str) -> str:
    try:
        found = http.cookies.SimpleCookie(headers.get("cookie", "")).get(name)
    except http.cookies.CookieError:
        return ""
    return found.value if found else ""


def _is_loopback(host: str) -> bool:
    """Whether a Host header, with or without a port, names this machine."""
    try:
        name = (urllib.parse.urlsplit(f"//{host}").hostname or "").rstrip(".")
        return name == "localhost" or name.endswith(".localhost") or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _error(text: str) -> bytes:
    return json.dumps({"error": text}).encode()


async def _reply(
    send: Send, status: int, body: bytes, *headers: tuple[bytes, bytes], kind: bytes = b"application/json"
) -> None:
    size = str(len(body)).encode()
    start = [(b"content-type", kind), (b"content-length", size), *headers]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": body})
