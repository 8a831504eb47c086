"""The part of ChatService that is about shared answers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from google.protobuf.empty_pb2 import Empty

from responsa.chat.v1 import chat_service_pb2 as pb
from responsa.chat.v1 import share_pb2
from responsa_server.calls.call import caller
from responsa_server.calls.convert import shares
from responsa_server.calls.convert.values import to_datetime, uuid_of
from responsa_server.calls.listing import Listing
from responsa_server.domain import lists
from responsa_server.domain.errors import InvalidRequest
from responsa_server.domain.formatting import counted
from responsa_server.stores.postgres.shares import PostgresShares

_SHORTEST: Final = timedelta(minutes=1)
_MOST_DAYS: Final = 365
_USUAL: Final = timedelta(days=30)


class ShareService:
    """Answers that users share within their tenant."""

    def __init__(self, store: PostgresShares) -> None:
        self._store = store

    async def ShareTurn(self, request: pb.ShareTurnRequest) -> share_pb2.Share:
        now = datetime.now(UTC)
        ends = now + _USUAL
        if request.HasField("expire_time"):
            ends = to_datetime("expire_time", request.expire_time)
            # The page counts the days by its own clock.
            if not _SHORTEST <= ends - now <= timedelta(days=_MOST_DAYS, hours=1):
                raise InvalidRequest.of_field(
                    "expire_time",
                    "expire_time.range",
                    f"must be at least a minute from now, and within {counted(_MOST_DAYS, 'day')}",
                )
        share = await self._store.share(caller(), uuid_of("turn", "turns", request.turn), ends)
        return shares.share(share, caller(), answered=False)

    async def GetShare(self, request: pb.GetShareRequest) -> share_pb2.Share:
        share = await self._store.get(caller(), uuid_of("name", "shares", request.name))
        return shares.share(share, caller())

    async def ListShares(self, request: pb.ListSharesRequest) -> pb.ListSharesResponse:
        asked = Listing(lists.SHARES, caller(), request)
        page = await self._store.list(caller(), asked.query)
        return asked.answer(
            pb.ListSharesResponse, page, lambda item: shares.share(item, caller(), answered=False)
        )

    async def RevokeShare(self, request: pb.RevokeShareRequest) -> Empty:
        await self._store.revoke(caller(), uuid_of("name", "shares", request.name))
        return Empty()
