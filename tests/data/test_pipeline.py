"""pipeline: what a batch holds follows from the seed and the step, and masks stay on their pictures."""

import contextlib
import gc
import weakref

import numpy as np
import pytest
import tensorflow as tf

from fcn_tf import registry
from fcn_tf.data import pipeline
from fcn_tf.data.base import Dataset, DatasetSpec, Example
from fcn_tf.data.crops import Scales
from fcn_tf.data.pipeline import Augmentation, evaluation_batches, training_batches, transform
from fcn_tf.errors import UserError

_SPEC = DatasetSpec("toy", tuple("abcdefghij"), ((0, 0, 0),) * 10, ignore_label=255)


def _dataset(sizes, broken=()):
    """Pictures whose every pixel, and class, is the index of the example."""

    def read(example):
        index = int(example.name)
        if index in broken:
            raise UserError(f"file{index}.png: broken; expected a whole one.")
        return np.full((*sizes[index], 3), index, np.uint8), np.full(sizes[index], index % 10, np.int32)

    return Dataset(_SPEC, "train", tuple(Example(str(i)) for i in range(len(sizes))), read)


def _train(dataset, num_steps, **options):
    options = {"batch_size": 2, "image_size": 4, "seed": 0} | options
    batches = training_batches(dataset, num_steps=num_steps, **options)
    return [(images.numpy(), labels.numpy()) for images, labels in batches]


def _indices(batches):
    return [images[:, 0, 0, 0].tolist() for images, _ in batches]


def _assert_same(one, other):
    assert len(one) == len(other)
    for left, right in zip(one, other, strict=True):
        for a, b in zip(left, right, strict=True):
            np.testing.assert_array_equal(a, b)


def _blocks(height, width):
    """A picture that says what its mask is: 8x8 blocks of classes 0..9, painted 20 times their id."""
    rows, columns = np.arange(height)[:, None] // 8, np.arange(width)[None] // 8
    label = ((3 * rows + columns) % 10).astype(np.int32)
    return np.repeat((20 * label).astype(np.uint8)[..., None], 3, axis=-1), label


# ---- order


def test_an_epoch_is_every_example_once_in_another_order():
    order = np.ravel(_indices(_train(_dataset([(4, 4)] * 6), num_steps=6)))
    first, second = order[:6].tolist(), order[6:].tolist()
    assert sorted(first) == sorted(second) == list(range(6))
    assert first != second


def test_batches_run_across_the_ends_of_epochs():
    order = np.ravel(_indices(_train(_dataset([(4, 4)] * 3), num_steps=3)))
    assert sorted(order[:3]) == sorted(order[3:]) == [0, 1, 2]


def test_a_set_smaller_than_a_batch_trains():
    batches = _train(_dataset([(4, 4)] * 2), num_steps=2, batch_size=5)
    assert [images.shape for images, _ in batches] == [(5, 4, 4, 3)] * 2
    assert sorted(np.ravel(_indices(batches))) == [0] * 5 + [1] * 5


def test_resuming_equals_skipping():
    dataset = _blocks_dataset()
    whole = _train(dataset, num_steps=5, image_size=16)
    _assert_same(_train(dataset, num_steps=2, start_step=3, image_size=16), whole[3:])


def test_the_seed_decides_order_and_augmentation():
    dataset = _blocks_dataset()
    one, again, other = (_train(dataset, num_steps=3, image_size=16, seed=seed) for seed in (1, 1, 2))
    _assert_same(one, again)
    assert any((a[0] != b[0]).any() for a, b in zip(one, other, strict=True))


def test_how_many_are_read_at_once_changes_nothing():
    dataset = _blocks_dataset()
    options = {"num_steps": 4, "image_size": 16}
    _assert_same(_train(dataset, parallel_calls=1, **options), _train(dataset, parallel_calls=4, **options))


def test_an_epoch_varies_its_examples_anew():
    dataset = Dataset(_SPEC, "train", (Example("only"),), lambda _: _blocks(40, 56))
    pictures = {images.tobytes() for images, _ in _train(dataset, num_steps=6, batch_size=1, image_size=16)}
    assert len(pictures) > 3


