"""What a format needs beside TensorFlow: named where it is missing, and in docs/export.md in the same words."""

import importlib.util
import re

import pytest

from fcn_tf import formats, registry
from fcn_tf.errors import UserError
from tests.conftest import ROOT

PRECISIONS = [
    (name, precision)
    for name in registry.EXPORTS
    for precision in registry.resolve(registry.EXPORTS[name]).precisions
    if registry.resolve(registry.EXPORTS[name]).packages
]


@pytest.mark.parametrize(("name", "precision"), PRECISIONS)
def test_missing_packages_are_named_with_the_command_of_the_documents(name, precision, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda module: None)
    with pytest.raises(UserError, match=f"--format={name}.* not installed: pip install ") as caught:
        formats.entries([name], precision, web_runtime="")
    command = str(caught.value).partition("installed: ")[2]
    row = re.search(rf"^\| `{name}` \|.*", (ROOT / "docs/export.md").read_text(), re.M)
    assert row and f"`{command}`" in row[0]


def test_of_packages_that_are_there_in_part_the_command_names_all(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda module: None if module == "nncf" else module)
    with pytest.raises(UserError, match="needs nncf, which is not installed: pip install openvino nncf$"):
        formats.entries(["openvino"], "int8", web_runtime="")
