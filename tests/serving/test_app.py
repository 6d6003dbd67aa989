"""The HTTP API in process: forms of the answer, limits, errors of one line, batches, the token, stopping."""

import asyncio
import base64
import io
import json
import re
import tempfile
import zlib

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="needs the extra [serve]")
pytest.importorskip("httpx", reason="needs httpx")

import httpx
from PIL import Image

import fcn_tf
from fcn_tf.errors import OutOfMemory
from fcn_tf.io import images
from fcn_tf.serving import answers, uploads
from fcn_tf.serving.app import Server
from fcn_tf.serving.limits import Limits, Refusal
from tests import tiny_run
from tests.serving.held import HeldSegmenter

CLASSES = np.array([[0, 1, 2], [2, 2, 1]])
PICTURE = images.encode_png(tiny_run.paint(CLASSES))
NOISE = images.encode_png(np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8))
SURE = np.e / (np.e + 2)  # logits are 1 for the class seen and 0 for the two others
LIMITS = Limits(upload_bytes=100_000, pixels=10_000, seconds=300.0, requests=64)
SECONDS = 300


def server(segmenter, **changes):
    limits = Limits(**{**LIMITS.__dict__, **{name: changes.pop(name) for name in set(changes) & set(vars(LIMITS))}})
    names, colors = tiny_run.SPEC.class_names, tiny_run.COLORS
    return Server(segmenter, class_names=names, colors=colors, title="tiny <run>", limits=limits, **changes)


class Client:
    """Requests one at a time to an application; each has an event loop of its own."""

    def __init__(self, app):
        self.app = app

    def request(self, method, path, **how):
        async def send():
            async with connect(self.app) as client:
                return await client.request(method, path, **how)

        return asyncio.run(send())

    def get(self, path, **how):
        return self.request("GET", path, **how)

    def post(self, path="/v1/segment", **how):
        return self.request("POST", path, **how)


def connect(app):
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000", timeout=SECONDS)


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    folder = tmp_path_factory.mktemp("logs")
    tiny_run.write_run(folder)
    made = server(fcn_tf.Segmenter.from_run(folder))
    yield Client(made.app)
    made.stop()
    made.join(SECONDS)


def error_of(response):
    """The error, which is one line of JSON."""
    assert response.headers["content-type"] == "application/json", response.text
    found = response.json()
    assert list(found) == ["error"] and "\n" not in found["error"] and "Traceback" not in found["error"]
    return found["error"]


def labels_of(response):
    assert response.status_code == 200 and response.headers["content-type"] == "image/png", response.text
    return images.decode_label(response.content, name="answer")


@pytest.mark.parametrize(
    "how",
    [
        {"content": PICTURE},
        {"content": PICTURE, "headers": {"Content-Type": "image/png", "Accept": "image/png"}},
        {"files": {"image": ("a.png", PICTURE, "image/png")}},
        {"files": {"whatever": ("a", PICTURE)}, "data": {"note": "of no use"}},
    ],
    ids=["bytes", "typed bytes", "form", "form with a field"],
)
def test_bytes_and_forms_are_labelled_alike(client, how):
    np.testing.assert_array_equal(labels_of(client.post(**how)), CLASSES)


def test_json_by_hand(client):
    found = client.post(content=PICTURE, headers={"Accept": "application/json"}).json()
    assert (found["width"], found["height"], found["images"], found["planes"]) == (3, 2, {}, None)
    assert found["confidence"] == pytest.approx(SURE)
    assert [{**each, "confidence": pytest.approx(SURE)} for each in found["classes"]] == [
        {"id": 2, "name": "blue", "color": "#0000ff", "pixels": 3, "share": 1 / 2, "confidence": pytest.approx(SURE)},
        {"id": 1, "name": "green", "color": "#00ff00", "pixels": 2, "share": 1 / 3, "confidence": pytest.approx(SURE)},
        {"id": 0, "name": "red", "color": "#ff0000", "pixels": 1, "share": 1 / 6, "confidence": pytest.approx(SURE)},
    ]