def test_shards_part_the_global_batch():
    dataset = _blocks_dataset()
    whole = _train(dataset, num_steps=3, batch_size=4, image_size=16)
    shards = [_train(dataset, num_steps=3, batch_size=2, image_size=16, shard=(k, 2)) for k in range(2)]
    joined = [tuple(np.concatenate(parts) for parts in zip(*step, strict=True)) for step in zip(*shards, strict=True)]
    _assert_same(joined, whole)


def _blocks_dataset():
    sizes = [(24, 40), (33, 17), (64, 48), (16, 16), (50, 20)]
    examples = tuple(Example(str(i)) for i in range(len(sizes)))
    return Dataset(_SPEC, "train", examples, lambda example: _blocks(*sizes[int(example.name)]))


# ---- geometry


@pytest.mark.parametrize("augment", [None, Augmentation(), Augmentation(scales=Scales(0.3, 3.0))])
@pytest.mark.parametrize("crop", registry.CROPS)
@pytest.mark.parametrize("resize", registry.RESIZES)
def test_mask_and_picture_stay_aligned(augment, crop, resize):
    for seed in range(20):
        image, label = _blocks(60, 92)
        rng = np.random.default_rng(seed)
        image, label = transform(image, label, size=48, rng=rng, augment=augment, crop=crop, resize=resize)
        assert image.shape == (48, 48, 3) and label.shape == (48, 48)
        assert image.dtype == np.uint8 and label.dtype == np.int32
        assert set(np.unique(label)) <= set(range(10)), "nearest never makes a new id"
        agree = np.abs(image[..., 0].astype(int) - 20 * label) <= 10
        # Blending is allowed along the borders of blocks alone; nearest never blends.
        assert agree.mean() == 1 if resize == "nearest" else agree.mean() > 0.75


def test_flip_is_a_mirror_image_of_both():
    image, label = _blocks(16, 16)
    flipped = 0
    for seed in range(20):
        augment = Augmentation(flip=True, scales=Scales(1.0, 1.0))
        new_image, new_label = transform(image, label, size=16, rng=np.random.default_rng(seed), augment=augment)
        mirrored = (new_image == image[:, ::-1]).all()
        assert mirrored or (new_image == image).all()
        np.testing.assert_array_equal(new_label, label[:, ::-1] if mirrored else label)
        flipped += mirrored
    assert 4 <= flipped <= 16


def test_scale_keeps_the_aspect_and_never_pads():
    """A ramp from left to right: its slope tells the scale, and padding would show as a value not in it."""
    ramp = np.broadcast_to(np.arange(100, 200, dtype=np.uint8)[None, :, None], (80, 100, 3)).copy()
    slopes = []
    for seed in range(40):
        image, _ = transform(
            ramp, np.zeros((80, 100), np.int32), size=32, rng=np.random.default_rng(seed),
            augment=Augmentation(flip=False),
        )  # fmt: skip
        row = image[16, :, 0].astype(float)
        assert row.min() >= 100 and (np.diff(row) >= 0).all()
        assert np.ptp(image.astype(int), axis=0).max() <= 1, "columns stay columns, but for rounding"
        slopes.append((row[-1] - row[0]) / 31)
    assert 0.4 < min(slopes) < 0.7 and 1.6 < max(slopes) < 2.1  # 1/2 at scale 2, 2 at scale 0.5


@pytest.mark.parametrize("augment", [None, Augmentation(), Augmentation(scales=Scales(0.3, 3.0))])
@pytest.mark.parametrize("crop", registry.CROPS)
@pytest.mark.parametrize("shape", [(60, 92), (92, 60), (20, 30)])
def test_rectangular_crops(augment, crop, shape):
    for seed in range(10):
        rng = np.random.default_rng(seed)
        image, label = transform(*_blocks(*shape), size=(36, 48), rng=rng, augment=augment, crop=crop)
        assert image.shape == (36, 48, 3) and label.shape == (36, 48)
        assert (np.abs(image[..., 0].astype(int) - 20 * label) <= 10).mean() > 0.75


