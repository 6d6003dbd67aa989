"""A folder with a page that labels pictures on the visitor's own device: no server, no network.

The page runs the ONNX model in ONNX Runtime Web. Browsers let a page from a disk load scripts and nothing else, so the
model and the runtime's WebAssembly lie in scripts, as base64 of gzip.
"""

import base64
import gzip
import io
import json
import re
import tarfile
from typing import Any

from fcn_tf.errors import UserError
from fcn_tf.formats import onnx
from fcn_tf.formats.base import Format, Runner, Source
from fcn_tf.io import archives, files
from fcn_tf.reports import html

_SIDES, _USUAL_SIDE = (256, 512, 1024), 512  # pixels that the page offers to bring pictures to, or else none
_FILE = "model.js"
_SCRIPT, _WASM = "dist/ort.wasm.bundle.min.mjs", "dist/ort-wasm-simd-threaded.wasm"
_EXPORTS = re.compile(rb"export\s*\{([^{}]*)\};?")
_PACKED = re.compile(rb'^globalThis\.(\w+) = "([A-Za-z0-9+/=]*)";\n$')


def write(source: Source, folder: str, precision: str) -> None:
    """Writes index.html, model.js and runtime.js."""
    script, wasm = (_runtime_file(source.web_runtime, name) for name in (_SCRIPT, _WASM))
    least = max(_USUAL_SIDE, source.metadata["longest_side"])  # a model that resizes is given no less than it takes
    page = html.render(
        "web.html",
        sides=_SIDES,
        side=next((side for side in _SIDES if side >= least), 0),
        title=f"{len(source.class_names)} classes: label a picture",
        classes=json.dumps(source.metadata["classes"]).replace("<", "\\u003c"),
        runtime=_global_names(script, source.web_runtime).decode().replace("</script", "<\\/script"),
    )
    files.write_bytes(files.join(folder, _FILE), _pack("MODEL", onnx.content(source, precision)))
    files.write_bytes(files.join(folder, "runtime.js"), _pack("RUNTIME", wasm))
    files.write_bytes(files.join(folder, "index.html"), page)


def load(folder: str) -> Runner:
    """Runs the model that the page carries; in ONNX Runtime, for a browser may not be here."""
    return onnx.runner(_unpack(files.read_bytes(files.join(folder, _FILE))))


def require(web_runtime: str) -> None:
    """Raises UserError unless `web_runtime` is the npm package onnxruntime-web."""
    for name in (_SCRIPT, _WASM):
        _runtime_file(web_runtime, name)


def _runtime_file(web_runtime: str, name: str) -> bytes:
    """A file of the npm package, from its folder or from the .tgz that npm packs."""
    fix = "run `npm install onnxruntime-web` here, or give --web_runtime: that folder, or what `npm pack` makes of it"
    if not files.exists(web_runtime):
        raise UserError(f"--format=web carries ONNX Runtime Web along, and {web_runtime} does not exist; {fix}.")
    try:
        if files.is_dir(web_runtime):
            return files.read_bytes(files.join(web_runtime, name))
        archive = tarfile.TarFile(fileobj=io.BytesIO(archives.gunzip(files.read_bytes(web_runtime))))
        with archive, archive.extractfile(f"package/{name}") or io.BytesIO() as member:
            return member.read()
    except (OSError, ValueError, LookupError, tarfile.TarError) as error:
        raise UserError(f"{web_runtime} is not the npm package onnxruntime-web: no {name} ({error}); {fix}.") from None


def _global_names(script: bytes, web_runtime: str) -> bytes:
    """The runtime's module as part of a page: what it exports becomes the global `ort`."""
    if not (found := _EXPORTS.search(script)):
        raise UserError(f"{web_runtime}: {_SCRIPT} exports nothing; expected onnxruntime-web 1.19 or newer.")
    pairs = (each.split(b" as ") for each in found[1].split(b","))
    names = b",".join(public.strip() + b":" + local.strip() for local, public in pairs)
    text = script[: found.start()] + b"globalThis.ort={" + names + b"};" + script[found.end() :]
    return re.sub(rb"//# sourceMappingURL=.*", b"", text)


def _pack(name: str, data: bytes) -> bytes:
    packed = base64.b64encode(gzip.compress(data, mtime=0))
    return b'globalThis.%s = "%s";\n' % (name.encode(), packed)


def _unpack(script: bytes) -> bytes:
    found: Any = _PACKED.match(script)
    return gzip.decompress(base64.b64decode(found[2]))


ENTRY = Format(
    write,
    load,
    file=_FILE,
    precisions=("float32", "int8"),
    packages=onnx.PACKAGES,
    require=require,
    memory=onnx.MEMORY,
)
