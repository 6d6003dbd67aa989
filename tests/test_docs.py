"""Documents that are run, and those that are made."""

import doctest
import json
import os

import pytest

from tests.conftest import ROOT
from tools import make_api_page


def test_the_page_about_python_runs_as_it_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    failed, tried = doctest.testfile(str(ROOT / "docs/python.md"), module_relative=False)
    assert tried > 20 and not failed


@pytest.mark.parametrize("name", ["fcn_tf.Segmenter", "fcn_tf.train_run", "fcn_tf.load_run", "Segmentation.overlay"])
def test_the_page_of_names_has_what_the_docstrings_say(name):
    assert f"{name}(" in make_api_page.page()


def test_the_page_of_names_is_current():
    text = (ROOT / make_api_page.PAGE).read_text()
    assert text == make_api_page.page(), "run python tools/make_api_page.py"


NOTEBOOK = ROOT / "docs/quickstart.ipynb"


def cells():
    return [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]


def test_the_notebook_is_kept_without_what_it_printed():
    assert len(cells()) >= 5 and not any(cell["outputs"] or cell["execution_count"] for cell in cells())


@pytest.mark.slow
def test_the_cells_of_the_notebook_lead_to_an_overlay(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for cell in cells():
        exec("".join(cell["source"]), names)
    assert names["run"].best["val_mean_iou"] > 0.3
    assert set(os.listdir("out")) == {"first_label.png", "first_overlay.png", "first_confidence.png"}


@pytest.mark.slow
def test_the_notebook_runs_in_jupyter(tmp_path):
    nbclient = pytest.importorskip("nbclient", reason="needs pip install nbclient ipykernel")
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel", reason="needs pip install nbclient ipykernel")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = nbclient.NotebookClient(notebook, timeout=1200, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    shown = [kind for cell in notebook.cells for output in cell.get("outputs", []) for kind in output.get("data", {})]
    assert shown.count("image/png") == 2
