"""The page in a browser: a picture is dropped, read by point and keys, classes are switched off, files are saved."""

import asyncio
import base64
import contextlib
import json
import queue
import shutil
import subprocess
import threading

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="needs the extra [serve]")

import uvicorn

import fcn_tf
from fcn_tf.io import images
from fcn_tf.serving import server
from fcn_tf.serving.app import Server
from fcn_tf.serving.limits import Limits
from tests import tiny_run

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SECONDS = 240
# 40 columns of red, 20 of green, 60 of blue.
CLASSES = np.repeat([0, 1, 2], [40, 20, 60])[None].repeat(90, 0)
PICTURE = images.encode_png(tiny_run.paint(CLASSES))

# What is done to the page; `note` keeps what is found.
SCRIPT = """
const wait = async happened => { while (!happened()) await new Promise(done => setTimeout(done, 20)); };
const idle = () => wait(() => !document.body.classList.contains("busy"));
const notes = {}, saved = {};
const note = (name, value) => notes[name] = value;
const blobs = {}, addressOf = URL.createObjectURL;
URL.createObjectURL = blob => { const address = addressOf(blob); blobs[address] = blob; return address; };
HTMLAnchorElement.prototype.click = function () { saved[this.download] = blobs[this.href]; };
const text = id => document.getElementById(id).textContent;
const drop = (data, name) => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([Uint8Array.from(atob(data), letter => letter.charCodeAt(0))], name));
  dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, cancelable: true }));
};
const color = (column, row) => [...colors.getContext("2d").getImageData(column, row, 1, 1).data];
const content = async blob => new Uint8Array(await blob.arrayBuffer());
const base64 = data => btoa(String.fromCharCode(...data));
(async () => {
  drop(PICTURE, "a.b.png");
  await idle();
  note("status", text("status"));
  note("legend", [...document.querySelectorAll("#classes label")].map(each => each.innerText.split(/\\s*\\n\\s*/)));
  note("alt", [photo.ariaLabel, colors.ariaLabel, stage.ariaLabel]);
  note("shown", color(50, 45));
  const box = colors.getBoundingClientRect();
  const at = { clientX: box.left + box.width * 50.5 / 120, clientY: box.top + box.height / 2 };
  stage.dispatchEvent(new PointerEvent("pointermove", at));
  note("pointed", text("readout"));
  stage.focus();
  const press = (key, shiftKey = false) => stage.dispatchEvent(new KeyboardEvent("keydown", { key, shiftKey }));
  press("ArrowRight", true);
  note("right", text("readout"));
  for (let i = 0; i < 99; i++) press("ArrowUp");
  note("top", text("readout"));
  document.querySelectorAll("#classes input")[1].click();
  note("off", [color(10, 45), color(50, 45)]);
  document.getElementById("none").click();
  note("none", color(50, 45));
  document.getElementById("all").click();
  const slider = document.getElementById("opacity");
  slider.value = 100;
  slider.dispatchEvent(new Event("input"));
  note("opacity", [text("percent"), colors.style.opacity]);
  document.getElementById("save_labels").click();
  document.getElementById("save_overlay").click();
  await wait(() => Object.keys(saved).length === 2);
  note("files", Object.keys(saved));
  for (const name in saved) note(name, base64(await content(saved[name])));
  drop("aGVsbG8=", "b.jpg");
  await idle();
  note("error", text("error"));
  note("wide", document.documentElement.scrollWidth > innerWidth);
})().catch(error => note("failed", String(error))).finally(() =>
  fetch("/notes", { method: "POST", body: JSON.stringify(notes) }));
"""


@contextlib.contextmanager
def running(app):
    """Serves an application on a free port of this machine; gives its address."""
    ready, bound = threading.Event(), server.bind("127.0.0.1", 0)
    uvicorn_server = uvicorn.Server(uvicorn.Config(app, log_level="error"))

    async def serve():
        task = asyncio.create_task(uvicorn_server.serve(sockets=[bound]))
        while not uvicorn_server.started:
            await asyncio.sleep(0.01)
        ready.set()
        await task

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(SECONDS)
        yield server.address(bound)
    finally:
        uvicorn_server.should_exit = True
        thread.join(SECONDS)


