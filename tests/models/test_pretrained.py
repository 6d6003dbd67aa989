"""Which file a value of --weights stands for."""

import os
import time
import urllib.error
import urllib.request

import pytest

from fcn_tf.errors import UserError
from fcn_tf.io import downloads
from fcn_tf.models import pretrained


@pytest.mark.parametrize("name", ["tiny", "none", None])
def test_tiny_comes_with_the_package_and_none_takes_its_widths(name):
    path = pretrained.find(name)
    assert path == pretrained.embedded()
    assert os.path.basename(path) == "tiny-vgg19.mat" and os.path.dirname(path) == os.path.dirname(pretrained.__file__)


@pytest.mark.parametrize("name, remote", [("vgg19", downloads.VGG19), ("vgg16", downloads.VGG16)])
def test_known_names_are_fetched_to_model_dir_under_the_name_they_have_on_the_web(name, remote, monkeypatch, tmp_path):
    monkeypatch.setattr(downloads, "fetch", lambda what, path: f"{what.filename} at {path}")
    assert pretrained.find(name, str(tmp_path)) == f"{remote.filename} at {tmp_path}/{remote.filename}"
    assert remote.filename == f"imagenet-vgg-verydeep-{name[3:]}.mat"


def test_without_a_network_other_weights_are_named(monkeypatch, tmp_path):
    def refuse(*args, **options):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    with pytest.raises(UserError, match=r"no route.* put it at .*\. Without it: --weights=FILE\.mat .*--weights=tiny"):
        pretrained.find("vgg16", str(tmp_path / "models"))


@pytest.mark.parametrize("as_given", [str, lambda path: path], ids=["str", "Path"])
def test_a_path_is_itself(tmp_path, as_given):
    path = tmp_path / "net.mat"
    path.write_bytes(b"")
    assert pretrained.find(as_given(path)) == str(path)


@pytest.mark.parametrize(
    ("name", "told"),
    [("a.caffemodel", "of Caffe itself; expected its arrays in an .npz, which"), ("a.keras", "goes to --init_from.$")],
)
def test_files_of_other_kinds_are_told_with_what_takes_them(name, told, tmp_path):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(UserError, match=f"{name}: a .*{told}"):
        pretrained.read(str(tmp_path / name))


def test_a_missing_file_is_told_with_a_place_to_get_one():
    with pytest.raises(UserError) as caught:
        pretrained.find("no/such.mat")
    message = str(caught.value)
    assert "no/such.mat" in message and downloads.VGG19.url in message and "\n" not in message
