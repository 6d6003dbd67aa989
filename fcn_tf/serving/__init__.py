"""The HTTP API of `--mode=serve`: pictures in, labels out. No TensorFlow."""
