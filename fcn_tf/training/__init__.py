"""Trains a model: the loop, one step of it, and all that hangs on them."""
