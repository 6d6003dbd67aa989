"""Files are opened in fcn_tf/io/files.py alone: there, named pipes, remote paths and half-written files are seen to."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "fcn_tf"

# Calls that open, move or remove a file by its path; "os" and the like stand for all in them that do.
CALLS = {
    "open", "io.open", "gzip.open", "bz2.open", "lzma.open", "tarfile.open", "zipfile.ZipFile", "Image.open",
    "np.load", "np.save", "np.savez", "np.savez_compressed", "np.loadtxt", "np.genfromtxt", "np.fromfile", "np.memmap",
    "cv2.imread", "cv2.imwrite", "scipy.io.loadmat", "scipy.io.savemat", "tf.io.read_file", "tf.io.write_file",
    "glob.glob", "glob.iglob", "shutil.move", "shutil.copy", "shutil.copyfile", "shutil.copytree", "shutil.rmtree",
    "tempfile.TemporaryFile", "tempfile.NamedTemporaryFile", "tempfile.TemporaryDirectory", "tempfile.mkstemp",
    *(f"os.{name}" for name in "open replace rename remove unlink truncate mkdir makedirs rmdir listdir scandir walk "
      "stat link symlink".split()),
    *(f"os.path.{name}" for name in "exists lexists isfile isdir islink getsize getmtime".split()),
}  # fmt: skip
METHODS = {"read_text", "write_text", "iterdir", "rglob"}  # of pathlib.Path, under whatever name
EXCEPTIONS = {
    ("command/main.py", "os.open"): "the null device, in place of a standard output that nobody reads any more",
    ("io/archives.py", "zipfile.ZipFile"): "given a stream",
    ("io/downloads.py", "open"): "a .part file, local by its nature, is appended to and resumed",
    ("io/downloads.py", "os.path.exists"): "the .part file",
    ("io/downloads.py", "os.path.getsize"): "the .part file",
    ("io/downloads.py", "os.replace"): "the .part file becomes the file",
    ("io/downloads.py", "os.truncate"): "the .part file starts anew",
    ("io/downloads.py", "os.unlink"): "the .part file is another one",
    ("io/fonts.py", "os.walk"): "only lists the fonts of this machine",
    ("io/run_log.py", "tempfile.TemporaryFile"): "what native code writes to standard error needs a file descriptor",
    ("io/system.py", "tempfile.TemporaryFile"): "what native code writes to standard error needs a file descriptor",
}


def calls(source):
    """The dotted names of `CALLS` and `METHODS` in `source` that may get a path: none that reads from memory."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        first = ast.unparse(node.args[0]) if node.args else ""
        if name in CALLS and not first.startswith("io.BytesIO(") and first not in streams(source):
            found.add(name)
        if isinstance(node.func, ast.Attribute) and node.func.attr in METHODS:
            found.add(node.func.attr)
    return found


def streams(source):
    """Names that are bound to open files and buffers: `with files.open_...(...) as NAME`, `NAME = io.BytesIO()`."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.withitem) and node.optional_vars is not None:
            if ast.unparse(node.context_expr).startswith(("files.open_regular(", "files.open_seekable(")):
                names.add(ast.unparse(node.optional_vars))
        if isinstance(node, ast.Assign):
            pairs = zip(elements(node.targets[0]), elements(node.value), strict=False)
            names.update(ast.unparse(target) for target, value in pairs if ast.unparse(value).startswith("io.BytesIO("))
    return names


def elements(node):
    """Those of a tuple; of anything else, itself."""
    return node.elts if isinstance(node, ast.Tuple) else [node]


def test_calls_are_told_apart():
    assert calls("open(path)\nnp.load(io.BytesIO(data))\nfiles.read_bytes(path)") == {"open"}
    assert calls("np.load(path)\nos.path.join(a, b)\nPath(a).read_text()\nos.replace(a, b)") == {
        "np.load",
        "read_text",
        "os.replace",
    }
    assert not calls("with files.open_regular(path) as stream:\n    zipfile.ZipFile(stream)")
    assert not calls("size, buffer = 1, io.BytesIO()\nnp.savez_compressed(buffer, a=a)")


def test_everything_that_opens_a_file_goes_through_files():
    found = set()
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if name != "io/files.py":
            found |= {(name, call) for call in calls(path.read_text())}
    assert found == set(EXCEPTIONS)
