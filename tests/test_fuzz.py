"""A bounded fuzz of every reader (benchmarks/fuzz.py goes on for as long as wanted), and pictures cut short."""

import contextlib

import pytest

from fcn_tf.errors import UserError
from tests import fuzzing


@pytest.mark.parametrize("name", fuzzing.READERS)
def test_readers_give_something_or_one_line(name):
    fuzzing.fuzz(name, fuzzing.READERS[name], tries=60)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM"])
def test_pictures_cut_short_at_each_percent(form):
    data = fuzzing.picture(form)
    fuzzing.see(data)
    for percent in range(100):
        with contextlib.suppress(UserError):
            fuzzing.see(data[: len(data) * percent // 100])
