"""Formats that `--mode=export` writes: a new one is a file here with an `ENTRY`, and a line in `registry.EXPORTS`."""

from collections.abc import Iterable

from fcn_tf import registry
from fcn_tf.errors import UserError
from fcn_tf.formats.base import Format
from fcn_tf.io import system


def entries(names: Iterable[str], precision: str, *, web_runtime: str) -> dict[str, Format]:
    """The entries of some formats, once they can be written here.

    Args:
      names: keys of `registry.EXPORTS`.
      precision: one of `registry.EXPORT_PRECISIONS`.
      web_runtime: what --web_runtime says.

    Raises:
      UserError: if one does not come in this precision, or needs a package that is not installed.
    """
    found = {name: registry.resolve(registry.EXPORTS[name]) for name in names}
    unable = {name: " and ".join(each.precisions) for name, each in found.items() if precision not in each.precisions}
    if unable:
        able = [name for name in registry.EXPORTS if precision in _entry(name).precisions]
        raise UserError(
            f"--format={', '.join(f'{name} comes in {kinds}' for name, kinds in unable.items())}, got "
            f"--quantize={precision}; leave that out, or choose of {', '.join(able)}."
        )
    for name, entry in found.items():
        what = f"--format={name}" if precision == "float32" else f"--format={name} --quantize={precision}"
        system.require_packages(what, {**entry.packages, **entry.packages_for.get(precision, {})})
        entry.require(web_runtime)
    return found


def _entry(name: str) -> Format:
    return registry.resolve(registry.EXPORTS[name])
