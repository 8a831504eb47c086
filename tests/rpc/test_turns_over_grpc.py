"""Questions over gRPC: contiguous frames, attaching to a turn, and the stored result of a turn."""

from __future__ import annotations

import asyncio
from datetime import UTC
from uuid import uuid4

import grpc
import pytest

from responsa.chat.v1 import chat_service_pb2 as pb
from responsa.chat.v1 import turn_pb2
from responsa_client.errors import error_of_status
from responsa_server.domain.errors import Reason
from tests.rpc.served import ANSWER, PAGE, SECRET_CAUSE, Served, failed
from tests.rpc.streams import asked, events, kinds


async def test_a_question_without_deltas_covers_the_same_range(served: Served) -> None:
    request_id = str(uuid4())
    whole = await asked(served.bob, "Why?", request_id=request_id, include_deltas=True)
    less = await asked(served.bob, "Why?", request_id=request_id)
    assert less[0].turn == whole[0].turn
    assert less[-1].through_seq == whole[-1].through_seq
    assert [event for event in events(whole) if event.WhichOneof("event") != "delta"] == events(less)
    assert "delta" not in kinds(less)


async def test_ask_start_and_answer_share_a_request_id(served: Served) -> None:
    request_id = str(uuid4())
    who = served.bob
    first = await who.StartTurn(text="Why?", request_id=request_id)
    second = await who.Answer(text="Why?", request_id=request_id)
    third = await asked(served.bob, "Why?", request_id=request_id)
    assert first.name == second.name == third[0].turn
    assert second.state == turn_pb2.TURN_STATE_ANSWERED
    assert second.terminal_event == events(third)[-1]
    error = await failed(who.Answer(text="How?", request_id=request_id))
    assert (error.code, error.reason) == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")
    assert error.metadata["request_id"] == request_id


async def test_a_failure_is_returned_and_tells_nothing(served: Served) -> None:
    found = await asked(served.bob, "explode")
    last = events(found)[-1]
    error = error_of_status(last.failed.status)
    assert (error.reason, error.message) == (Reason.INTERNAL.value, "Something went wrong. Please try again.")
    assert SECRET_CAUSE not in str(found)
    answered = await served.bob.Answer(text="explode")
    assert answered.state == turn_pb2.TURN_STATE_FAILED
    assert answered.terminal_event.failed.status.message == error.message


async def test_a_caller_that_leaves_stops_nothing(served: Served) -> None:
    request_id = str(uuid4())
    call = served.bob.Ask(text="wait", request_id=request_id)
    frame = await call.read()
    assert isinstance(frame, pb.AskResponse)
    call.cancel()
    await served.lines.call("CANCELLED")
    served.agent.gate.set()
    again = await asked(served.bob, "wait", request_id=request_id)
    assert again[0].turn == frame.turn
    assert kinds(again)[-1] == "answer"


async def test_the_source_of_a_tool_is_cited_kept_and_checked(served: Served) -> None:
    who = served.bob
    frames = await asked(served.bob, "fetch")
    (returned,) = [
        event.tool_result for frame in frames for event in frame.events if event.HasField("tool_result")
    ]
    assert [(source.uri, source.title, source.text) for source in returned.sources] == [
        (PAGE.uri, PAGE.title, PAGE.text)
    ]
    (cited,) = frames[-1].events[-1].answer.citations
    assert (cited.uri, cited.title, cited.passage, cited.document_version) == (PAGE.uri, PAGE.title, "", "")
    result = cited.tool_result
    assert (result.call_id, result.tool, result.source_index) == ("tool-1", "tools/web_search", 0)
    assert result.fetch_time.ToDatetime(UTC) == PAGE.fetch_time
    text = returned.sources[result.source_index].text.encode()
    assert text[cited.source_range.start : cited.source_range.end].decode() == cited.quote == ANSWER

    turn = await who.GetTurn(name=frames[0].turn)
    listed = await who.ListMessages(parent=turn.conversation)
    assert list(listed.messages[1].citations) == [cited]
    for name in (turn.name, listed.messages[1].name):
        verified = await who.VerifyCitations(name=name)
        (check,) = verified.checks
        assert (check.verdict, check.citation, check.source_text) == (1, cited, PAGE.text)
        shown = check.source_text.encode()[check.quote_range.start : check.quote_range.end]
        assert shown.decode() == ANSWER


@pytest.mark.parametrize("deltas", [True, False])
async def test_many_streams_at_once(served: Served, deltas: bool) -> None:
    found = await asyncio.gather(*(asked(served.bob, f"Why {n}?", include_deltas=deltas) for n in range(20)))
    assert len({one[0].turn for one in found}) == 20
    assert all(events(one)[-1].answer.text == ANSWER for one in found)