def with_script(app, script, take):
    """The same application, whose page at / runs a script of the test in addition; what it posts to /notes is taken."""

    async def extended(scope, receive, send):
        if scope.get("path") == "/notes":
            body, more = b"", True
            while more:
                message = await receive()
                body, more = body + message.get("body", b""), message.get("more_body", False)
            take(json.loads(body))

        async def insert(message):
            if message["type"] == "http.response.start":
                message["headers"] = [each for each in message["headers"] if each[0] != b"content-length"]
            elif scope.get("path") == "/":
                message["body"] = message["body"].replace(b"</body>", f"<script>{script}</script></body>".encode())
            await send(message)

        await app(scope, receive, insert)

    return extended


@pytest.mark.browser
@pytest.mark.parametrize("width", [1200, 500])
def test_the_page_in_a_browser(tmp_path, width):
    if CHROMIUM is None:
        pytest.skip("needs chromium")
    tiny_run.write_run(tmp_path)
    names, colors = tiny_run.SPEC.class_names, tiny_run.COLORS
    limits = Limits(upload_bytes=100_000, pixels=20_000, seconds=SECONDS, requests=8)
    made = Server(
        fcn_tf.Segmenter.from_run(tmp_path), class_names=names, colors=colors, title="tiny <run>", limits=limits
    )
    script = SCRIPT.replace("PICTURE", json.dumps(base64.b64encode(PICTURE).decode()))
    posted = queue.Queue()
    with running(with_script(made.app, script, posted.put)) as address:
        command = [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
            "--disable-background-networking", "--disable-component-update", f"--user-data-dir={tmp_path}/profile",
            "--enable-logging=stderr", f"--window-size={width},900", address,
        ]  # fmt: skip
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as browser:
            try:
                notes = posted.get(timeout=SECONDS)
            finally:
                browser.terminate()
            _, said = browser.communicate(timeout=SECONDS)
    made.stop()
    assert "failed" not in notes, notes
    sure = "58 %"  # e / (e + 2)
    assert notes["status"] == f"a.b.png: 120 x 90 pixels, mean confidence {sure}"
    assert notes["legend"] == [
        ["blue", f"confidence {sure}", "50 %"],
        ["red", f"confidence {sure}", "33 %"],
        ["green", f"confidence {sure}", "17 %"],
    ]
    assert notes["alt"] == ["a.b.png", "its classes: blue 50 %, red 33 %, green 17 %", "Labels of a.b.png"]
    assert notes["shown"] == [0, 255, 0, 255]
    assert notes["pointed"] == f"green, confidence {sure}column 50, row 45"
    assert notes["right"] == f"blue, confidence {sure}column 60, row 45"
    assert notes["top"] == f"blue, confidence {sure}column 60, row 0"
    assert notes["off"] == [[0, 0, 0, 0], [0, 255, 0, 255]] and notes["none"] == [0, 0, 0, 0]
    assert notes["opacity"] == ["100 %", "1"]
    assert notes["files"] == ["a.b_label.png", "a.b_overlay.png"]
    saved = {name: base64.b64decode(notes[name]) for name in notes["files"]}
    np.testing.assert_array_equal(images.decode_label(saved["a.b_label.png"], name="labels"), CLASSES)
    overlay = images.decode_image(saved["a.b_overlay.png"], name="overlay")
    np.testing.assert_array_equal(overlay, tiny_run.paint(CLASSES))
    assert "not a readable image" in notes["error"] and not notes["wide"]
    console = [line for line in said.splitlines() if ":CONSOLE" in line]
    # Of the last picture, as it should be, and of what the script above does.
    assert all("415" in line or "getImageData" in line for line in console), console
