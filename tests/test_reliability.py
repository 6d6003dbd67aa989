"""RELIABILITY.md promises nothing without a test that is there."""

import ast
import re

from tests.conftest import ROOT

PAGE = (ROOT / "RELIABILITY.md").read_text()


def test_every_test_that_is_named_exists():
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)
    assert len(named) > 40
    for path, name in named:
        functions = {node.name for node in ast.walk(ast.parse((ROOT / path).read_text())) if hasattr(node, "name")}
        assert name in functions, f"{path}::{name}"


def test_every_promise_names_one():
    promises = re.sub("<!-- soak:.*?<!-- end of results -->", "", PAGE, flags=re.DOTALL)  # of which a table has numbers
    rows = [line for line in promises.splitlines() if line.startswith("| ") and line != "| promise | test |"]
    assert rows and all(re.search(r"\| `tests/", row) for row in rows)
