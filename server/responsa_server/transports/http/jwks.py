"""The public keys that verify access tokens, at the address where other programs look for them (RFC 8615)."""

from __future__ import annotations

from typing import Final

from google.protobuf import json_format
from starlette.requests import Request
from starlette.responses import Response

from responsa.auth.v1 import auth_service_pb2 as pb
from responsa_server.calls.chain import Calls
from responsa_server.calls.http import call_of

PATH: Final = "/.well-known/jwks.json"
MAX_AGE_SECONDS: Final = 300
"""How long caches may keep the keys. A server that meets a token with an unknown key should ask again at once."""

_METHOD: Final = "/responsa.auth.v1.AuthService/GetJwks"


class Jwks:
    """`/.well-known/jwks.json`."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def get(self, request: Request) -> Response:
        """Serve GET with a JSON Web Key Set (RFC 7517). Raises Unavailable."""
        call = call_of(request.scope, _METHOD)
        keys = await self._calls.answer(call, pb.GetJwksRequest(), pb.GetJwksResponse)
        return Response(
            json_format.MessageToJson(keys, indent=None),
            media_type="application/jwk-set+json",
            headers={"cache-control": f"public, max-age={MAX_AGE_SECONDS}"},
        )