def test_json_carries_pictures_and_planes_along(client):
    asked = {"format": "json", "include": "labels,photo, planes,overlay,confidence", "opacity": "1"}
    found = client.post(params=asked, content=PICTURE).json()
    decoded = {name: base64.b64decode(text) for name, text in found["images"].items()}
    assert set(decoded) == {"labels", "photo", "overlay", "confidence"}
    np.testing.assert_array_equal(images.decode_label(decoded["labels"], name="labels"), CLASSES)
    for name in ("photo", "overlay"):  # the colours at full strength are those of the picture
        np.testing.assert_array_equal(images.decode_image(decoded[name], name=name), tiny_run.paint(CLASSES))
    planes = {name: zlib.decompress(base64.b64decode(found["planes"][name])) for name in ("labels", "confidence")}
    assert found["planes"]["dtype"] == "uint8"
    np.testing.assert_array_equal(np.frombuffer(planes["labels"], np.uint8).reshape(2, 3), CLASSES)
    assert set(planes["confidence"]) == {round(255 * SURE)} and len(planes["confidence"]) == 6


def test_overlay_and_confidence_are_pictures(client):
    faint = client.post(params={"format": "overlay", "opacity": 0}, content=PICTURE)
    np.testing.assert_array_equal(images.decode_image(faint.content, name="overlay"), tiny_run.paint(CLASSES))
    confidence = client.post(params={"format": "confidence"}, content=PICTURE)
    assert set(labels_of(confidence).ravel()) == {round(255 * SURE)}


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("*/*", "labels"),
        ("", "labels"),
        ("image/*", "labels"),
        ("text/html, application/json", "json"),
        ("application/*;q=0.5, image/png;q=0.4", "json"),
        ("*/*;q=0.1, image/png", "labels"),
        ("*/*, image/*;q=0", "json"),
        ("image/png;q=0, image/*", None),
        ("text/html", None),
        ("image/png;q=x", None),
    ],
)
def test_accept_chooses_the_form(accept, form):
    if form:
        assert answers.choose_form(None, accept) == form
    else:
        with pytest.raises(Refusal, match="expected one of image/png, application/json") as found:
            answers.choose_form(None, accept)
        assert found.value.status == 406
    assert answers.choose_form("overlay", accept) == "overlay"


