"""Downloads large files: resumed after a drop, checked, and put in place only when whole.

The bytes go to `path + ".part"`, which survives a crash and is continued from by HTTP Range; `path` itself
appears by one atomic rename after size and checksum are right, so a partial file is never taken for the file.
"""

import contextlib
import hashlib
import http.client
import io
import os
import re
import time
import urllib.error
import urllib.request
from dataclasses import dataclass

from tqdm import tqdm

from fcn_tf.errors import UserError
from fcn_tf.io import files

_CHUNK = 1 << 18
_TIMEOUT_SECONDS = 30
_LONGEST_WAIT_SECONDS = 30.0
_TRANSIENT_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
# What a broken connection looks like; HTTPError and URLError are OSErrors too.
_NETWORK_ERRORS = (OSError, http.client.HTTPException)


@dataclass(frozen=True)
class Remote:
    """A file on the web, and how to know that it arrived unharmed.

    Attributes:
      url: where it is.
      size: bytes, or None where unknown.
      md5: hexadecimal digest, or None.
      sha256: hexadecimal digest, or None.
    """

    url: str
    size: int | None = None
    md5: str | None = None
    sha256: str | None = None

    @property
    def filename(self) -> str:
        """The last component of the URL."""
        return self.url.rpartition("/")[2]


VGG19 = Remote(
    "https://www.vlfeat.org/matconvnet/models/imagenet-vgg-verydeep-19.mat",
    size=534_904_783,
    md5="106118b7cf60435e6d8e04f6a6dc3657",
)
VGG16 = Remote(
    "https://www.vlfeat.org/matconvnet/models/imagenet-vgg-verydeep-16.mat",
    md5="f72d927587ca4c97fbd165ec9cb9997f",
)
ADE20K = Remote(
    "http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip",
    size=967_382_037,
    sha256="7ff1be44964418441f542a7cc1e1a650e7dc0fc275f5d23252bc9bbdbc977b29",
)


def looks_like_html(head: bytes) -> bool:
    """Whether a file that starts with `head` is a web page, such as a host's login or error page."""
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return start.startswith((b"<!doctype html", b"<html", b"<head", b"<!--"))


def fetch(
    remote: Remote, path: str | os.PathLike, *, progress: bool = True, attempts: int = 5, backoff: float = 1.0
) -> str:
    """Downloads a file unless it is there already.

    A file that lies at `path` is used as it is, whatever its size: hosts carry several versions under one
    name, and whoever put it there meant it. Whether it is any good is for its reader to say.

    Args:
      remote: what to download.
      path: where to put it; its folder is made where missing.
      progress: whether to draw a progress bar on stderr.
      attempts: how many connections to try; the count starts anew whenever one brings new bytes.
      backoff: seconds to wait after the first failed try; doubled after each further one.

    Returns:
      `path`.

    Raises:
      UserError: if the file cannot be had: no network, not found, a web page in its place, another checksum,
        no room on the disk.
    """
    path = os.fspath(path)
    if files.is_dir(path):
        raise UserError(f"{path}: is a folder; the file {remote.filename} from {remote.url} belongs there.")
    if files.exists(path):
        return path
    by_hand = f"Download {remote.url} by other means and put it at {path}."
    if files.is_remote(path):
        raise UserError(f"{path}: no such file, and downloads only go to local folders. {by_hand}")
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(files.made(os.path.dirname(path)))
            with open(path + ".part", "ab"):
                pass
        except OSError as error:
            raise UserError(f"{path}: cannot be written: {error.strerror}. Choose another folder.") from None
        _complete(remote, path, by_hand, progress=progress, attempts=attempts, backoff=backoff)
    return path


def _complete(remote: Remote, path: str, by_hand: str, *, progress: bool, attempts: int, backoff: float) -> None:
    """Downloads to `path + ".part"`, which is there, checks it and moves it to `path`; see `fetch`."""
    part = path + ".part"
    try:
        with tqdm(desc=remote.filename, unit="B", unit_scale=True, unit_divisor=1024, disable=not progress) as bar:
            _download(remote, part, by_hand, bar, attempts=attempts, backoff=backoff)
        try:
            problem = _problem(remote, part)
            if problem:
                os.unlink(part)
            else:
                os.replace(part, path)
                files.flush(os.path.dirname(path) or ".")
        except OSError as error:
            raise UserError(f"{path}: cannot be written: {error.strerror}. Choose another folder.") from None
        if problem:
            raise UserError(f"{remote.url}: {problem}; the download was deleted. Run again, or: {by_hand}")
    finally:
        if os.path.exists(part) and not os.path.getsize(part):
            os.unlink(part)


