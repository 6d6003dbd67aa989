"""Which font a name is written in, and what is written where no font has its letters."""

import os

import matplotlib
import numpy as np
import pytest

from fcn_tf.data import palette
from fcn_tf.io import fonts

BUNDLED = os.path.join(os.path.dirname(matplotlib.__file__), "mpl-data", "fonts", "ttf")
CIRCLED = "\u24b6"  # a circled A: not in DejaVu Sans, but in STIX


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """A machine whose fonts are the ones given."""

    def has(*names):
        fonts._with_all.cache_clear()
        monkeypatch.setattr(fonts, "_system_fonts", lambda: [os.path.join(BUNDLED, name) for name in names])

    has()
    yield has
    fonts._with_all.cache_clear()


@pytest.mark.parametrize("name", ["road", "Straße", "дорога", "δρόμος", "", "two words"])
def test_most_letters_need_no_system_font(name):
    text, font = fonts.lettering(name, 13)
    assert text == name and font.getname() == ("DejaVu Sans", "Book")


def test_a_system_font_that_has_all_letters_is_taken(machine):
    machine("DejaVuSerif.ttf", "STIXGeneral.ttf")
    text, font = fonts.lettering(f"road {CIRCLED}", 13)
    assert text == f"road {CIRCLED}" and font.getname()[0] == "STIXGeneral" and font.size == 13


@pytest.mark.parametrize("available", [(), ("DejaVuSerif.ttf",), ("no such font.ttf",), ("STIXSizFourSymReg.ttf",)])
def test_letters_that_no_font_has_are_escaped(machine, available):
    machine(*available)
    text, font = fonts.lettering("road \u9053\u8def \U0001f6b2", 13)
    assert text == r"road \u9053\u8def \U0001f6b2" and font.getname()[0] == "DejaVu Sans"


def test_a_font_that_is_none_is_passed_over(machine, tmp_path):
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    machine(str(tmp_path / "broken.ttf"), "STIXGeneral.ttf")
    assert fonts.lettering(CIRCLED, 13)[1].getname()[0] == "STIXGeneral"


def test_fonts_of_many_letters_are_tried_first_and_placeholders_never(monkeypatch, tmp_path):
    for name in ("Arial.ttf", "NotoSansCJK-Regular.ttc", "LastResortHE-Regular.ttf", "readme.txt", "wqy-zenhei.ttc"):
        (tmp_path / name).touch()
    monkeypatch.undo()  # the list itself
    monkeypatch.setattr(fonts, "_FOLDERS", {fonts.sys.platform: (str(tmp_path),)})
    found = [os.path.basename(path) for path in fonts._system_fonts.__wrapped__()]
    assert found == ["NotoSansCJK-Regular.ttc", "wqy-zenhei.ttc", "Arial.ttf"]


def test_a_legend_writes_the_escape():
    escaped, plain = (palette.legend((name,), ((255, 0, 0),), width=200) for name in ("\u9053", r"\u9053"))
    np.testing.assert_array_equal(escaped, plain)
