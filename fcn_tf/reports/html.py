"""HTML pages, one look for all (templates/base.html), filled by jinja2; no server and no network needed."""

import functools
from typing import Any

import jinja2


@functools.cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("fcn_tf.reports"),
        autoescape=True,  # class names and file names are the user's
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def contact_sheet(
    *, title: str, subtitle: str, legend: list[tuple[str, tuple[int, int, int]]], cards: list[dict[str, Any]]
) -> bytes:
    """A page of pictures side by side, one card an example.

    Args:
      title: the headline.
      subtitle: one line of facts below it.
      legend: (name, (r, g, b)) of the colours to explain.
      cards: each {"name", "caption", "width", "height", "pictures": [{"file", "caption"}, ...]}; files are
        relative to the page, sizes in pixels.

    Returns:
      UTF-8 HTML.
    """
    return render(
        "contact_sheet.html",
        title=title,
        subtitle=subtitle,
        legend=[{"name": name, "color": tuple(map(int, color))} for name, color in legend],
        cards=cards,
    )


def render(template: str, **values: Any) -> bytes:
    """Fills a file of templates/ with values: UTF-8 HTML."""
    return _environment().get_template(template).render(**values).encode()
