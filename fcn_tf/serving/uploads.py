"""A request's body -> a picture, or the reason why not. Bodies are held in memory: no file is written."""

import io
import math
from collections.abc import AsyncIterator

import numpy as np
from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import Field, File, FormParser, parse_options_header
from starlette.requests import ClientDisconnect

from fcn_tf.errors import OutOfMemory, UserError
from fcn_tf.io import images
from fcn_tf.serving.limits import Limits, Refusal

_FORM = "multipart/form-data"
_MOST_FIELDS = 16  # of a form; they are not read
_NAME = "the picture"


def expected_bytes(request: Request, limits: Limits) -> int:
    """How much memory a body may take: what its header says, or the most there can be.

    Raises:
      Refusal: 413 where the header says too much, 415 where it is compressed.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity":
        raise Refusal(415, f"Content-Encoding {encoding!r} is not read; send the picture as it is.")
    length = request.headers.get("content-length", "")
    if not length.isdecimal():
        return limits.upload_bytes
    if int(length) > limits.upload_bytes:
        raise _too_large(limits)
    return int(length)


async def read(request: Request, limits: Limits) -> bytes:
    """Reads the picture's bytes: the body, or the file in a multipart form.

    Raises:
      Refusal: 413 where there are too many, 422 where there are none or the form is damaged, 499 where they end early.
    """
    try:
        if request.headers.get("content-type", "").strip().lower().startswith(_FORM):
            data = await _file_of_form(request, limits)
        else:
            data = b"".join([chunk async for chunk in _chunks(request, limits)])
    except ClientDisconnect:
        raise Refusal(499, "the client has gone.") from None
    if not data:
        raise Refusal(422, "the body is empty; expected the bytes of a picture, or a form with one file.")
    return data


async def _chunks(request: Request, limits: Limits) -> AsyncIterator[bytes]:
    total = 0
    async for chunk in request.stream():
        total += len(chunk)
        if total > limits.upload_bytes:
            raise _too_large(limits)
        yield chunk


async def _file_of_form(request: Request, limits: Limits) -> bytes:
    found: list[io.BytesIO] = []
    fields = 0

    def count_field(_: Field) -> None:
        nonlocal fields
        fields += 1
        if fields > _MOST_FIELDS:
            raise Refusal(422, f"the form has more than {_MOST_FIELDS} fields beside its file; send the file alone.")

    def keep(file: File) -> None:
        if found:
            raise Refusal(422, "the form has several files; expected one: send the others in requests of their own.")
        found.append(file.file_object)

    try:
        boundary = parse_options_header(request.headers["content-type"])[1].get(b"boundary")
        # In memory, whatever its size: no temporary file.
        parser = FormParser(_FORM, count_field, keep, boundary=boundary, config={"MAX_MEMORY_FILE_SIZE": math.inf})
        async for chunk in _chunks(request, limits):
            parser.write(chunk)
        parser.finalize()
    except FormParserError as error:
        raise Refusal(422, f"the form cannot be read: {error}; expected one file.") from None
    if not found:
        raise Refusal(422, "the form has no whole file; expected one, as curl -F image=@photo.jpg sends it.")
    return found[0].getvalue()


def _too_large(limits: Limits) -> Refusal:
    return Refusal(413, f"the body has more than {limits.upload_bytes / 1e6:g} MB; send a smaller picture.")


def count_pixels(data: bytes, limits: Limits) -> int:
    """How many pixels a picture has, by its header.

    Raises:
      Refusal: 415 where it is no picture of a known format, 413 where it has too many.
      OutOfMemory: if the memory does not suffice.
    """
    try:
        width, height = images.read_size(data, name=_NAME)
    except OutOfMemory:
        raise
    except UserError as error:
        raise Refusal(415, str(error)) from None
    if width * height > limits.pixels:
        raise Refusal(
            413,
            f"the picture has {width}x{height} pixels, more than {limits.pixels / 1e6:g} million; send a smaller one.",
        )
    return width * height


def decode(data: bytes) -> np.ndarray:
    """Decodes a picture to uint8 (H, W, 3) RGB, turned upright.

    Raises:
      Refusal: 422 where it is damaged.
      OutOfMemory: if the memory does not suffice.
    """
    try:
        picture = images.decode_image(data, name=_NAME)
    except OutOfMemory:
        raise
    except UserError as error:
        raise Refusal(422, str(error)) from None
    if not picture.size:
        raise Refusal(422, "the picture has no pixels; send another one.")
    return picture
