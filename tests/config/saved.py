"""What a training leaves in config.json."""

import json

from fcn_tf.config import Config


def saved(**flags):
    """The "flags" of config.json after training with these."""
    return json.loads(json.dumps(Config(**flags).to_json()))
