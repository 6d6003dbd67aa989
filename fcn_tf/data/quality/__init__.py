"""TODO data.quality."""
