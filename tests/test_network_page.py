"""docs/network.md: its numbers are those of the code, its pictures are there and small."""

import re

import keras
import pytest

from fcn_tf.models import heads, vgg
from fcn_tf.models.receptive_field import ReceptiveFields
from tests.conftest import ROOT

PAGE = (ROOT / "docs/network.md").read_text()
CONVOLUTIONS = {"VGG16": (2, 2, 3, 3, 3), "VGG19": (2, 2, 4, 4, 4)}  # a stage


@pytest.mark.parametrize("network", CONVOLUTIONS)
def test_the_table_of_receptive_fields(network):
    images = keras.Input((None, None, 3))
    widths = {f"conv{s}_{i}": 2 for s, count in enumerate(CONVOLUTIONS[network], 1) for i in range(1, count + 1)}
    features, _ = vgg.build_layers(images, widths, mean_rgb=(0, 0, 0))
    fields = ReceptiveFields(keras.Model(images, heads.fcn8s(features, images, num_classes=2, dropout_rate=0.0)))
    rows = re.findall(r"^\| (\w+)[^|]*\| (\d+) \| (\d+) \| (\d+) \|", PAGE, re.M)
    assert [name for name, *_ in rows] == ["pool1", "pool2", "pool3", "pool4", "pool5", "conv6", "logits"]
    for name, stride, *sides in rows:
        layer = "conv_t3" if name == "logits" else name
        side = dict(zip(CONVOLUTIONS, map(int, sides), strict=True))[network]
        assert (fields.stride(layer), fields.side(layer)) == (int(stride), side), name


def test_the_pictures_are_small():
    names = re.findall(r"\]\((network_\w+\.jpg)\)", PAGE)
    assert len(names) == 5
    for name in names:
        assert (ROOT / "docs" / name).stat().st_size < 150_000
