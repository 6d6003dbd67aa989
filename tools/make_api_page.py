"""Makes docs/api.md from the docstrings of the public names.

python tools/make_api_page.py
"""

import inspect
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import fcn_tf  # noqa: E402
from fcn_tf.command.call import Written  # noqa: E402
from fcn_tf.inference.runs import TrainedRun  # noqa: E402
from fcn_tf.inference.segmentation import Area  # noqa: E402
from fcn_tf.models.build import build_network  # noqa: E402

PAGE = "docs/api.md"
_MODULES = (
    "collections.abc.",
    "typing.",
    "keras.src.models.model.",
    "fcn_tf.inference.",
    "fcn_tf.command.call.",
    "runs.",
    "segmentation.",
)
_RETURNED = (TrainedRun, Written, Area)  # public through what the functions return


def page() -> str:
    """The text of docs/api.md."""
    lines = ["# Names", "", "Made from the docstrings by `python tools/make_api_page.py`.", ""]
    for name in sorted(fcn_tf.__all__, key=str.lower):
        lines.extend(_entry(f"fcn_tf.{name}", getattr(fcn_tf, name)))
        if name == "build_model":  # which refers to it
            lines.extend(_entry("fcn_tf.models.build.build_network", build_network))
    for each in _RETURNED:
        lines.extend(_entry(each.__name__, each))
    return "\n".join(lines).rstrip() + "\n"


def _entry(name: str, thing: Any) -> Iterator[str]:
    yield from (f"## {name}", "")
    yield from _code(name, thing)
    if not inspect.isclass(thing):
        return
    for attribute, member in vars(thing).items():
        if attribute.startswith("_") and attribute != "__call__":
            continue
        function = member.__func__ if isinstance(member, classmethod) else member
        if isinstance(member, property) and member.__doc__:
            yield from (f"**{thing.__name__}.{attribute}**: {_paragraph(member.__doc__)}", "")
        elif inspect.isfunction(function):
            yield from _code(f"{thing.__name__}.{attribute}".replace(".__call__", ""), function, bound=True)


def _code(name: str, thing: Any, *, bound: bool = False) -> Iterator[str]:
    """The signature and the docstring, as they stand in the code."""
    signature = inspect.signature(thing)
    parameters = list(signature.parameters.values())[bound:]
    text = str(signature.replace(parameters=parameters))
    for module in _MODULES:
        text = text.replace(module, "")
    yield from ("```", f"{name}{text}", "")
    yield from (textwrap.indent(inspect.cleandoc(thing.__doc__), "    ").splitlines())
    yield from ("```", "")


def _paragraph(text: str) -> str:
    return " ".join(inspect.cleandoc(text).split())


if __name__ == "__main__":
    (ROOT / PAGE).write_text(page())
