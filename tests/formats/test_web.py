"""--format=web: the page is whole in itself, and labels a picture as the model does in a browser without a network."""

import base64
import gzip
import io
import json
import re
import tarfile
from pathlib import Path

import numpy as np
import pytest

from fcn_tf import export
from fcn_tf.data import datasets
from fcn_tf.errors import UserError
from fcn_tf.formats import web
from fcn_tf.formats.base import Source
from fcn_tf.io import images
from tests import browser, tiny_run
from tests.formats import web_runtime

RUNTIME = Path(__file__).parents[2] / "node_modules/onnxruntime-web"  # of `npm install onnxruntime-web`


def archive(path, files):
    """A .tgz as `npm pack` makes it."""
    with tarfile.open(path, "w:gz") as packed:
        for name, data in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(data)
            packed.addfile(member, io.BytesIO(data))
    return str(path)


def test_the_runtime_is_found_in_a_folder_and_in_an_archive(tmp_path):
    for runtime in (web_runtime.stub(tmp_path / "folder"), archive(tmp_path / "a.tgz", web_runtime.FILES)):
        web.require(runtime)
        for name, data in web_runtime.FILES.items():
            assert web._runtime_file(runtime, name) == data


def test_what_is_no_runtime_is_one_line(tmp_path):
    script, wasm = web_runtime.FILES
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").write_bytes(b"text")
    (tmp_path / "short.tgz").write_bytes(Path(archive(tmp_path / "a.tgz", web_runtime.FILES)).read_bytes()[:40])
    lacking = archive(tmp_path / "lacking.tgz", {script: b""})
    for runtime in (tmp_path / "none", tmp_path / "empty", tmp_path / "text", tmp_path / "short.tgz", lacking):
        with pytest.raises(UserError, match="npm install onnxruntime-web.*--web_runtime"):
            web.require(str(runtime))
    with pytest.raises(UserError, match="exports nothing"):
        web._global_names(b"var a=1;", "runtime")


def test_exports_become_a_global_name():
    text = web._global_names(web_runtime.FILES["dist/ort.wasm.bundle.min.mjs"], "runtime")
    assert text == b"var a={},T=1;globalThis.ort={env:a,Tensor:T};\n"


def test_what_is_packed_is_unpacked():
    data = np.random.default_rng(0).bytes(1000)
    script = web._pack("MODEL", data)
    assert script.startswith(b'globalThis.MODEL = "') and web._unpack(script) == data
    assert gzip.decompress(base64.b64decode(script.split(b'"')[1])) == data


def exported(tmp_path, monkeypatch, runtime):
    pytest.importorskip("tf2onnx", reason="needs the extra [onnx]")
    pytest.importorskip("onnxruntime", reason="needs the extra [onnx]")
    seen = np.arange(24 * 30).reshape(24, 30) // 10 % 3
    spec = tiny_run.DatasetSpec("tiny", ("red", "</script><b>", "blue"), tiny_run.COLORS, ignore_label=3)
    monkeypatch.setattr(datasets, "load", lambda *_, **flags: tiny_run.dataset([(seen, seen)], spec=spec))
    tiny_run.write_run(tmp_path / "logs", spec)
    assert export.run(tiny_run.config("export", tmp_path / "logs", format="web", web_runtime=runtime)) == 0
    return tmp_path / "logs/export/web"


def test_the_page_loads_nothing_from_elsewhere(tmp_path, monkeypatch):
    folder = exported(tmp_path, monkeypatch, web_runtime.stub(tmp_path / "runtime"))
    assert {path.name for path in folder.iterdir()} == {"index.html", "model.js", "runtime.js", "classes.json"}
    page = (folder / "index.html").read_text()
    assert re.findall(r'(?:src|href)="([^"]*)"', page) == ["runtime.js", "model.js"]
    assert "</script><b>" not in page  # the name of a class
    (classes,) = re.findall(r"^const CLASSES = (.*);$", page, re.M)
    assert json.loads(classes)[1]["name"] == "</script><b>"
    assert web._unpack((folder / "runtime.js").read_bytes()) == web_runtime.FILES["dist/ort-wasm-simd-threaded.wasm"]


@pytest.mark.parametrize(("longest_side", "chosen"), [(0, 512), (512, 512), (513, 1024), (1025, 0)])
def test_a_model_that_resizes_is_given_no_less_than_it_takes(tmp_path, monkeypatch, longest_side, chosen):
    monkeypatch.setattr(web.onnx, "content", lambda source, precision: b"")
    runtime = web_runtime.stub(tmp_path / "runtime")
    source = Source(None, {"classes": [], "longest_side": longest_side}, [], runtime)
    web.write(source, str(tmp_path), "float32")
    page = (tmp_path / "index.html").read_text()
    assert re.findall(r'<option value="(\d+)" selected>', page) == [str(chosen)]
    assert re.findall(r'<option value="(\d+)"', page) == ["256", "512", "1024", "0"]


