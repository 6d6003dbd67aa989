"""Which part a file is in."""

import hashlib
import re

import pytest

from fcn_tf.config import Config
from fcn_tf.errors import UserError
from fcn_tf.io import parts
from fcn_tf.io.parts import Part

NAMES = [f"x/photo{number}.jpg" for number in range(1000)]


def test_each_file_is_in_one_part():
    for count in (1, 2, 7):
        held = [[name for name in NAMES if Part(number, count).holds(name)] for number in range(1, count + 1)]
        assert sorted(name for part in held for name in part) == sorted(NAMES)
        assert min(map(len, held)) > 0.7 * 1000 / count


def test_the_part_follows_from_the_name_alone():
    """The same in every version and on every machine: parts that were done before stay so."""
    first = int(hashlib.sha256(b"x/photo0.jpg").hexdigest()[:16], 16) % 7 + 1
    assert [number for number in range(1, 8) if Part(number, 7).holds("x/photo0.jpg")] == [first]
    assert sum(Part(number, 2).holds("\udcff.jpg") for number in (1, 2)) == 1  # no UTF-8, as names of files may be


def test_names_of_what_each_part_writes():
    assert Part(2, 8).file("areas.csv") == "areas-2-of-8.csv" and parts.whole("areas-2-of-8.csv") == "areas.csv"
    assert parts.whole("areas.csv") == "areas.csv" and parts.whole("photo-1-of.jpg") == "photo-1-of.jpg"


@pytest.mark.parametrize(
    "text", ["0/4", "5/4", "1", "1/", "/1", "-1/4", "1/4/5", "a/b", "1.0/2", "1/100001", "١/2", " 1/2"]
)
def test_what_is_no_part(text):
    with pytest.raises(UserError, match=f"--part must be k/n such as 2/8, .* got {re.escape(repr(text))}"):
        Config(mode="predict", input="x", part=text)
    assert Config(mode="predict", input="x", part="04/4").part and parts.parse("4/4") == Part(4, 4)