def test_a_rectangular_crop_keeps_the_aspect():
    """Two ramps: their slopes tell the scales down and across."""
    ramps = np.stack(np.meshgrid(np.arange(120), np.arange(90)), axis=-1)
    image = np.dstack([ramps, np.zeros((90, 120, 1))]).astype(np.uint8)
    for seed in range(10):
        rng = np.random.default_rng(seed)
        new, _ = transform(image, np.zeros((90, 120), np.int32), size=(30, 40), rng=rng, augment=Augmentation())
        across, down = np.ptp(new[15, :, 0].astype(int)) / 39, np.ptp(new[:, 20, 1].astype(int)) / 29
        assert abs(across - down) < 0.1
    whole, _ = transform(image, np.zeros((90, 120), np.int32), size=(90, 120), rng=np.random.default_rng(0))
    np.testing.assert_array_equal(whole, image)


def test_batches_of_rectangular_crops():
    (batch,) = _train(_blocks_dataset(), num_steps=1, batch_size=3, image_size=(12, 20))
    assert [part.shape for part in batch] == [(3, 12, 20, 3), (3, 12, 20)]


def test_a_picture_smaller_than_the_crop_is_enlarged():
    image, label = _blocks(8, 8)
    image, label = transform(
        image,
        label,
        size=32,
        rng=np.random.default_rng(0),
        augment=Augmentation(scales=Scales(0.5, 0.5)),
    )
    assert image.shape == (32, 32, 3) and (label == 0).all()


def test_without_augmentation_the_largest_centred_crop_is_taken():
    label = np.broadcast_to(np.arange(6, dtype=np.int32), (4, 6))
    image = np.repeat(label[..., None], 3, axis=-1).astype(np.uint8)
    for seed in range(3):
        _, cropped = transform(image, label, size=4, rng=np.random.default_rng(seed))
        np.testing.assert_array_equal(cropped[0], [1, 2, 3, 4])


def test_squash_takes_the_pixels_under_the_new_centres():
    label = np.arange(8, dtype=np.int32)[None].repeat(3, axis=0)
    image = np.repeat(label[..., None], 3, axis=-1).astype(np.uint8)
    for resize in registry.RESIZES:
        new_image, new_label = transform(
            image, label, size=4, rng=np.random.default_rng(0), crop="squash", resize=resize
        )
        # New pixel k covers the old ones 2k and 2k + 1; its centre lies on their common edge.
        np.testing.assert_array_equal(new_label, [[1, 3, 5, 7]] * 4)
        if resize == "nearest":
            np.testing.assert_array_equal(new_image[..., 0], new_label)


def test_photos_shrink_by_area():
    image = np.zeros((8, 8, 3), np.uint8)
    image[:, ::2] = 200  # stripes of one pixel: nearest would see only one of their colours
    small, _ = transform(image, np.zeros((8, 8), np.int32), size=4, rng=np.random.default_rng(0), crop="squash")
    np.testing.assert_array_equal(small, np.full((4, 4, 3), 100))


def test_photos_are_enlarged_bilinearly_and_masks_are_not():
    image = np.array([[0, 100]] * 2, np.uint8)[..., None].repeat(3, axis=-1)
    large, label = transform(
        image, np.array([[0, 9]] * 2, np.int32), size=4, rng=np.random.default_rng(0), crop="squash"
    )
    np.testing.assert_array_equal(large[0, :, 0], [0, 25, 75, 100])
    np.testing.assert_array_equal(label[0], [0, 0, 9, 9])


def test_ignored_pixels_pass_through():
    label = np.full((8, 8), 255, np.int32)
    dataset = Dataset(_SPEC, "train", (Example("0"),), lambda _: (np.zeros((8, 8, 3), np.uint8), label))
    assert (_train(dataset, num_steps=1)[0][1] == 255).all()


def test_the_pipeline_is_the_transform_inside_tf_data():
    dataset = _blocks_dataset()
    images, labels = _train(dataset, num_steps=1, batch_size=3, image_size=16, seed=5)[0]
    for row in range(3):
        epoch, index = pipeline.locate(row, len(dataset), 5)
        rng = np.random.default_rng([5, epoch, index])
        image, label = transform(*dataset.read(dataset.examples[index]), size=16, rng=rng, augment=Augmentation())
        np.testing.assert_array_equal(images[row], image)
        np.testing.assert_array_equal(labels[row], label)


# ---- evaluation


def _evaluate(dataset, **options):
    return [(indices.tolist(), images, labels) for indices, images, labels in evaluation_batches(dataset, **options)]


