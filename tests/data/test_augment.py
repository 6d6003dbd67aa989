"""augment: turned, recoloured and class-aware crops; plain crops are in test_pipeline.py."""

import numpy as np
import pytest

from fcn_tf.data.augment import Augmentation, transform
from fcn_tf.data.base import Dataset, DatasetSpec, Example
from fcn_tf.data.crops import Scales
from fcn_tf.data.pipeline import training_batches

_STILL = {"flip": False, "scales": Scales(1.0, 1.0)}
_DRAWS = ("flip", "zoom", "down", "right", "turn", "centred", "chosen", "pixel", "brightness", "contrast", "saturation",
          "hue")  # fmt: skip


class _Drawn:
    """A generator whose numbers are given; 0.5 where they are not, the middle of everything."""

    def __init__(self, **numbers):
        self._numbers = [numbers.get(name, 0.5) for name in _DRAWS]

    def random(self, count):
        assert count == len(_DRAWS)
        return np.array(self._numbers)


def _noise(height, width, seed=0):
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 10, (height, width)).astype(np.int32)
    return np.repeat((20 * label).astype(np.uint8)[..., None], 3, axis=-1), label


@pytest.mark.parametrize(("turn", "quarters"), [(0.5, 0), (0.75, 1), (1.0, 2), (0.25, 3)])
def test_turns_by_right_angles(turn, quarters):
    image, label = _noise(9, 9)
    new = transform(image, label, size=9, rng=_Drawn(turn=turn), augment=Augmentation(**_STILL, rotate=180))
    np.testing.assert_array_equal(new[1], np.rot90(label, quarters))
    np.testing.assert_array_equal(new[0], np.rot90(image, quarters))


def test_corners_from_outside_are_ignored_or_mirrored():
    image, label = np.full((40, 40, 3), 90, np.uint8), np.ones((40, 40), np.int32)
    augment = Augmentation(**_STILL, rotate=45)
    photo, turned = transform(image, label, size=40, rng=_Drawn(turn=1.0), augment=augment, ignore_label=255)
    assert turned[0, 0] == turned[0, -1] == turned[-1, 0] == turned[-1, -1] == 255
    assert (turned[10:30, 10:30] == 1).all() and set(np.unique(turned)) == {1, 255}
    assert (photo == 90).all()
    _, mirrored = transform(image, label, size=40, rng=_Drawn(turn=1.0), augment=augment)
    assert (mirrored == 1).all()


def test_a_turned_crop_inside_of_the_photo_has_no_corners():
    image, label = np.zeros((100, 100, 3), np.uint8), np.ones((100, 100), np.int32)
    augment = Augmentation(**_STILL, rotate=45)
    _, turned = transform(image, label, size=40, rng=_Drawn(turn=1.0), augment=augment, ignore_label=255)
    assert (turned == 1).all()


@pytest.mark.parametrize("resize", ["area", "nearest"])
@pytest.mark.parametrize("size", [48, (36, 48)])
def test_turned_photos_and_masks_stay_aligned(resize, size):
    rows, columns = np.arange(60)[:, None] // 12, np.arange(92)[None] // 12
    label = ((3 * rows + columns) % 10).astype(np.int32)
    image = np.repeat((20 * label).astype(np.uint8)[..., None], 3, axis=-1)
    for seed in range(20):
        new, labels = transform(
            image, label, size=size, rng=np.random.default_rng(seed), augment=Augmentation(rotate=30, class_crops=0.5),
            resize=resize, ignore_label=255,
        )  # fmt: skip
        seen = labels != 255
        agree = np.abs(new[..., 0].astype(int) - 20 * labels)[seen] <= 10
        assert seen.mean() > 0.6 and agree.mean() > (0.99 if resize == "nearest" else 0.7)


# ---- photos brought to one size


@pytest.mark.parametrize(("height", "width"), [(200, 300), (300, 200), (40, 60)])
def test_a_crop_shows_what_it_shows_of_the_photo_brought_to_that_size(height, width):
    """Of a photo of 300 pixels brought to 60, a crop of 20 shows 100."""
    _, label = _noise(height, width)
    image = np.dstack([*np.indices(label.shape), label]).astype(np.uint8)
    new, labels = transform(image, label, size=20, rng=_Drawn(), augment=Augmentation(**_STILL), longest_side=60)
    shown = round(20 * max(height, width) / 60)
    top, left = (height - shown) // 2, (width - shown) // 2
    wanted = transform(
        image[top : top + shown, left : left + shown], label[top : top + shown, left : left + shown],
        size=20, rng=_Drawn(),
    )  # fmt: skip
    np.testing.assert_array_equal(new, wanted[0])
    np.testing.assert_array_equal(labels, wanted[1])


def test_without_variation_the_crop_is_centred_at_the_same_scale():
    image, label = _noise(200, 300)
    crop = transform(image, label, size=20, rng=_Drawn(), longest_side=60)
    varied = transform(image, label, size=20, rng=_Drawn(), augment=Augmentation(**_STILL), longest_side=60)
    np.testing.assert_array_equal(crop[0], varied[0])
    whole = transform(image, label, size=20, rng=_Drawn())
    assert (crop[0] != whole[0]).any()


def test_a_photo_too_narrow_for_the_crop_is_enlarged_and_not_padded():
    image, label = _noise(30, 300)
    new, _ = transform(image, label, size=20, rng=_Drawn(), augment=Augmentation(**_STILL), longest_side=60)
    middle = transform(image[:, 135:165], label[:, 135:165], size=20, rng=_Drawn())
    np.testing.assert_array_equal(new, middle[0])


