"""The routes of the HTTP API, as FastAPI describes them."""

import enum
import importlib.util
from collections.abc import Sequence
from typing import Annotated

from fastapi import Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, JSONResponse, Response
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException

from fcn_tf import __version__
from fcn_tf.data import palette
from fcn_tf.data.palette import Color
from fcn_tf.errors import OutOfMemory
from fcn_tf.inference.segmenter import Segmenter
from fcn_tf.io import files
from fcn_tf.reports import html
from fcn_tf.serving import answers, middleware
from fcn_tf.serving.answers import FORMS, Classes, Failure, Result
from fcn_tf.serving.counters import CONTENT_TYPE, Counters
from fcn_tf.serving.limits import Limits, Refusal
from fcn_tf.serving.service import Service

Format = enum.StrEnum("Format", [(name, name) for name in FORMS])  # type: ignore[misc]  # the names are a table's
_DESCRIPTION = """Labels every pixel of a picture with the model of one run.

JPEG, PNG, WebP, BMP, TIFF, GIF and PPM are read, turned upright by their EXIF data. Errors are one line of JSON,
`{"error": "..."}`."""
_REASONS = {
    401: "The token is missing or wrong.",
    406: "The Accept header names none of the forms.",
    408: "The picture did not arrive in time.",
    413: "The body or the picture is too large.",
    415: "This is no picture of a known format.",
    422: "The picture is damaged, or a parameter wrong.",
    429: "Too many requests are being answered.",
    503: "There was no answer in time, the memory did not suffice, or the server is stopping.",
}
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_FORM = {"schema": {"type": "object", "properties": {"image": {"type": "string", "format": "binary"}}}}
_BODY = {"required": True, "content": {"multipart/form-data": _FORM, "application/octet-stream": _BINARY}}
_SWAGGER = ("swagger-ui-bundle.js", "text/javascript"), ("swagger-ui.css", "text/css"), ("favicon.png", "image/png")


class Server:
    """The application, and what stops it.

    Args:
      segmenter: the model.
      class_names: by class id.
      colors: (r, g, b) in [0, 255] by class id.
      title: of the page, such as the folder of the run.
      limits: what is refused.
      token: what requests must show, or "".

    Attributes:
      app: for an ASGI server.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        *,
        class_names: Sequence[str],
        colors: Sequence[Color],
        title: str,
        limits: Limits,
        token: str = "",
    ):
        counters = Counters()
        self._service = Service(segmenter, limits, counters)
        api = FastAPI(
            title="fcn_tf",
            description=_DESCRIPTION,
            version=__version__,
            docs_url=None,
            redoc_url=None,
            # For the description: it is the middleware that asks for the token.
            dependencies=[Depends(HTTPBearer(auto_error=False))] if token else [],
        )
        _add_errors(api)
        _add_labels(api, self._service, answers.describe(class_names, colors))
        _add_state(api, self._service, counters)
        _add_pages(api, title=title, classes=len(class_names), limits=limits)
        paths = {route.path for route in api.routes}
        guarded = middleware.guarded(api, token=token)
        self.app = middleware.counted(middleware.drained(guarded), counters, paths)

    def stop(self) -> None:
        """Refuses what waits, so that a shutdown need not wait for it; what the model has is answered."""
        self._service.stop()

    def join(self, seconds: float) -> None:
        """Waits, after `stop`, for the model's thread."""
        self._service.join(seconds)


def _add_labels(api: FastAPI, service: Service, classes: Classes) -> None:
    @api.post(
        "/v1/segment",
        summary="Label a picture",
        response_model=Result,
        responses={
            200: {"description": "In the form asked for.", "content": {"image/png": _BINARY}},
            **{status: {"model": Failure, "description": text} for status, text in _REASONS.items()},
        },
        openapi_extra={"requestBody": _BODY},
    )
    async def segment(
        request: Request,
        format: Annotated[
            Format | None,
            Query(description="labels: class ids as PNG; without it, the Accept header decides: image/png or JSON."),
        ] = None,
        include: Annotated[
            str, Query(description=f"For JSON: what it carries along, of {', '.join(answers.INCLUDES)}; with commas.")
        ] = "",
        opacity: Annotated[
            float, Query(ge=0, le=1, allow_inf_nan=False, description="Of the colours in the overlay.")
        ] = palette.OPACITY,
    ) -> Response:
        """Labels the picture that the body is, or that a form holds as its one file."""
        name = answers.choose_form(format, request.headers.get("accept", ""))
        form, wanted = FORMS[name], answers.parse_include(include)
        content = await service.answer(request, lambda found: form.encode(found, opacity, wanted))
        return Response(content, media_type=form.media_type, headers={"Vary": "Accept"})

    @api.get("/v1/classes", summary="The classes, by id")
    async def get_classes() -> Classes:
        """Names and colours of all classes."""
        return classes