def test_evaluation_gives_each_example_once_at_its_own_size():
    sizes = [(2, 3)] * 3 + [(4, 4)] + [(2, 3)] * 2
    batches = _evaluate(_dataset(sizes), batch_size=2)
    assert [indices for indices, _, _ in batches] == [[0, 1], [2], [3], [4, 5]]
    for indices, images, labels in batches:
        assert images.dtype == np.uint8 and labels.dtype == np.int32
        assert images.shape[1:3] == labels.shape[1:] == sizes[indices[0]]
        assert images[:, 0, 0, 0].tolist() == labels[:, 0, 0].tolist() == indices


def test_evaluation_of_some_in_their_order_and_in_shards():
    dataset = _dataset([(2, 2)] * 7)
    assert [b[0] for b in _evaluate(dataset, batch_size=3, indices=[5, 0, 6, 2])] == [[5, 0, 6], [2]]
    assert [b[0] for b in _evaluate(dataset, batch_size=2, shard=(1, 2))] == [[1, 3], [5]]
    assert _evaluate(dataset, batch_size=2, indices=[]) == []


def test_evaluation_has_one_signature():
    (batch,) = evaluation_batches(_dataset([(2, 3)] * 2), batch_size=4)
    assert [part.shape for part in batch] == [(2,), (2, 2, 3, 3), (2, 2, 3)]
    assert [part.dtype for part in batch] == [np.int64, np.uint8, np.int32]


def test_evaluation_may_be_left_early_and_begun_again():
    dataset = _dataset([(2, 2)] * 9)
    for _ in range(2):
        assert next(evaluation_batches(dataset, batch_size=2))[0].tolist() == [0, 1]


def test_reading_runs_ahead_by_a_bounded_number():
    read = []
    plain = _dataset([(2, 2)] * 200)

    def reading(example):
        read.append(example.name)
        return plain.read(example)

    batches = evaluation_batches(Dataset(_SPEC, "train", plain.examples, reading), batch_size=2, parallel_calls=2)
    next(batches)
    assert len(read) < 50


# ---- errors


def test_a_user_error_comes_through_tensorflow_unharmed():
    dataset = _dataset([(4, 4)] * 3, broken=(1,))
    batches = training_batches(dataset, num_steps=2, batch_size=2, image_size=8, seed=0)
    for run in (lambda: list(pipeline.iterate(batches)), lambda: _evaluate(dataset, batch_size=1)):
        with pytest.raises(UserError) as caught:
            run()
        assert str(caught.value) == "file1.png: broken; expected a whole one."
        assert caught.value.__context__ is None, "its traceback would hold the iterator"


@pytest.mark.parametrize("leave", ["at a UserError", "at another error", "early"])
def test_threads_of_the_pipeline_end_with_the_loop(leave):
    """Whatever ends it, and without the garbage collector, which may run when the interpreter can no longer wait."""
    plain = _dataset([(4, 4)] * 200)

    def read(example):
        if example.name == "20" and leave != "early":
            raise (UserError if leave == "at a UserError" else ValueError)("broken")
        return plain.read(example)

    class Elements:
        def __init__(self, elements):
            self.elements = elements

        def __iter__(self):
            iterator = iter(self.elements)
            alive.append(weakref.ref(iterator))
            return iterator

    alive: list[weakref.ref] = []
    dataset = Dataset(_SPEC, "train", plain.examples, read)
    elements = Elements(training_batches(dataset, num_steps=40, batch_size=4, image_size=8, seed=0))
    kept = None
    gc.disable()
    try:
        with contextlib.closing(pipeline.iterate(elements)) as batches:
            for number, _ in enumerate(batches):
                if leave == "early" and number == 3:
                    break
    except (UserError, tf.errors.OpError) as error:
        kept = error  # as the traceback of a fault is kept while the interpreter exits
    finally:
        gc.enable()
    assert (kept is None) == (leave == "early")
    assert [reference() for reference in alive] == [None]


@pytest.mark.parametrize(
    ("options", "message"),
    [({"crop": "none"}, "scale, squash"), ({"resize": "cubic"}, "area, nearest")],
)
def test_unknown_options(options, message):
    with pytest.raises(UserError, match=message):
        _train(_dataset([(4, 4)]), num_steps=1, **options)


def test_an_empty_set_is_refused():
    with pytest.raises(UserError, match="no examples"):
        _train(_dataset([]), num_steps=1)
