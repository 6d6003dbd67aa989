"""TODO data.masks."""
