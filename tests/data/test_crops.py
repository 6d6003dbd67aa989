"""crops: how sizes and scales are written."""

import pytest

from fcn_tf.data.crops import Scales, as_size, format_size, parse_scales, parse_size


@pytest.mark.parametrize(("text", "size"), [("224", (224, 224)), ("360x480", (360, 480)), ("96x96", (96, 96))])
def test_sizes(text, size):
    assert parse_size(text) == size == parse_size(format_size(size))
    assert as_size(7) == (7, 7) and as_size((7, 9)) == (7, 9) and format_size(7) == "7"


@pytest.mark.parametrize(
    ("text", "scales", "again"),
    [
        ("0.5-2.0", Scales(0.5, 2.0), "0.5-2"),
        ("0.5,0.75,1,1.5", Scales(listed=(0.5, 0.75, 1.0, 1.5)), "0.5,0.75,1,1.5"),
        ("1", Scales(listed=(1.0,)), "1"),
        (".5-1.", Scales(0.5, 1.0), "0.5-1"),
    ],
)
def test_scales(text, scales, again):
    assert parse_scales(text) == scales and str(scales) == again and parse_scales(again) == scales


@pytest.mark.parametrize("text", ["", "2-0.5", "0-1", "0", "0.5,", "0.5,-1", "0.5-1-2", "1e-1-1", "half", "0.5 - 2"])
def test_what_is_no_scales(text):
    with pytest.raises(ValueError):
        parse_scales(text)


def test_a_range_is_log_uniform_and_a_list_is_uniform():
    assert [Scales(0.5, 2.0).at(share) for share in (0, 0.5)] == [0.5, 1.0]
    assert [Scales(listed=(1.0, 2.0)).at(share) for share in (0, 0.49, 0.5, 0.99)] == [1.0, 1.0, 2.0, 2.0]
