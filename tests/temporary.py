"""Entries of the registry that last as long as a test: a data set in a module of its own, and its line in the table."""

import sys
import types

from fcn_tf import registry
from fcn_tf.data.base import DatasetEntry


def register_dataset(monkeypatch, name, load, **entry):
    """Makes `--dataset=NAME` known.

    Args:
      monkeypatch: pytest's.
      name: of the data set.
      load: as in `DatasetEntry`.
      **entry: further fields of `DatasetEntry`.
    """
    module = types.ModuleType(f"temporary_{name}")
    module.__dict__["ENTRY"] = DatasetEntry(load, **entry)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(registry.DATASETS, name, f"{module.__name__}:ENTRY")
