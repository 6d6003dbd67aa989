"""Grad-CAM and measured receptive fields of networks that can be worked out by hand."""

import keras
import numpy as np
import pytest

from fcn_tf.inference import explanations
from fcn_tf.models import build
from fcn_tf.models.receptive_field import Box, ReceptiveFields
from tests import tiny_run

RED_AND_BLUE = tiny_run.paint([[0, 0, 2], [0, 2, 2], [2, 2, 2]])


def blur_model():
    """Gray value times (1, 2, 4) -> mean of 3x3 pixels; class 0 gets it, class 1 its negative."""
    images = keras.Input((None, None, 3))
    grey = keras.layers.Conv2D(1, 1, use_bias=False, name="grey")(images)
    logits = keras.layers.Conv2D(2, 3, padding="same", use_bias=False, name="blur")(grey)
    model = keras.Model(images, logits)
    model.get_layer("grey").set_weights([np.array([1, 2, 4], np.float32).reshape(1, 1, 3, 1)])
    model.get_layer("blur").set_weights([np.ones((3, 3, 1, 1)) * np.array([1, -1]) / 9])
    return model


def test_a_class_is_explained_where_it_is_predicted():
    found = explanations.explain(tiny_run.color_model(), RED_AND_BLUE, layers=["pick"], class_id=0)
    np.testing.assert_array_equal(found.labels, [[0, 0, 2], [0, 2, 2], [2, 2, 2]])
    np.testing.assert_array_equal(found.region, found.labels == 0)
    np.testing.assert_allclose(found.cams["pick"], found.labels == 0)  # the channel of red, which alone counts
    assert found.class_id == 0 and found.labels[found.point] == 0
    np.testing.assert_allclose(found.probabilities, np.exp([1, 0, 0]) / np.exp([1, 0, 0]).sum(), rtol=1e-5)


def test_a_point_alone_explains_the_class_predicted_there():
    found = explanations.explain(tiny_run.color_model(), RED_AND_BLUE, layers=["pick"], point=(2, 1))
    assert found.class_id == 2 and found.point == (2, 1)
    assert found.region.sum() == 1 and found.region[2, 1]


def test_a_class_that_is_predicted_nowhere_is_explained_where_it_is_most_probable():
    picture = tiny_run.paint([[0, 2, 2]])
    picture[0, 1] = (0, 200, 255)
    found = explanations.explain(tiny_run.color_model(), picture, layers=["pick"], class_id=1)
    assert found.point == (0, 1) and found.region.sum() == 1 and found.labels[found.point] == 2


def test_the_point_shown_is_one_that_is_predicted_so():
    picture = np.array([[(0, 100, 90), (0, 250, 255), (0, 90, 85)]], np.uint8)  # the second: surer of green, but blue
    found = explanations.explain(tiny_run.color_model(), picture, layers=["pick"], class_id=1)
    assert found.point == (0, 0) and found.region.tolist() == [[True, False, True]]
    assert found.probabilities[1] < 0.44


def test_the_measured_field_is_the_gradient_to_the_input():
    picture = np.full((7, 7, 3), 10, np.uint8)
    found = explanations.explain(blur_model(), picture, layers=["grey"], class_id=0, point=(3, 4))
    wanted = np.zeros((7, 7))
    wanted[2:5, 3:6] = 1
    np.testing.assert_allclose(found.output.gradient, wanted, rtol=1e-5)
    assert found.output.box == found.output.measured == Box(2, 3, 4, 5)
    assert found.output.effective_side == 3
    (grey,) = found.fields
    assert grey.box == grey.measured == Box(3, 4, 3, 4) and grey.effective_side == 1


def test_a_measured_field_of_an_even_side_lies_between_pixels():
    gradient = np.zeros((8, 8), np.float32)
    gradient[2:4, 5:7] = 1
    field = explanations.Field("pool", Box(0, 3, 5, 8), gradient, (2.5, 5.5))
    assert field.measured == Box(2, 5, 3, 6) and field.effective_side == 2
    gradient[0, 5] = 0.1  # 2.4 % of the whole
    assert field.measured == Box(2, 5, 3, 6)
    gradient[0, 5] = 0.3  # 7 %
    assert field.measured == Box(0, 3, 5, 8)


def test_what_speaks_against_a_class_is_no_evidence_for_it():
    picture = np.full((5, 5, 3), 10, np.uint8)
    for_it, against = (
        explanations.explain(blur_model(), picture, layers=["grey"], class_id=number, point=(2, 2)).cams["grey"]
        for number in (0, 1)
    )
    np.testing.assert_allclose(for_it, 1)
    assert not against.any()


def test_a_layer_that_leads_nowhere_has_no_evidence():
    images = keras.Input((None, None, 3))
    first = keras.layers.Conv2D(2, 1, name="first")(images)
    logits = keras.layers.Add(name="sum")([first, keras.layers.Conv2D(2, 1, kernel_initializer="zeros")(images)])
    model = keras.Model(images, logits)
    found = explanations.explain(model, RED_AND_BLUE, layers=["first"], class_id=1, point=(0, 0))
    assert found.cams["first"].shape == (3, 3) and found.output.box == Box(0, 0, 0, 0)


def test_maps_of_odd_pictures_lie_where_their_pixels_do():
    """A unit of a pooled map stands for its own 2x2 pixels, also where the last ones are cut off."""
    images = keras.Input((None, None, 3))
    pooled = keras.layers.MaxPooling2D(2, padding="same", name="pool")(images)
    logits = keras.layers.UpSampling2D(2)(pooled)[:, :5, :5]
    model = keras.Model(images, logits)
    picture = np.zeros((5, 5, 3), np.uint8)
    picture[4, 4] = 255
    found = explanations.explain(model, picture, layers=["pool"], class_id=0, point=(4, 4))
    assert found.cams["pool"].argmax() == 24 and found.cams["pool"][0, 0] == 0


def test_the_stages_of_vgg_end_in_its_poolings():
    model = build.build_model("fcn8s", num_classes=2, weights=None)
    assert explanations.stage_ends(ReceptiveFields(model), model) == ["pool3", "pool4", "pool5"]


def test_the_stages_of_a_residual_trunk_end_in_its_last_sums():
    x = images = keras.Input((None, None, 3))
    for stage in (1, 2):
        x = keras.layers.Conv2D(4, 3, strides=2, padding="same", name=f"down{stage}")(x)
        for block in (1, 2):
            branch = keras.layers.Conv2D(4, 3, padding="same")(x)
            x = keras.layers.Add(name=f"sum{stage}_{block}")([x, branch])
    model = keras.Model(images, keras.layers.UpSampling2D(4)(x))
    assert explanations.stage_ends(ReceptiveFields(model), model) == ["sum1_2", "sum2_2"]


def test_neither_a_class_nor_a_point():
    with pytest.raises(ValueError, match="class_id or a point"):
        explanations.explain(tiny_run.color_model(), RED_AND_BLUE, layers=[])


def test_memory_grows_with_the_picture():
    fields = ReceptiveFields(tiny_run.color_model())
    need = explanations.memory_needed(fields, 100, 100)
    assert need == 12 * 100 * 100 * (3 + 3)  # the picture and the logits
    assert explanations.memory_needed(fields, 200, 100) == 2 * need
