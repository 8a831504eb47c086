"""Serves the description of REST as OpenAPI 3.1, which tools/openapi.py writes."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from responsa_server.calls.negotiation import negotiate

_GZIP: Final = 31  # zlib's code for the format of gzip
_HEADERS: Final = {"cache-control": "no-cache", "vary": "accept-encoding"}


def openapi_route(file: Path) -> Route:
    """`GET /openapi.json`. file: the description. It needs no credential, because it says nothing about this installation."""

    plain = file.read_bytes()
    packed = zlib.compress(plain, zlib.Z_BEST_COMPRESSION, _GZIP)

    async def get(request: Request) -> Response:
        packs = negotiate(request.headers.getlist("accept-encoding"), ["gzip"])
        headers = {**_HEADERS, "content-encoding": "gzip"} if packs else _HEADERS
        return Response(packed if packs else plain, media_type="application/json", headers=headers)

    return Route("/openapi.json", get, methods=["GET"])
