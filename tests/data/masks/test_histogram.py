"""What a mask stores, counted with and without its pixels."""

import numpy as np

from fcn_tf.data.masks import histogram
from tests.mask_files import encoded, sixteen_bits


def test_counting_alone_finds_what_decoding_finds():
    for data in (encoded([[0, 7], [7, 255]]), encoded([[[255, 0, 0], [0, 0, 1]]]), sixteen_bits()):
        pixels, found = histogram.decode(data, name="mask")
        assert pixels.dtype == np.int32 and histogram.count(data, name="mask") == found
        values, counts = np.unique(pixels, return_counts=True)
        assert found.counts == dict(zip(values.tolist(), counts.tolist(), strict=True))