def _download(remote: Remote, part: str, by_hand: str, bar: tqdm, *, attempts: int, backoff: float) -> None:
    """Adds to `part` until it is whole, over as many connections as it takes."""
    if remote.size is not None and os.path.getsize(part) > remote.size:
        os.truncate(part, 0)
    furthest = os.path.getsize(part)
    failures = 0
    while remote.size is None or os.path.getsize(part) < remote.size:
        try:
            _transfer(remote, part, by_hand, bar)
            return
        except _NETWORK_ERRORS as error:
            if isinstance(error, urllib.error.HTTPError) and error.code not in _TRANSIENT_STATUSES:
                raise UserError(f"{remote.url}: HTTP {error.code} {error.reason}. {by_hand}") from None
            reason = getattr(error, "reason", None) or str(error) or type(error).__name__
        # Only new bytes count: a host without Range that always drops would go on for ever.
        reached = os.path.getsize(part)
        failures = 1 if reached > furthest else failures + 1
        furthest = max(furthest, reached)
        if failures >= attempts:
            raise UserError(
                f"{remote.url}: no success in {attempts} tries ({reason}), {reached:,} bytes are kept. "
                f"Check the network and run again, or: {by_hand}"
            )
        bar.set_postfix_str(f"{reason}; trying again")
        time.sleep(min(backoff * 2 ** (failures - 1), _LONGEST_WAIT_SECONDS))


def _transfer(remote: Remote, part: str, by_hand: str, bar: tqdm) -> None:
    """One connection: continues `part` where it ends, up to the end of the file.

    Raises:
      OSError: (or HTTPException) if the connection fails or ends early; what arrived is in `part`.
      UserError: if trying again would not help.
    """
    have = os.path.getsize(part)
    headers = {"User-Agent": "fcn_tf", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        request = urllib.request.Request(remote.url, headers=headers)
        response = urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS)  # nosec B310  # an address from this file
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != 416:
            raise
        # Nothing after `have`: either the file is whole, or `part` belongs to another version of it.
        if error.headers.get("Content-Range", "").rpartition("/")[2] == str(have):
            return
        os.truncate(part, 0)
        raise ConnectionError("the host has no such range") from None
    with response:
        start, total = _extent(response)
        if start not in (0, have):
            raise ConnectionError(f"asked for bytes from {have}, got them from {start}")
        if response.headers.get_content_type() == "text/html":
            raise UserError(f"{remote.url}: the host sent a web page (HTML) instead of the file. {by_hand}")
        if remote.size is not None and total not in (None, remote.size):
            raise UserError(
                f"{remote.url}: the host offers {total:,} bytes where {remote.size:,} are expected. {by_hand}"
            )
        expected = remote.size if total is None else total
        bar.total, bar.n, bar.postfix = expected, start, None
        bar.refresh()
        # Unbuffered: closing a buffered file on a full disk raises again, as if the connection had broken.
        with open(part, "r+b", buffering=0) as file:
            # From the beginning where the host ignores Range.
            file.truncate(start)
            file.seek(start)
            while chunk := response.read(_CHUNK):
                _write(file, chunk, part)
                bar.update(len(chunk))
            end = file.tell()
    # read() ends quietly when the connection is cut.
    if expected is not None and end < expected:
        raise ConnectionError(f"the connection ended after {end:,} of {expected:,} bytes")


def _extent(response: http.client.HTTPResponse) -> tuple[int, int | None]:
    """The position of the first byte that the response brings, and the file's size (None where not told)."""
    if response.status == 206:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", "").strip())
        if not found:
            raise ConnectionError("a partial answer without a Content-Range")
        return int(found[1]), None if found[2] == "*" else int(found[2])
    length = response.headers.get("Content-Length")
    return 0, None if length is None else int(length)


def _write(file: io.FileIO, chunk: bytes, part: str) -> None:
    """Writes all of `chunk`; a disk's failure is a UserError, unlike the network's."""
    rest = memoryview(chunk)
    try:
        while rest:
            rest = rest[file.write(rest) :]
    except OSError as error:
        raise UserError(
            f"{part}: cannot be written: {error.strerror}. Make room and run again: the download is resumed."
        ) from None


def _problem(remote: Remote, path: str) -> str | None:
    """What shows that `path` is not the file that `remote` describes; None where nothing does."""
    with open(path, "r+b") as file:
        os.fsync(file.fileno())
        if looks_like_html(file.read(256)):
            return "the host sent a web page (HTML) instead of the file"
        size = os.path.getsize(path)
        if remote.size not in (None, size):
            return f"got {size:,} bytes, expected {remote.size:,}"
        for algorithm, want in (("md5", remote.md5), ("sha256", remote.sha256)):
            if want is None:
                continue
            file.seek(0)
            # Against accidents, not attackers; without the flag, FIPS systems refuse md5.
            digest = hashlib.new(algorithm, usedforsecurity=False)
            while block := file.read(_CHUNK):
                digest.update(block)
            if digest.hexdigest() != want.lower():
                return f"got {algorithm} {digest.hexdigest()}, expected {want}"
    return None
