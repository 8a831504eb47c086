"""AuthService."""

from __future__ import annotations

from responsa.auth.v1 import api_key_pb2, user_pb2
from responsa.auth.v1 import auth_service_pb2 as pb
from responsa_server.calls.call import caller
from responsa_server.calls.convert import people
from responsa_server.calls.convert.values import named_uuid, request_id, timestamp, to_datetime
from responsa_server.calls.listing import Listing
from responsa_server.domain import lists
from responsa_server.identity.service import Identity


class AuthService:
    """The caller and the caller's credentials."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity

    async def GetMe(self, request: pb.GetMeRequest) -> user_pb2.User:
        """Return the caller."""
        return people.user(await self._identity.me(caller()))

    async def CreateSessionCode(self, request: pb.CreateSessionCodeRequest) -> pb.CreateSessionCodeResponse:
        """Create a code that a browser exchanges for a session."""
        code, expire_time = await self._identity.create_session_code(caller())
        return pb.CreateSessionCodeResponse(code=code, expire_time=timestamp(expire_time))

    async def CreateApiKey(self, request: pb.CreateApiKeyRequest) -> pb.CreateApiKeyResponse:
        """Create a key for the caller. The secret is returned only once, so a repeated request gets no secret."""
        wanted = request.api_key
        expire_time = (
            to_datetime("api_key.expire_time", wanted.expire_time) if wanted.HasField("expire_time") else None
        )
        key, secret = await self._identity.create_api_key(
            caller(), wanted.display_name, expire_time, request_id(request.request_id)
        )
        return pb.CreateApiKeyResponse(api_key=people.api_key(key), secret=secret)

    async def ListApiKeys(self, request: pb.ListApiKeysRequest) -> pb.ListApiKeysResponse:
        """List the caller's keys."""
        asked = Listing(lists.API_KEYS, caller(), request)
        page = await self._identity.list_api_keys(caller(), asked.query)
        return pb.ListApiKeysResponse(
            api_keys=[people.api_key(one) for one in page.items], next_page_token=asked.token(page)
        )

    async def RevokeApiKey(self, request: pb.RevokeApiKeyRequest) -> api_key_pb2.ApiKey:
        """Revoke a key."""
        return people.api_key(
            await self._identity.revoke_api_key(caller(), named_uuid("name", "apiKeys", request.name))
        )
