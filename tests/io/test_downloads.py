import errno
import hashlib
import http.server
import io
import re
import threading
import urllib.error
from typing import Any

import numpy as np
import pytest

from fcn_tf.errors import UserError
from fcn_tf.io import downloads
from fcn_tf.io.downloads import Remote, fetch

DATA = np.random.default_rng(0).bytes(1_000_000)
PAGE = b"<!DOCTYPE html><html><body>Please sign in</body></html>"


class Host(http.server.ThreadingHTTPServer):
    """Serves `data` at every path, misbehaving as told; notes every request's Range header."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.data = DATA
        self.statuses = []  # answered in turn, before any 200
        self.cuts = []  # bytes sent before the connection is cut, in turn
        self.ignores_range = False
        self.tells_length = True
        self.content_type = "application/octet-stream"
        self.ranges = []
        self.sent = 0
        self.url = f"http://127.0.0.1:{self.server_port}/models/net.mat"

    def remote(self, **overrides):
        known: dict[str, Any] = {"size": len(DATA), "md5": hashlib.md5(DATA).hexdigest()}
        return Remote(self.url, **known | overrides)


class Handler(http.server.BaseHTTPRequestHandler):
    server: Host

    def do_GET(self):
        host = self.server
        host.ranges.append(self.headers.get("Range"))
        if host.statuses:
            self.send_error(host.statuses.pop(0))
            return
        start = 0
        if not host.ignores_range and (found := re.fullmatch(r"bytes=(\d+)-", host.ranges[-1] or "")):
            start = int(found[1])
            if start >= len(host.data):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(host.data)}")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(host.data) - 1}/{len(host.data)}")
        else:
            self.send_response(200)
        body = host.data[start:]
        self.send_header("Content-Type", host.content_type)
        if host.tells_length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if host.cuts:
            body = body[: host.cuts.pop(0)]
        host.sent += len(body)
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def host(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Host() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "models" / "net.mat"


def get(remote, path, **options):
    return fetch(remote, path, **{"progress": False, "backoff": 0.001} | options)


def error_of(remote, path, **options):
    """The message, one line; nothing may lie at `path` afterwards."""
    with pytest.raises(UserError) as caught:
        get(remote, path, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert not path.exists()
    return message


def part_of(path):
    return path.with_name(path.name + ".part")


def test_whole_file(host, path):
    assert get(host.remote(), path) == str(path)
    assert path.read_bytes() == DATA
    assert host.ranges == [None]
    assert [file.name for file in path.parent.iterdir()] == ["net.mat"]


def test_sha256_and_unknown_size(host, path):
    get(host.remote(size=None, md5=None, sha256=hashlib.sha256(DATA).hexdigest()), path)
    assert path.read_bytes() == DATA


def test_existing_file_is_used_whatever_its_size(host, path):
    path.parent.mkdir()
    path.write_bytes(b"put here by hand")
    assert get(host.remote(), path) == str(path)
    assert path.read_bytes() == b"put here by hand"
    assert host.ranges == []


@pytest.mark.parametrize("size", [len(DATA), None])
def test_goes_on_after_drops_without_sending_a_byte_twice(host, path, size):
    host.cuts = [300_000, 1, 400_000]
    get(host.remote(size=size), path)
    assert path.read_bytes() == DATA
    assert host.ranges == [None, "bytes=300000-", "bytes=300001-", "bytes=700001-"]
    assert host.sent == len(DATA)


def test_more_drops_than_attempts_are_fine_while_bytes_arrive(host, path):
    host.cuts = [100_000] * 8
    get(host.remote(), path, attempts=2)
    assert path.read_bytes() == DATA


def test_goes_on_after_a_killed_run(host, path):
    host.cuts = [300_000, 0]
    message = error_of(host.remote(), path, attempts=1)
    assert "300,000 bytes are kept" in message
    assert part_of(path).read_bytes() == DATA[:300_000]
    message = error_of(host.remote(), path, attempts=1)  # the second try brings nothing
    get(host.remote(), path)
    assert path.read_bytes() == DATA
    assert host.ranges == [None, "bytes=300000-", "bytes=300000-"]


def test_host_that_ignores_range_is_read_from_the_start(host, path):
    host.ignores_range = True
    host.cuts = [600_000, 300_000]
    get(host.remote(), path)
    assert path.read_bytes() == DATA
    assert host.ranges == [None, "bytes=600000-", "bytes=300000-"]


def test_host_that_ignores_range_and_always_drops_is_given_up(host, path):
    host.ignores_range = True
    host.cuts = [200_000] * 20
    assert "no success in 3 tries" in error_of(host.remote(), path, attempts=3)
    assert len(host.ranges) == 3


def test_length_untold(host, path):
    host.tells_length = False
    host.cuts = [200_000]
    get(host.remote(), path)
    assert path.read_bytes() == DATA
    assert len(host.ranges) == 2


def test_whole_part_is_only_checked(host, path):
    path.parent.mkdir()
    part_of(path).write_bytes(DATA)
    get(host.remote(), path)
    assert path.read_bytes() == DATA and host.ranges == []


def test_whole_part_of_unknown_size(host, path):
    path.parent.mkdir()
    part_of(path).write_bytes(DATA)
    get(host.remote(size=None), path)
    assert path.read_bytes() == DATA and host.sent == 0


@pytest.mark.parametrize("size", [len(DATA), None])
def test_part_that_is_too_long_starts_over(host, path, size):
    path.parent.mkdir()
    part_of(path).write_bytes(bytes(len(DATA) + 5))
    get(host.remote(size=size), path)
    assert path.read_bytes() == DATA


@pytest.mark.parametrize("remote", [{"md5": "0" * 32}, {"md5": None, "sha256": "0" * 64}])
def test_wrong_checksum_leaves_nothing(host, path, remote):
    message = error_of(host.remote(**remote), path)
    assert "expected 000000" in message and host.url in message
    assert not path.parent.exists()


def test_stale_part_is_caught_by_the_checksum_and_the_next_run_succeeds(host, path):
    path.parent.mkdir()
    part_of(path).write_bytes(b"another version")
    assert "md5" in error_of(host.remote(), path)
    get(host.remote(), path)
    assert path.read_bytes() == DATA


def test_another_size_is_refused_before_it_is_downloaded(host, path):
    message = error_of(host.remote(size=5), path)
    assert "1,000,000 bytes where 5 are expected" in message
    assert host.sent <= len(DATA) and not path.parent.exists()


@pytest.mark.parametrize("content_type", ["text/html; charset=utf-8", "application/octet-stream"])
def test_web_page_instead_of_the_file(host, path, content_type):
    host.data, host.content_type = PAGE, content_type
    message = error_of(host.remote(size=None), path)
    assert "web page (HTML)" in message and str(path) in message
    assert not path.parent.exists()


def test_not_found(host, path):
    host.statuses = [404]
    message = error_of(host.remote(), path)
    assert "HTTP 404" in message and host.url in message and f"put it at {path}" in message
    assert host.ranges == [None]
    assert not path.parent.exists()


def test_busy_host_is_asked_again(host, path):
    host.statuses = [503, 429]
    get(host.remote(), path)
    assert path.read_bytes() == DATA and len(host.ranges) == 3


def test_no_network(path, monkeypatch):
    def refuse(*args, **kwargs):
        raise urllib.error.URLError(OSError(errno.ENETUNREACH, "Network is unreachable"))

    monkeypatch.setattr(downloads.urllib.request, "urlopen", refuse)
    message = error_of(Remote("http://127.0.0.1/net.mat"), path, attempts=2)
    assert "no success in 2 tries" in message and "Network is unreachable" in message
    assert f"Download http://127.0.0.1/net.mat by other means and put it at {path}" in message


def test_waits_longer_after_each_failure(host, path, monkeypatch):
    waits: list[float] = []
    monkeypatch.setattr(downloads.time, "sleep", waits.append)
    host.statuses = [500] * 8
    error_of(host.remote(), path, attempts=8, backoff=1.0)
    assert waits == [1, 2, 4, 8, 16, 30, 30]


def test_full_disk_is_not_retried(host, path, monkeypatch):
    real_open = open

    class FullDisk(io.FileIO):
        def write(self, data):
            if self.tell() + len(data) > 100_000:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(data)

    def full(file, mode="r", buffering=-1):
        return FullDisk(file, "r+") if buffering == 0 else real_open(file, mode, buffering)

    monkeypatch.setattr(downloads, "open", full, raising=False)
    message = error_of(host.remote(), path)
    assert "No space left on device" in message and "Make room" in message
    assert len(host.ranges) == 1


def test_folder_that_cannot_be_made(host, tmp_path):
    (tmp_path / "models").write_bytes(b"a file")
    with pytest.raises(UserError, match="cannot be written"):
        get(host.remote(), tmp_path / "models" / "net.mat")
    assert host.ranges == []


def test_a_failure_leaves_no_folder_that_was_not_there(host, tmp_path):
    (tmp_path / "mine").mkdir()
    for folder in ("data/models", "mine/models"):
        host.statuses = [404]
        error_of(host.remote(), tmp_path / folder / "net.mat")
    assert [path.name for path in tmp_path.rglob("*")] == ["mine"]
    host.cuts = [300_000]
    error_of(host.remote(), tmp_path / "data/net.mat", attempts=1)
    assert (tmp_path / "data/net.mat.part").stat().st_size == 300_000  # to be resumed


def test_folder_in_the_place_of_the_file(host, tmp_path):
    with pytest.raises(UserError, match="is a folder"):
        get(host.remote(), tmp_path)


def test_progress_bar_goes_to_stderr(host, path, capsys):
    host.cuts = [300_000]
    get(host.remote(), path, progress=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "net.mat" in captured.err and "977k/977k" in captured.err
    assert "ended after 300,000 of 1,000,000 bytes; trying again" in captured.err


@pytest.mark.parametrize(
    ("remote", "name"),
    [
        (downloads.VGG19, "imagenet-vgg-verydeep-19.mat"),
        (downloads.VGG16, "imagenet-vgg-verydeep-16.mat"),
        (downloads.ADE20K, "ADEChallengeData2016.zip"),
    ],
)
def test_known_files(remote, name):
    assert remote.filename == name
    assert re.fullmatch(r"[0-9a-f]{32}", remote.md5 or "") or re.fullmatch(r"[0-9a-f]{64}", remote.sha256)
