"""HTML pages in one layout (templates/base.html), filled by jinja2; no server and no network needed."""

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


def render(template: str, **values: Any) -> bytes:
    """Fills a file of templates/ with values: UTF-8 HTML."""
    return _environment().get_template(template).render(**values).encode()