# In place of ONNX Runtime Web: a pixel's label is its strongest channel; pictures of a width in `held` wait for that.
RUNS = b"""
const env = { wasm: {} };
class Tensor { constructor(type, data, dims) { Object.assign(this, { data, dims }); } }
const InferenceSession = { create: async () => ({ run: async ({ images: { data, dims } }) => {
  await globalThis.held?.[dims[2]];
  const labels = new Uint8Array(dims[1] * dims[2]).map((_, i) => {
    const channels = [...data.slice(3 * i, 3 * i + 3)];
    return channels.indexOf(Math.max(...channels));
  });
  return { labels: { data: labels }, confidence: { data: new Float32Array(labels.length).fill(1) } };
} }) };
export{env as env,Tensor as Tensor,InferenceSession as InferenceSession};"""


@pytest.fixture
def page(tmp_path, monkeypatch):
    """The page in a browser, with a stand-in for the model; what it saves, `pressed` gives."""
    monkeypatch.setattr(web.onnx, "content", lambda source, precision: b"")
    monkeypatch.setitem(web_runtime.FILES, "dist/ort.wasm.bundle.min.mjs", RUNS)
    classes = [{"name": f"<{color}>", "color": list(color)} for color in tiny_run.COLORS]
    source = Source(None, {"classes": classes, "longest_side": 0}, [], web_runtime.stub(tmp_path / "runtime"))
    web.write(source, str(tmp_path), "float32")
    with browser.page(f"file://{tmp_path}/index.html", tmp_path / "profile") as opened:
        opened.run(PREPARE)
        yield opened
        assert opened.said == []


PREPARE = """
globalThis.saved = {};
const blobs = {}, addressOf = URL.createObjectURL;
URL.createObjectURL = blob => { const address = addressOf(blob); blobs[address] = blob; return address; };
HTMLAnchorElement.prototype.click = function () { saved[this.download] = blobs[this.href]; };
globalThis.until = async happened => { while (!happened()) await new Promise(done => setTimeout(done, 20)); };
globalThis.says = () => document.getElementById("status").textContent;
globalThis.labelled = async start => { await until(() => says().startsWith(start)); return says(); };
globalThis.transfer = pictures => {
  const given = new DataTransfer();
  for (const picture of pictures) {
    const bytes = Uint8Array.from(atob(picture), letter => letter.charCodeAt(0));
    given.items.add(new File([bytes], "photo.png", { type: "image/png" }));
  }
  return given;
};
globalThis.give = {
  drop: pictures => dispatchEvent(new DragEvent("drop", { dataTransfer: transfer(pictures), cancelable: true })),
  paste: pictures => dispatchEvent(new ClipboardEvent("paste", { clipboardData: transfer(pictures) })),
  choose: pictures => {
    const input = document.getElementById("file");
    input.files = transfer(pictures).files;
    input.dispatchEvent(new Event("change"));
  },
};
globalThis.setSide = pixels => {
  document.getElementById("side").value = pixels;
  document.getElementById("side").dispatchEvent(new Event("change"));
};
globalThis.press = async (id, name) => {
  delete saved[name];
  document.getElementById(id).click();
  await until(() => saved[name]);
  return btoa(String.fromCharCode(...new Uint8Array(await saved[name].arrayBuffer())));
};
"""