def _add_state(api: FastAPI, service: Service, counters: Counters) -> None:
    @api.get("/healthz", summary="Whether pictures are labelled", responses={503: {"model": Failure}})
    async def health() -> dict[str, str]:
        """For load balancers; needs no token."""
        if not service.healthy:
            raise Refusal(503, "the server is stopping.")
        return {"status": "ok"}

    @api.get("/metrics", summary="Counters for Prometheus", response_class=Response)
    async def metrics() -> Response:
        """Requests by status, latencies, queue and batch sizes."""
        text = counters.text(queue_length=service.queue_length, requests_open=service.requests_open)
        return Response(text, media_type=CONTENT_TYPE)


def _add_pages(api: FastAPI, *, title: str, classes: int, limits: Limits) -> None:
    page = html.render(
        "serve.html",
        title=title,
        classes=classes,
        megabytes=f"{limits.upload_bytes / 1e6:g}",
        megapixels=f"{limits.pixels / 1e6:g}",
    )

    @api.get("/", include_in_schema=False)
    async def get_page() -> HTMLResponse:
        return HTMLResponse(page)

    @api.get("/docs", include_in_schema=False)
    async def get_docs() -> HTMLResponse:
        script, style, icon = (f"/docs/{name}" for name, _ in _SWAGGER)
        return get_swagger_ui_html(
            openapi_url="/openapi.json",
            title="fcn_tf: HTTP API",
            oauth2_redirect_url=None,
            swagger_js_url=script,
            swagger_css_url=style,
            swagger_favicon_url=icon,
            swagger_ui_parameters={"validatorUrl": None},  # another site's badge
        )

    for name, media_type in _SWAGGER:
        content = files.read_bytes(files.join(_swagger_folder(), name))

        @api.get(f"/docs/{name}", include_in_schema=False)
        async def get_file(content: bytes = content, media_type: str = media_type) -> Response:
            return Response(content, media_type=media_type)


def _swagger_folder() -> str:
    """Where the package fastapi-offline keeps Swagger UI."""
    spec = importlib.util.find_spec("fastapi_offline")
    assert spec is not None and spec.submodule_search_locations
    return files.join(spec.submodule_search_locations[0], "static")


def _add_errors(api: FastAPI) -> None:
    """Every error is one line of JSON."""

    def reply(status: int, text: str, headers: dict[str, str] | None = None) -> JSONResponse:
        return JSONResponse({"error": text}, status, headers)

    @api.exception_handler(Refusal)
    async def refused(_: Request, error: Refusal) -> JSONResponse:
        return reply(error.status, str(error), error.headers)

    @api.exception_handler(OutOfMemory)
    @api.exception_handler(MemoryError)
    async def no_memory(_: Request, error: Exception) -> JSONResponse:
        text = str(error) if isinstance(error, OutOfMemory) else "the memory does not suffice now; try again later."
        return reply(503, text, {"Retry-After": "5"})

    @api.exception_handler(HTTPException)
    async def no_route(request: Request, error: HTTPException) -> JSONResponse:
        text = f"{request.method} {request.url.path}: {error.detail}; see /openapi.json."
        return reply(error.status_code, " ".join(text.split()), error.headers)

    @api.exception_handler(RequestValidationError)
    async def wrong_parameter(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        return reply(422, " ".join(f"{first['loc'][-1]}: {first['msg']}, got {first['input']!r:.80}.".split()))

    @api.exception_handler(Exception)
    async def fault(_: Request, error: Exception) -> JSONResponse:
        return reply(500, f"the server has failed ({type(error).__name__}); its standard error says where.")
