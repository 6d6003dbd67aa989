"""The page in a browser: a picture is dropped or pasted, read by point and keys, classes switched off, files saved.

What is written on it can be read in light and dark, and on a phone.
"""

import asyncio
import base64
import contextlib
import dataclasses
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
from tests import browser, tiny_run

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
  drop("aGVsbG8=", "first.jpg");
  await idle();
  note("error at first", [text("status"), text("error"), document.getElementById("result").hidden]);
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
  note("below", text("status"));
  note("wide", document.documentElement.scrollWidth > innerWidth);
})().catch(error => note("failed", String(error))).finally(() =>
  fetch("/notes", { method: "POST", body: JSON.stringify(notes) }));
"""


LONG = "blue_or_whatever_else_somebody_may_have_called_a_class_without_a_space"
# What the tests below do to the page; `give` waits until a picture is labelled, or refused.
TOOLS = """
const give = async (event, data, name) => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([Uint8Array.from(atob(data), letter => letter.charCodeAt(0))], name));
  dispatchEvent(event(transfer));
  while (document.body.classList.contains("busy")) await new Promise(done => setTimeout(done, 20));
};
const drop = transfer => new DragEvent("drop", { dataTransfer: transfer, cancelable: true });
const paste = transfer => new ClipboardEvent("paste", { clipboardData: transfer });
const text = id => document.getElementById(id).textContent;
// What a colour becomes over those below it: [red, green, blue].
const painted = layers => {
  const context = new OffscreenCanvas(1, 1).getContext("2d");
  for (context.fillStyle of layers) context.fillRect(0, 0, 1, 1);
  return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
};
// The text and the ground of each element that shows text.
const inks = () => {
  const found = [], walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const element = walk.currentNode.parentElement, { color } = getComputedStyle(element), grounds = [];
    if (!walk.currentNode.textContent.trim() || !element.checkVisibility()) continue;
    for (let each = element; each; each = each.parentElement) grounds.unshift(getComputedStyle(each).backgroundColor);
    found.push([walk.currentNode.textContent.trim(), painted([...grounds, color]), painted(grounds)]);
  }
  return found;
};
"""


@pytest.fixture
def opened(tmp_path):
    """The page of a run that labels by colour, one of whose classes has a long name."""
    spec = dataclasses.replace(tiny_run.SPEC, class_names=("red", "green", LONG))
    tiny_run.write_run(tmp_path, spec)
    limits = Limits(upload_bytes=100_000, pixels=20_000, seconds=SECONDS, requests=8)
    made = Server(
        fcn_tf.Segmenter.from_run(tmp_path),
        class_names=spec.class_names,
        colors=spec.colors,
        title=f"runs/{'a' * 60}",
        limits=limits,
    )
    with running(made.app) as address, browser.page(address, tmp_path / "profile") as page:
        page.run(TOOLS)
        yield page
    made.stop()


def give(page, how, data, name):
    page.run(f"give({how}, {json.dumps(base64.b64encode(data).decode())}, {json.dumps(name)})")


def luminance(color):
    """WCAG 2's relative luminance of 8-bit sRGB."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in np.divide(color, 255)]
    return np.dot(linear, (0.2126, 0.7152, 0.0722))


def contrast(one, other):
    """WCAG 2's contrast ratio, 1 to 21."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


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
    assert notes["below"] == "Below is a.b.png, which was labelled before."
    status, error, hidden = notes["error at first"]
    assert (status, hidden) == ("", True) and "not a readable image" in error
    console = [line for line in said.splitlines() if ":CONSOLE" in line]
    # Of the last picture, as it should be, and of what the script above does.
    assert all("415" in line or "getImageData" in line for line in console), console


def test_contrast_by_hand():
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert contrast((118, 118, 118), (255, 255, 255)) == pytest.approx(4.54, abs=0.01)  # WebAIM's grey #767676


@pytest.mark.browser
def test_a_picture_is_pasted(opened):
    opened.run("dispatchEvent(new ClipboardEvent('paste', { clipboardData: new DataTransfer() }))")  # text, for one
    assert opened.run("document.getElementById('result').hidden") and not opened.run("text('status') + text('error')")
    give(opened, "paste", PICTURE, "image.png")
    assert opened.run("text('status')") == "image.png: 120 x 90 pixels, mean confidence 58 %"
    assert opened.run("document.querySelectorAll('#classes li').length") == 3
    assert opened.run("[...colors.getContext('2d').getImageData(50, 45, 1, 1).data]") == [0, 255, 0, 255]
    give(opened, "paste", b"hello", "b.png")
    assert "not a readable image" in opened.run("text('error')")


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(opened, scheme):
    opened.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    give(opened, "drop", PICTURE, "a.png")
    give(opened, "drop", b"hello", "b.png")
    opened.run("document.getElementById('stage').focus(), read(50, 45)")  # its class is marked in the legend
    found = opened.run("inks()")
    shown = " ".join(text for text, *_ in found)
    for part in ("Choose a picture", "not a readable image", "column 50", "Label PNG", "confidence 58 %", "HTTP API"):
        assert part in shown
    _, ink, ground = found[0]
    assert (luminance(ink) > luminance(ground)) == (scheme == "dark")
    faint = {text: contrast(ink, ground) for text, ink, ground in found if contrast(ink, ground) < 4.5}
    assert not faint


@pytest.mark.browser
def test_nothing_scrolls_sideways_on_a_phone(opened):
    opened.send("Emulation.setDeviceMetricsOverride", width=360, height=740, deviceScaleFactor=2, mobile=True)
    widths = "[innerWidth, document.documentElement.scrollWidth]"
    assert opened.run(widths) == [360, 360]
    give(opened, "drop", PICTURE, "a_picture_whose_name_is_long_and_without_a_space_in_it_as_cameras_make_them.png")
    opened.run("read(70, 45)")
    assert opened.run("document.querySelectorAll('#classes li').length") == 3 and LONG in opened.run("text('readout')")
    assert opened.run("document.querySelector('#readout .soft').offsetHeight") < 30, "the place takes one line"
    assert opened.run(widths) == [360, 360]
    # Every part lies within the width, also one that its parent would cut off.
    beyond = opened.run(
        "[...document.body.querySelectorAll('*')].filter(each => each.checkVisibility() "
        "&& each.getBoundingClientRect().right > innerWidth).map(each => each.outerHTML)"
    )
    assert beyond == []
    give(opened, "drop", b"hello", "b.png")
    assert opened.run(widths) == [360, 360]
