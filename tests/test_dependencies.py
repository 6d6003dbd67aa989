"""What setup.cfg requires has a lowest version, and what is installed is audited."""

import json

import pytest

from tests.conftest import ROOT
from tools import audit, lowest_versions

SETUP = """
[options]
install_requires =
    tensorflow~=2.21.0
    # why
    keras>=3.13.2,<3.16
    Pillow <14, >=12.2

[options.extras_require]
cuda =
    tensorflow[and-cuda]~=2.21.0
old =
    six
"""


def test_lowest_versions_by_hand():
    wanted = lowest_versions.requirements(SETUP, ["cuda"])
    assert lowest_versions.constraints(wanted) == ["Pillow==12.2", "keras==3.13.2", "tensorflow==2.21.0"]
    with pytest.raises(ValueError, match="six has no lowest version; write six>=VERSION"):
        lowest_versions.constraints(lowest_versions.requirements(SETUP, ["old"]))
    with pytest.raises(ValueError, match="no extra none; it has cuda, old"):
        lowest_versions.requirements(SETUP, ["none"])


def test_every_requirement_has_a_lowest_version(capsys):
    assert lowest_versions.main(["test", "serve"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {"tensorflow==2.21.0", "keras==3.15"} <= set(lines)
    assert len(lines) == len({line.partition("==")[0] for line in lines})  # extras agree
    assert lowest_versions.main(["none"]) == 2


def test_ceilings_are_where_private_names_are_used():
    """Keras' own are overridden in training/optimizers.py; TensorFlow and Keras release together."""
    wanted = lowest_versions.requirements((ROOT / "setup.cfg").read_text(), ["test"])
    assert {name.partition(">")[0].partition("~")[0] for name in wanted if "<" in name or "~" in name} == {
        "tensorflow",
        "keras",
    }


def report(**packages):
    """pip-audit's JSON; a package is its holes, or None where the service does not know it."""
    return json.dumps(
        {
            "dependencies": [
                {"name": name, "skip_reason": "Dependency not found"}
                if holes is None
                else {
                    "name": name,
                    "version": "1.0",
                    "vulns": [
                        {"id": hole, "fix_versions": ["1.1"], "aliases": [], "description": ""} for hole in holes
                    ],
                }
                for name, holes in packages.items()
            ]
        }
    )


@pytest.mark.parametrize(
    ("found", "status", "told"),
    [
        (report(numpy=[], fcn_tf=None), 0, "1 packages audited by pypi\nnot audited: fcn_tf\n"),
        (report(numpy=["PYSEC-1"]), 1, "1 packages audited by pypi\nPYSEC-1: numpy 1.0, mended in 1.1\n"),
    ],
)
def test_holes_fail_and_what_is_not_audited_is_said(found, status, told, capsys):
    assert audit.main(lambda service: audit.Answer(found, "")) == status
    assert capsys.readouterr().out == told


def test_a_service_that_is_not_there_is_said_and_the_next_is_asked(capsys):
    answers = {"pypi": audit.Answer(report(numpy=None), ""), "osv": audit.Answer("", "Traceback\nno route\n")}
    assert audit.main(answers.__getitem__) == 0
    assert capsys.readouterr().out == "not audited: pypi: it knows none of the packages; osv: no route\n"
    answers["osv"] = audit.Answer(report(numpy=["PYSEC-1"]), "")
    assert audit.main(answers.__getitem__) == 1


def test_exceptions_are_named_and_go_when_they_are_over(capsys, monkeypatch):
    monkeypatch.setattr(audit, "EXCEPTIONS", {"PYSEC-1": "never called", "PYSEC-2": "old"})
    assert audit.main(lambda service: audit.Answer(report(numpy=["PYSEC-1"]), "")) == 0
    told = capsys.readouterr().out
    assert "(excepted: never called)" in told and "PYSEC-2 is excepted and not there any more" in told