def blocks(height, width, seed=0):
    """Class ids in squares of 50 pixels."""
    few = np.random.default_rng(seed).integers(0, 3, (-(-height // 50), -(-width // 50)))
    return few.repeat(50, 0).repeat(50, 1)[:height, :width]


def base64_of(labels):
    return base64.b64encode(images.encode_png(tiny_run.paint(labels))).decode()


def give(page, how, *pictures):
    page.run(f"give.{how}({json.dumps([base64_of(each) for each in pictures])})")


def pressed(page, button, name):
    """The file of this name that a button saves."""
    return base64.b64decode(page.run(f"press('{button}', '{name}')"))


@pytest.mark.browser
@pytest.mark.parametrize("how", ["drop", "paste"])
def test_another_side_labels_the_last_picture_again_however_it_came(page, how):
    give(page, "choose", blocks(300, 600))
    assert page.run("labelled('600×')").startswith("600×300 pixels, labelled at 512×256, ")
    give(page, how, blocks(600, 700))
    assert page.run("labelled('700×')").startswith("700×600 pixels, labelled at 512×439, ")
    page.run("setSide(256)")
    assert page.run("labelled('700×600 pixels, labelled at 256×219')")
    page.run("setSide(0)")
    assert re.fullmatch(r"700×600 pixels, \d+\.\d s", page.run("labelled('700×600 pixels, 0')"))
    give(page, "choose", blocks(300, 600))  # as before
    assert page.run("labelled('600×300')")


@pytest.mark.browser
def test_only_the_newest_picture_is_shown(page):
    page.run("globalThis.held = { 40: new Promise(done => { globalThis.release = done; }) }")
    give(page, "drop", blocks(20, 40))
    page.run("until(() => says() === 'Labelling…')")
    page.run("new Promise(done => setTimeout(done, 300))")  # by now it waits for the model
    give(page, "drop", blocks(20, 30), blocks(20, 50))
    assert page.run("labelled('30×20')")
    page.run("release()")
    page.run("new Promise(done => setTimeout(done, 300))")
    assert page.run("says()").startswith("30×20 pixels")
    assert page.run("['photo', 'labels'].map(id => document.getElementById(id).width)") == [30, 30]


@pytest.mark.browser
def test_what_is_saved_is_as_large_as_the_picture(page):
    labels = blocks(350, 600)
    labels[0, -1] = (labels[0, -1] + 1) % 3  # a pixel that is lost where the picture is made smaller
    give(page, "drop", labels)
    page.run("setSide(256)")
    assert page.run("labelled('600×350 pixels, labelled at 256×149')")
    found = images.decode_label(pressed(page, "save_labels", "labels.png"), name="labels.png")
    assert found.shape == labels.shape and (found == labels).mean() > 0.97
    page.run("setSide(0)")
    assert page.run("labelled('600×350 pixels, 0')")
    found = images.decode_label(pressed(page, "save_labels", "labels.png"), name="labels.png")
    np.testing.assert_array_equal(found, labels)
    page.run("setSide(256)")
    assert page.run("labelled('600×350 pixels, labelled')")
    page.run("document.getElementById('opacity').value = 0")
    overlay = images.decode_image(
        base64.b64decode(page.run("press('save_overlay', 'overlay.png')")), name="overlay.png"
    )
    np.testing.assert_array_equal(overlay, tiny_run.paint(labels))


CHOOSE = """(async () => {
  const bytes = Uint8Array.from(atob("PICTURE"), letter => letter.charCodeAt(0));
  const chosen = new DataTransfer(), input = document.getElementById("file");
  chosen.items.add(new File([bytes], "photo.png", { type: "image/png" }));
  input.files = chosen.files;
  input.dispatchEvent(new Event("change"));
  const wait = () => new Promise(done => setTimeout(done, 50));
  while (!/pixels,|cannot/.test(document.getElementById("status").textContent)) await wait();
  return document.getElementById("status").textContent;
})()"""
DRAWN = """(() => {
  const canvas = document.getElementById("labels");
  return [...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data];
})()"""
POINT = """(() => {
  const view = document.getElementById("photo").getBoundingClientRect();
  document.getElementById("view").dispatchEvent(new PointerEvent("pointermove",
    { clientX: view.left + view.width * 0.99, clientY: view.top + 0.5 }));
  return document.getElementById("point").textContent;
})()"""


@pytest.mark.browser
def test_a_picture_is_labelled_in_a_browser(tmp_path, monkeypatch):
    if not RUNTIME.is_dir():
        pytest.skip("needs `npm install onnxruntime-web`")
    folder = exported(tmp_path, monkeypatch, str(RUNTIME))
    labels = np.random.default_rng(0).integers(0, 3, (23, 37))
    labels[0, -1] = 2
    picture = base64.b64encode(images.encode_png(tiny_run.paint(labels))).decode()
    with browser.page(f"file://{folder}/index.html", tmp_path / "profile") as page:
        assert page.run(CHOOSE.replace("PICTURE", picture)).startswith("37×23 pixels")
        drawn = np.array(page.run(DRAWN), np.uint8).reshape(23, 37, 4)
        np.testing.assert_array_equal(drawn[..., :3], tiny_run.paint(labels))
        assert re.fullmatch(r"blue, \d+\.\d % at 36, 0", page.run(POINT))
        page.run("document.querySelector('#legend input').click()")  # switches the most frequent class off
        left = np.array(page.run(DRAWN), np.uint8)[3::4] > 0
        assert left.sum() == labels.size - np.bincount(labels.ravel()).max()
        assert page.run("document.documentElement.scrollWidth <= innerWidth")
        assert page.run("performance.getEntriesByType('resource').every(each => each.name.startsWith('file:'))")
        assert page.said == []
