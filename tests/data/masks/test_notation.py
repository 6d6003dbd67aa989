"""Values and colours as they are typed."""

import pytest

from fcn_tf.data.masks import notation
from fcn_tf.errors import UserError


def test_values_and_colors_as_flags():
    assert notation.parse_values("0,255") == (0, 255)
    assert notation.parse_values("0-3,9") == (0, 1, 2, 3, 9)
    assert notation.format_values((0, 1, 2, 3, 9)) == "0-3,9"
    assert notation.parse_colors("000000,#ff0000") == notation.parse_colors("0,0,0;255,0,0") == ((0, 0, 0), (255, 0, 0))
    for parse, text in (
        (notation.parse_values, "a"),
        (notation.parse_values, "0,0"),
        (notation.parse_values, "70000"),
        (notation.parse_colors, "red"),
        (notation.parse_colors, "1,2,300"),
    ):
        with pytest.raises(UserError):
            parse(text)
