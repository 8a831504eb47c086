"""Serves the description of REST as OpenAPI 3.1, which tools/openapi.py writes."""

from __future__ import annotations

from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route


def openapi_route(file: Path) -> Route:
    """`GET /openapi.json`. file: the description. It needs no credential, because it says nothing about this installation."""

    async def get(_: Request) -> Response:
        return FileResponse(file, media_type="application/json", headers={"cache-control": "no-cache"})

    return Route("/openapi.json", get, methods=["GET"])
