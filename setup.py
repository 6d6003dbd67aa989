"""The packages of the wheel, configs/ as one of them; everything else about it is in setup.cfg."""

from setuptools import find_packages, setup

setup(packages=[*find_packages(include=["fcn_tf", "fcn_tf.*"]), "fcn_tf.configs"])
