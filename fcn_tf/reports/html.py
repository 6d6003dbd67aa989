"""HTML pages in one layout (templates/base.html), filled by jinja2; no server and no network needed."""

import functools
import urllib.parse
from typing import Any

import jinja2


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("fcn_tf.reports"),
        autoescape=True,  # class names and file names are the user's
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # jinja2's own refuses names that are no UTF-8.
    environment.filters["urlencode"] = functools.partial(urllib.parse.quote, errors="surrogateescape")
    return environment


def render(template: str, **values: Any) -> bytes:
    """Fills a file of templates/ with values: UTF-8 HTML, names of files that are none as text."""
    return _environment().get_template(template).render(**values).encode(errors="backslashreplace")
