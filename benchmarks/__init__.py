"""Measurements of fcn_tf, each a script: `python benchmarks/train_step.py --help`. Not part of the package."""