# ---- class-aware crops


def _one_pixel():
    label = np.zeros((100, 120), np.int32)
    label[70, 40] = 3
    return np.repeat(label.astype(np.uint8)[..., None], 3, axis=-1), label


@pytest.mark.parametrize(("share", "found"), [(0.0, (0, 20)), (1.0, (40, 60)), (0.5, (20, 40))])
def test_a_rare_class_is_centred_in_its_share_of_the_crops(share, found):
    """Two classes are there, so half of the class-aware crops are about the one of a single pixel."""
    augment = Augmentation(**_STILL, class_crops=share)
    hits = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        hits += transform(*_one_pixel(), size=21, rng=rng, augment=augment)[1].max() == 3
    assert found[0] <= hits <= found[1]


def test_the_pixel_is_in_the_middle_but_for_the_edges_of_the_photo():
    augment = Augmentation(**_STILL, class_crops=1.0)
    _, label = transform(*_one_pixel(), size=21, rng=_Drawn(chosen=0.9), augment=augment)
    assert label[10, 10] == 3
    image, label = _one_pixel()
    _, label = transform(image[70:], label[70:], size=21, rng=_Drawn(chosen=0.9), augment=augment)
    assert label[0, 10] == 3


def test_ignored_pixels_are_no_class():
    image, label = _one_pixel()
    augment = Augmentation(**_STILL, class_crops=1.0)
    plain = Augmentation(**_STILL)
    for seed in range(20):
        ignoring = transform(image, label, size=21, rng=np.random.default_rng(seed), augment=augment, ignore_label=3)
        assert ignoring[1].shape == (21, 21)
    everything = np.full_like(label, 255)
    args = {"size": 21, "ignore_label": 255}
    one = transform(image, everything, rng=np.random.default_rng(5), augment=augment, **args)
    other = transform(image, everything, rng=np.random.default_rng(5), augment=plain, **args)
    np.testing.assert_array_equal(one[0], other[0])


# ---- colours


def _recoloured(pixel, **drawn):
    image = np.array([[pixel, [40, 40, 40]]], np.uint8)  # of a mean that can be computed by hand
    augment = Augmentation(**_STILL, jitter=0.5)
    new, label = transform(image, np.zeros((1, 2), np.int32), size=(1, 2), rng=_Drawn(**drawn), augment=augment)
    assert new.dtype == np.uint8 and (label == 0).all()
    return new[0]


def test_jitter_by_hand():
    pixel = [120, 80, 40]  # its grey is 80; the mean of the picture is 60
    np.testing.assert_array_equal(_recoloured(pixel), [pixel, [40] * 3])
    np.testing.assert_array_equal(_recoloured(pixel, brightness=1.0), [[180, 120, 60], [60] * 3])
    np.testing.assert_array_equal(_recoloured(pixel, contrast=0.0), [[90, 70, 50], [50] * 3])
    np.testing.assert_array_equal(_recoloured(pixel, saturation=0.0), [[100, 80, 60], [40] * 3])
    np.testing.assert_array_equal(_recoloured([200, 200, 200], saturation=1.0, hue=1.0), [[200] * 3, [40] * 3])


def test_hue_turns_colours_by_up_to_a_fifth_of_a_turn():
    """At strength 0.5 it is 36 degrees: what was red leans to green or to blue, and keeps its grey."""
    (to_green, _), (to_blue, _) = (_recoloured([120, 60, 60], hue=hue) for hue in (1.0, 0.0))
    # Red, green and blue lie 120 degrees apart around the grey of 80, here at a distance of 40.
    np.testing.assert_allclose(to_green, 80 + 40 * np.cos(np.radians([36, 120 - 36, 240 - 36])), atol=1)
    np.testing.assert_array_equal(to_blue, to_green[[0, 2, 1]])


def test_one_variation_does_not_change_another():
    image, label = _noise(60, 80)
    plain = transform(image, label, size=32, rng=np.random.default_rng(3), augment=Augmentation())
    jittered = transform(image, label, size=32, rng=np.random.default_rng(3), augment=Augmentation(jitter=0.5))
    np.testing.assert_array_equal(plain[1], jittered[1])
    assert (plain[0] != jittered[0]).any()


def test_batches_with_everything_varied_follow_from_seed_and_step():
    spec = DatasetSpec("toy", tuple("abcdefghij"), ((0, 0, 0),) * 10, ignore_label=255)
    examples = tuple(map(Example, "012"))
    dataset = Dataset(spec, "train", examples, lambda example: _noise(40, 50, seed=int(example.name)))
    augment = Augmentation(scales=Scales(listed=(0.5, 1.0, 2.0)), rotate=45, class_crops=0.5, jitter=0.5)
    options = {"batch_size": 2, "image_size": (24, 32), "seed": 7, "augment": augment}
    whole = list(training_batches(dataset, num_steps=4, **options))
    rest = list(training_batches(dataset, num_steps=2, start_step=2, **options))
    for one, other in zip(whole[2:], rest, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])
    assert any((labels.numpy() == 255).any() for _, labels in whole), "the data set's ignore label fills corners"


@pytest.mark.parametrize("wrong", [{"jitter": 1.5}, {"rotate": -1.0}, {"rotate": 181.0}, {"class_crops": 2.0}])
def test_augmentation_checks_itself(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Augmentation(**wrong)
