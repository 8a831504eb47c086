"""The part of AdminService that is about replays."""

from __future__ import annotations

from google.longrunning import operations_proto_pb2 as operations_pb2

from responsa.admin.v1 import admin_service_pb2 as pb
from responsa_server.calls.call import caller
from responsa_server.calls.convert import replays
from responsa_server.calls.convert.values import named_uuid, request_id
from responsa_server.calls.listing import Listing, Unfiltered
from responsa_server.domain import lists, names
from responsa_server.insight.replaying import Replays


class ReplayService:
    """Replays."""

    def __init__(self, administration: Replays) -> None:
        self._replays = administration

    async def StartReplay(self, request: pb.StartReplayRequest) -> operations_pb2.Operation:
        agent, number = names.parse_version(request.agent_version)
        operation = await self._replays.start(
            caller(),
            agent,
            number,
            replays.source(request),
            request.max_cost_usd_micros,
            request_id(request.request_id),
        )
        return replays.replay_operation(operation)

    async def ListReplayedQuestions(
        self, request: pb.ListReplayedQuestionsRequest
    ) -> pb.ListReplayedQuestionsResponse:
        listing = Listing(lists.REPLAYED_QUESTIONS, caller(), Unfiltered(request), parent=request.parent)
        page = await self._replays.store.list(
            caller().tenant_id, named_uuid("parent", "operations", request.parent), listing.query
        )
        return pb.ListReplayedQuestionsResponse(
            replayed_questions=[replays.replayed_question(one) for one in page.items],
            next_page_token=listing.token(page),
        )
