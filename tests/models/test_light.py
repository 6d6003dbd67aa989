"""The light network: sizes, its first loss, and that every stage reaches the scores."""

import keras
import numpy as np
import pytest

from fcn_tf.errors import UserError
from fcn_tf.models import build


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    return build.build_network("light", num_classes=5)


@pytest.mark.parametrize("size", [(64, 64), (75, 101), (33, 32), (1, 1)])
def test_logits_have_the_size_of_the_image_and_start_at_zero(network, size):
    images = np.random.default_rng(0).uniform(0, 255, (1, *size, 3)).astype(np.float32)
    logits = np.asarray(network.model(images))
    assert logits.shape == (1, *size, 5) and not logits.any()  # the first loss is ln(5) whatever the features


@pytest.mark.parametrize("stage", ["conv3", "conv4", "conv5"])
def test_every_stage_joins_through_its_own_layer(network, stage):
    """Where the hidden layer of a stage is changed, so are the scores."""
    model = keras.models.clone_model(network.model)
    model.set_weights(network.model.get_weights())
    score = model.get_layer(f"score_{stage}")
    score.set_weights([np.random.default_rng(1).normal(0, 0.1, array.shape) for array in score.get_weights()])
    images = np.random.default_rng(0).uniform(0, 255, (1, 64, 96, 3)).astype(np.float32)
    before = np.asarray(model(images))
    hidden = model.get_layer(f"hidden_{stage}")
    hidden.set_weights([3 * array for array in hidden.get_weights()])
    assert np.abs(np.asarray(model(images)) - before).max() > 1e-3


def test_its_head_is_a_fraction_of_fcn8s():
    light, fcn8s = (build.build_network(arch, num_classes=11) for arch in ("light", "fcn8s"))

    def head(network):
        trunk = sum(network.model.get_layer(name).count_params() for name in network.trunk)
        return network.model.count_params() - trunk

    assert light.trunk == fcn8s.trunk and head(light) < head(fcn8s) / 2


def test_a_trunk_without_stride_4_is_refused():
    with pytest.raises(UserError, match="alexnet"):
        build.build_network("light", num_classes=5, trunk="alexnet", weights=None)