@pytest.mark.parametrize(
    ("path", "how", "status", "message"),
    [
        ("/v1/segment", {"content": b"hello"}, 415, "begins with b'hello'"),
        ("/v1/segment", {"content": b"\0\0\0\x18ftypheic"}, 415, "it is HEIC, which is not read"),
        ("/v1/segment", {"content": b""}, 422, "the body is empty"),
        ("/v1/segment", {"content": NOISE[: len(NOISE) // 2]}, 422, "not a readable image"),
        ("/v1/segment", {"content": PICTURE, "headers": {"Content-Encoding": "gzip"}}, 415, "'gzip' is not read"),
        ("/v1/segment?format=gif", {"content": PICTURE}, 422, "format: Input should be 'labels'"),
        ("/v1/segment?opacity=2", {"content": PICTURE}, 422, "opacity: .*less than or equal to 1"),
        ("/v1/segment?opacity=nan", {"content": PICTURE}, 422, "opacity: "),
        ("/v1/segment?format=json&include=x", {"content": PICTURE}, 422, "include: 'x' is unknown"),
        ("/v1/segment", {"content": PICTURE, "headers": {"Accept": "text/html"}}, 406, "Accept is 'text/html'"),
        ("/v1/segment", {"content": b"x", "headers": {"Content-Type": "multipart/form-data"}}, 422, "the form cannot"),
        (
            "/v1/segment",
            {"content": b"--a\r\n\r\n", "headers": {"Content-Type": "multipart/form-data; boundary=b"}},
            422,
            "the form",
        ),
        ("/v1/segment", {"files": [("a", b"1"), ("b", b"2")]}, 422, "several files"),
        ("/v1/segment", {"files": {"note": (None, b"text")}}, 422, "the form has no whole file"),
        ("/v1/segment", {"files": [(f"note{i}", (None, b"1")) for i in range(17)]}, 422, "more than 16 fields"),
        ("/v1/segment", {"content": b"0" * 100_001}, 413, r"more than 0\.1 MB"),
        ("/v1/segment", {"files": {"image": b"0" * 100_001}}, 413, r"more than 0\.1 MB"),
        ("/v2/segment", {"content": PICTURE}, 404, "POST /v2/segment: Not Found"),
        ("/v1/classes", {"content": PICTURE}, 405, "POST /v1/classes: Method Not Allowed"),
    ],
)
def test_a_mistake_is_one_line_of_json(client, path, how, status, message):
    response = client.post(path, **how)
    assert re.search(message, error_of(response)) and response.status_code == status


def test_a_body_of_unknown_length_is_cut_off_at_the_limit(client):
    sent = 0

    async def endless():
        nonlocal sent
        while sent < 100 * LIMITS.upload_bytes:
            sent += 10_000
            yield b"0" * 10_000

    assert client.post(content=endless()).status_code == 413


def test_large_pictures_are_refused_by_their_header(client, monkeypatch):
    large = images.encode_png(np.zeros((101, 100), np.uint8))
    monkeypatch.setattr(uploads, "decode", None)  # is not called
    response = client.post(content=large)
    assert response.status_code == 413 and "100x101 pixels, more than 0.01 million" in error_of(response)


def test_nothing_is_written_not_even_meanwhile(tmp_path, monkeypatch):
    held = HeldSegmenter()
    held.go_on.set()
    made = server(held, upload_bytes=5_000_000, pixels=2_000_000)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))  # a temporary file would be an error
    noise = np.random.default_rng(0).integers(0, 256, (900, 1000, 3), np.uint8)
    data = images.encode_png(noise)
    assert len(data) > 2_000_000  # more than forms keep in memory by default
    assert labels_of(Client(made.app).post(files={"image": data})).shape == (900, 1000)
    made.stop()


def malformed():
    """Pictures of several formats, cut off or with bytes changed, and forms likewise."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (20, 30, 3), np.uint8)
    found = []
    for form in ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM"):
        file = io.BytesIO()
        Image.fromarray(noise).save(file, form)
        data = file.getvalue()
        for length in rng.integers(1, len(data), 3):
            found.append((data[:length], "application/octet-stream"))
        for _ in range(5):
            changed = np.frombuffer(data, np.uint8).copy()
            changed[rng.integers(0, min(len(data), 200), 4)] = rng.integers(0, 256, 4)
            found.append((changed.tobytes(), "image/" + form.lower()))
    form = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n' + PICTURE + b"\r\n--b--\r\n"
    for _ in range(15):
        changed = np.frombuffer(form, np.uint8).copy()
        changed[rng.integers(0, len(form), 6)] = rng.integers(0, 256, 6)
        found.append((changed.tobytes()[: rng.integers(1, len(form))], "multipart/form-data; boundary=b"))
    found.append((form, "multipart/form-data; boundary=\xff"))
    found.append((form.replace(b"a.png", b"\xff\xfe"), "multipart/form-data; boundary=b; charset=nonsense"))
    return found


def test_malformed_bodies_never_end_in_a_fault(client):
    statuses = set()
    for data, kind in malformed():
        response = client.post(content=data, headers={"Content-Type": kind.encode("latin-1")})
        statuses.add(response.status_code)
        assert response.status_code in (200, 413, 415, 422), (response.text, data[:80], kind)
        if response.status_code != 200:
            assert error_of(response)
    assert {415, 422} <= statuses
    np.testing.assert_array_equal(labels_of(client.post(content=PICTURE)), CLASSES)


def test_what_may_be_asked_beside(client):
    assert client.get("/v1/classes").json() == {
        "classes": [
            {"id": 0, "name": "red", "color": "#ff0000"},
            {"id": 1, "name": "green", "color": "#00ff00"},
            {"id": 2, "name": "blue", "color": "#0000ff"},
        ]
    }
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/metrics").headers["content-type"].startswith("text/plain; version=0.0.4")
    described = client.get("/openapi.json").json()
    assert set(described["paths"]) == {"/v1/segment", "/v1/classes", "/healthz", "/metrics"}
    segment = described["paths"]["/v1/segment"]["post"]
    assert {"200", "413", "415", "422", "429", "503"} <= set(segment["responses"])
    assert set(segment["requestBody"]["content"]) == {"multipart/form-data", "application/octet-stream"}
    assert described["components"]["schemas"]["Format"]["enum"] == list(answers.FORMS)


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_pages_load_nothing_from_elsewhere(client, path):
    response = client.get(path)
    assert response.status_code == 200 and "default-src 'none'" in response.headers["content-security-policy"]
    loaded = re.findall(r'(?:src|href)="([^"]*)"', response.text)
    assert not any("//" in each for each in loaded) and "cdn" not in response.text
    for each in loaded:
        if each.startswith("/"):
            assert client.get(each).status_code == 200, each
    if path == "/":
        assert "tiny &lt;run&gt;" in response.text and "http:" not in response.text and "https:" not in response.text


def test_a_fault_is_counted_and_explained_in_one_line():
    held = HeldSegmenter()
    held.error = KeyError("boom")
    held.go_on.set()
    made = server(held)
    client = Client(made.app)
    response = client.post(content=PICTURE)
    assert response.status_code == 500 and "the server has failed (KeyError)" in error_of(response)
    held.error = OutOfMemory("there is not enough memory; make it smaller.")
    response = client.post(content=PICTURE)
    assert response.status_code == 503 and "not enough memory" in error_of(response)
    assert response.headers["retry-after"] == "5"
    text = client.get("/metrics").text
    for status in (500, 503):
        assert f'fcn_tf_requests_total{{path="/v1/segment",status="{status}"}} 1\n' in text
    made.stop()


@pytest.mark.parametrize("where", ["read_size", "decode_image"])
def test_a_picture_that_the_memory_does_not_suffice_for_is_not_called_damaged(monkeypatch, where):
    def fails(data, *, name):
        raise OutOfMemory(f"{name}: 0.1 GB are free")

    monkeypatch.setattr(images, where, fails)
    made = server(HeldSegmenter())
    response = Client(made.app).post(content=PICTURE)
    assert response.status_code == 503 and error_of(response) == "the picture: 0.1 GB are free"
    assert response.headers["retry-after"] == "5"
    made.stop()


def test_memory_that_runs_out_while_the_answer_is_made_is_no_fault(monkeypatch):
    def fails(*_):
        raise MemoryError

    monkeypatch.setitem(answers.FORMS, "labels", answers.FORMS["labels"]._replace(encode=fails))
    held = HeldSegmenter()
    held.go_on.set()
    made = server(held)
    response = Client(made.app).post(content=PICTURE)
    assert response.status_code == 503 and "the memory does not suffice" in error_of(response)
    made.stop()


async def until(happened):
    """Returns once `happened()` is true."""
    async with asyncio.timeout(SECONDS):
        while not happened():
            await asyncio.sleep(0.005)


def test_requests_are_batched_and_beyond_the_limit_refused():
    held = HeldSegmenter()
    made = server(held, requests=6)

    async def main():
        async with connect(made.app) as client:
            first = asyncio.create_task(client.post("/v1/segment", content=PICTURE))
            await until(held.began.is_set)
            others = [asyncio.create_task(client.post("/v1/segment", content=PICTURE)) for _ in range(5)]
            await until(lambda: made._service.queue_length == 5)
            metrics = (await client.get("/metrics")).text
            assert "fcn_tf_queue_length 5\n" in metrics and "fcn_tf_requests_open 6\n" in metrics
            refused = await client.post("/v1/segment", content=PICTURE)
            assert refused.status_code == 429 and refused.headers["retry-after"] == "1"
            assert "6 requests are being answered" in error_of(refused)
            held.go_on.set()
            for response in await asyncio.gather(first, *others):
                assert labels_of(response).shape == (2, 3)
            assert [pictures for pictures, _ in held.seen] == [1, 5]
            metrics = (await client.get("/metrics")).text
            assert "fcn_tf_requests_open 0\n" in metrics and "fcn_tf_batch_size_sum 6\n" in metrics

    asyncio.run(main())
    made.stop()


def test_who_waits_too_long_is_told_so():
    held = HeldSegmenter()
    made = server(held, seconds=0.5)
    response = Client(made.app).post(content=PICTURE)
    assert response.status_code == 503 and "no answer within 0.5 s" in error_of(response)
    assert response.headers["retry-after"] == "5"

    async def stalled():
        yield PICTURE[:10]
        await asyncio.sleep(SECONDS)

    async def main():
        async with connect(made.app) as client, asyncio.timeout(SECONDS):
            return await client.post("/v1/segment", content=stalled())

    response = asyncio.run(main())
    assert response.status_code == 408 and "did not arrive within 0.5 s" in error_of(response)
    assert made._service.requests_open == 0
    held.go_on.set()
    made.stop()


def test_stopping_answers_what_the_model_has_and_refuses_the_rest():
    held = HeldSegmenter()
    made = server(held)

    async def stalled():
        yield PICTURE[:10]
        await asyncio.sleep(SECONDS)

    async def main():
        async with connect(made.app) as client:
            begun = asyncio.create_task(client.post("/v1/segment", content=PICTURE))
            await until(held.began.is_set)
            waiting = asyncio.create_task(client.post("/v1/segment", content=PICTURE))
            arriving = asyncio.create_task(client.post("/v1/segment", content=stalled()))
            await until(lambda: made._service.queue_length == 1 and made._service.requests_open == 3)
            made.stop()
            late = await client.post("/v1/segment", content=PICTURE)
            for response in (await waiting, await arriving, late, await client.get("/healthz")):
                assert response.status_code == 503 and "the server is stopping" in error_of(response)
            held.go_on.set()
            np.testing.assert_array_equal(labels_of(await begun), np.zeros((2, 3)))

    asyncio.run(main())
    made.join(SECONDS)
    assert not made._service.healthy


def test_nothing_is_labelled_for_a_client_that_has_gone():
    held = HeldSegmenter()
    made = server(held)

    async def main():
        sent, left = [], asyncio.Event()

        async def receive():
            if not sent_body:
                sent_body.append(True)
                return {"type": "http.request", "body": PICTURE, "more_body": False}
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            sent.append(message)

        sent_body: list[bool] = []
        scope = {
            "type": "http", "method": "POST", "path": "/v1/segment", "query_string": b"", "http_version": "1.1",
            "headers": [(b"host", b"localhost")], "scheme": "http", "root_path": "", "server": ("127.0.0.1", 8000),
        }  # fmt: skip
        async with connect(made.app) as client:
            begun = asyncio.create_task(client.post("/v1/segment", content=PICTURE))
            await until(held.began.is_set)
            gone = asyncio.create_task(made.app(scope, receive, send))
            await until(lambda: made._service.queue_length == 1)
            left.set()
            await gone
            assert sent[0]["status"] == 499
            held.go_on.set()
            assert (await begun).status_code == 200
        made.stop()
        made.join(SECONDS)
        assert len(held.seen) == 1

    asyncio.run(main())


TOKEN = "correct-horse-battery"


@pytest.fixture(scope="module")
def locked():
    held = HeldSegmenter()
    held.go_on.set()
    made = server(held, token=TOKEN)
    yield Client(made.app)
    made.stop()


@pytest.mark.parametrize(
    ("how", "status"),
    [
        ({}, 401),
        ({"headers": {"Authorization": "Bearer wrong"}}, 401),
        ({"headers": {"Authorization": f"Basic {TOKEN}"}}, 401),
        ({"headers": {"Authorization": f"Bearer {TOKEN}"}}, 200),
        ({"headers": {"Authorization": f"bearer  {TOKEN}"}}, 200),
        ({"params": {"token": TOKEN}}, 200),
        ({"params": {"token": TOKEN + "x"}}, 401),
        ({"cookies": {"fcn_tf_token_8000": TOKEN}}, 200),
        ({"cookies": {"fcn_tf_token_8001": TOKEN}}, 401),
        ({"headers": {"Cookie": "\x01;=;"}}, 401),
        ({"headers": {"Host": "somewhere.example", "Authorization": f"Bearer {TOKEN}"}}, 200),
    ],
)
@pytest.mark.filterwarnings("ignore:Setting per-request cookies:DeprecationWarning")
def test_the_token_opens(locked, how, status):
    for path in ("/v1/classes", "/metrics", "/openapi.json", "/docs"):
        response = locked.get(path, **how)
        assert response.status_code == status
        if status == 401:
            assert "a token is needed" in error_of(response) and response.headers["www-authenticate"] == "Bearer"
    assert locked.post(content=PICTURE, **how).status_code == status
    assert locked.get("/healthz", **how).status_code == 200


def test_the_page_asks_for_the_token_and_keeps_it(locked):
    asked = locked.get("/", headers={"Accept": "text/html"})
    assert asked.status_code == 401 and 'name="token"' in asked.text and "not the token" not in asked.text
    assert "That is not the token" in locked.get("/?token=x", headers={"Accept": "text/html"}).text
    opened = locked.get(f"/?token={TOKEN}")
    assert (opened.status_code, opened.headers["location"]) == (303, "/")
    kept = opened.headers["set-cookie"]
    assert kept.startswith(f"fcn_tf_token_8000={TOKEN};") and "HttpOnly" in kept and "SameSite=Strict" in kept
    assert "Label a picture" in locked.get("/", headers={"Cookie": kept.partition(";")[0]}).text
    assert json.dumps(locked.get("/openapi.json?token=" + TOKEN).json()).count('"HTTPBearer"') > 1


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8000", 200),
        ("127.0.0.1", 200),
        ("127.1.2.3:80", 200),
        ("[::1]:8000", 200),
        ("a.localhost", 200),
        ("attacker.example", 403),
        ("127.0.0.1.attacker.example:8000", 403),
        ("192.168.0.1:8000", 403),
        ("[::1", 403),
    ],
)
def test_without_a_token_only_this_machine_is_meant(client, host, status):
    response = client.get("/v1/classes", headers={"Host": host})
    assert response.status_code == status
    assert status == 200 or "use 127.0.0.1" in error_of(response)
