"""Questions over gRPC: contiguous frames, attaching to a turn, and the stored result of a turn."""

# The standard services' stubs are untyped, and requests are written as plain literals here.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false

from __future__ import annotations

import asyncio
from datetime import UTC
from uuid import uuid4

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from responsa.chat.v1 import chat_service_pb2 as pb
from responsa.chat.v1 import conversation_pb2, turn_pb2
from responsa_client.errors import error_of_status
from responsa_server.domain.errors import Reason
from tests.rpc.served import ANSWER, PAGE, SECRET_CAUSE, Served, failed
from tests.rpc.streams import asked, events, kinds


async def test_a_question_with_deltas(served: Served) -> None:
    found = await asked(served, served.bob, "How long is it?", include_deltas=True)
    told = events(found)
    assert [event.seq for event in told] == list(range(1, len(told) + 1))
    assert kinds(found)[:3] == ["started", "status", "status"]
    assert kinds(found)[-2:] == ["citation", "answer"]
    assert "".join(event.delta.text for event in told) == ANSWER == told[-1].answer.text
    assert told[0].started.created_conversation


async def test_a_question_without_deltas_covers_the_same_range(served: Served) -> None:
    request_id = str(uuid4())
    whole = await asked(served, served.bob, "Why?", request_id=request_id, include_deltas=True)
    less = await asked(served, served.bob, "Why?", request_id=request_id)
    assert less[0].turn == whole[0].turn
    assert less[-1].through_seq == whole[-1].through_seq
    assert [one for one in events(whole) if one.WhichOneof("event") != "delta"] == events(less)
    assert "delta" not in kinds(less)


async def test_ask_start_and_answer_share_a_request_id(served: Served) -> None:
    request_id = str(uuid4())
    who = served.bob.metadata
    first = await served.chat.StartTurn(pb.StartTurnRequest(text="Why?", request_id=request_id), metadata=who)
    second = await served.chat.Answer(pb.AnswerRequest(text="Why?", request_id=request_id), metadata=who)
    third = await asked(served, served.bob, "Why?", request_id=request_id)
    assert first.name == second.name == third[0].turn
    assert second.state == turn_pb2.TURN_STATE_ANSWERED
    assert second.terminal_event == events(third)[-1]
    error = await failed(
        served.chat.Answer(pb.AnswerRequest(text="How?", request_id=request_id), metadata=who)
    )
    assert (error.code, error.reason) == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")
    assert error.metadata["request_id"] == request_id


async def test_a_refusal_is_an_outcome(served: Served) -> None:
    found = await asked(served, served.bob, "refuse this")
    last = events(found)[-1]
    assert last.refused.reason == turn_pb2.REFUSAL_REASON_NO_SUPPORT
    answered = await served.chat.Answer(pb.AnswerRequest(text="refuse this"), metadata=served.bob.metadata)
    assert answered.state == turn_pb2.TURN_STATE_REFUSED


async def test_a_failure_is_returned_and_tells_nothing(served: Served) -> None:
    found = await asked(served, served.bob, "explode")
    last = events(found)[-1]
    error = error_of_status(last.failed.status)
    assert (error.reason, error.message) == (Reason.INTERNAL.value, "Something went wrong. Please try again.")
    assert SECRET_CAUSE not in str(found)
    answered = await served.chat.Answer(pb.AnswerRequest(text="explode"), metadata=served.bob.metadata)
    assert answered.state == turn_pb2.TURN_STATE_FAILED
    assert answered.terminal_event.failed.status.message == error.message


async def test_a_second_active_turn_is_refused(served: Served) -> None:
    who = served.bob.metadata
    first = await served.chat.StartTurn(pb.StartTurnRequest(text="wait"), metadata=who)
    second = pb.AnswerRequest(text="Why?", conversation=first.conversation)
    error = await failed(served.chat.Answer(second, metadata=who))
    assert (error.code, error.reason) == (grpc.StatusCode.ABORTED, "CONVERSATION_BUSY")
    assert error.metadata == {"conversation": first.conversation, "active_turn": first.name}
    conversation = await served.chat.GetConversation(
        pb.GetConversationRequest(name=first.conversation), metadata=who
    )
    assert conversation.active_turn == first.name
    served.agent.gate.set()
    await asked(served, served.bob, "wait", request_id="", conversation="")
    assert (await served.chat.GetTurn(pb.GetTurnRequest(name=first.name), metadata=who)).text == "wait"


async def test_a_caller_that_leaves_stops_nothing(served: Served) -> None:
    request_id = str(uuid4())
    call = served.chat.Ask(pb.AskRequest(text="wait", request_id=request_id), metadata=served.bob.metadata)
    frame = await call.read()
    assert isinstance(frame, pb.AskResponse)
    call.cancel()
    await served.lines.call("CANCELLED")
    served.agent.gate.set()
    again = await asked(served, served.bob, "wait", request_id=request_id)
    assert again[0].turn == frame.turn
    assert kinds(again)[-1] == "answer"


async def test_messages_and_citations_are_kept(served: Served) -> None:
    who = served.bob.metadata
    turn = await served.chat.Answer(pb.AnswerRequest(text="How long is it?"), metadata=who)
    listed = await served.chat.ListMessages(pb.ListMessagesRequest(parent=turn.conversation), metadata=who)
    question, answer = listed.messages
    assert (question.text, answer.text) == ("How long is it?", ANSWER)
    assert answer.citations == turn.terminal_event.answer.citations
    assert await served.chat.GetMessage(pb.GetMessageRequest(name=answer.name), metadata=who) == answer
    for name in (turn.name, answer.name):
        verified = await served.chat.VerifyCitations(pb.VerifyCitationsRequest(name=name), metadata=who)
        assert [one.verdict for one in verified.checks] == [3]  # the script cites a missing passage


async def test_the_source_of_a_tool_is_cited_kept_and_checked(served: Served) -> None:
    who = served.bob.metadata
    frames = await asked(served, served.bob, "fetch")
    (returned,) = [one.tool_result for frame in frames for one in frame.events if one.HasField("tool_result")]
    assert [(one.uri, one.title, one.text) for one in returned.sources] == [(PAGE.uri, PAGE.title, PAGE.text)]
    (cited,) = frames[-1].events[-1].answer.citations
    assert (cited.uri, cited.title, cited.passage, cited.document_version) == (PAGE.uri, PAGE.title, "", "")
    result = cited.tool_result
    assert (result.call_id, result.tool, result.source_index) == ("tool-1", "tools/web_search", 0)
    assert result.fetch_time.ToDatetime(UTC) == PAGE.fetch_time
    text = returned.sources[result.source_index].text.encode()
    assert text[cited.source_range.start : cited.source_range.end].decode() == cited.quote == ANSWER

    turn = await served.chat.GetTurn(pb.GetTurnRequest(name=frames[0].turn), metadata=who)
    listed = await served.chat.ListMessages(pb.ListMessagesRequest(parent=turn.conversation), metadata=who)
    assert list(listed.messages[1].citations) == [cited]
    for name in (turn.name, listed.messages[1].name):
        verified = await served.chat.VerifyCitations(pb.VerifyCitationsRequest(name=name), metadata=who)
        (check,) = verified.checks
        assert (check.verdict, check.citation, check.source_text) == (1, cited, PAGE.text)
        shown = check.source_text.encode()[check.quote_range.start : check.quote_range.end]
        assert shown.decode() == ANSWER


async def test_conversations_are_changed_whole_or_not_at_all(served: Served) -> None:
    who = served.bob.metadata
    wanted = conversation_pb2.Conversation(title="Rivers", labels={"topic": "water"})
    request_id = str(uuid4())
    create = pb.CreateConversationRequest(conversation=wanted, request_id=request_id)
    made = await served.chat.CreateConversation(create, metadata=who)
    assert await served.chat.CreateConversation(create, metadata=who) == made
    assert (made.title, dict(made.labels)) == ("Rivers", {"topic": "water"})

    made.title, made.labels["topic"] = "Lakes", "still"
    update = pb.UpdateConversationRequest(conversation=made, update_mask=FieldMask(paths=["title"]))
    changed = await served.chat.UpdateConversation(update, metadata=who)
    assert (changed.title, dict(changed.labels)) == ("Lakes", {"topic": "water"})

    # The etag is out of date by now.
    error = await failed(served.chat.UpdateConversation(update, metadata=who))
    assert (error.code, error.reason) == (grpc.StatusCode.ABORTED, "ETAG_MISMATCH")
    for paths in ([], ["name"]):
        odd = pb.UpdateConversationRequest(conversation=changed, update_mask=FieldMask(paths=paths))
        assert (
            await failed(served.chat.UpdateConversation(odd, metadata=who))
        ).reason == "UPDATE_MASK_INVALID"
    error = await failed(served.chat.UpdateConversation(pb.UpdateConversationRequest(), metadata=who))
    assert list(error.violations) == ["conversation"]

    await served.chat.DeleteConversation(pb.DeleteConversationRequest(name=changed.name), metadata=who)
    gone = await failed(
        served.chat.GetConversation(pb.GetConversationRequest(name=changed.name), metadata=who)
    )
    assert gone.reason == "RESOURCE_NOT_FOUND"


@pytest.mark.parametrize("deltas", [True, False])
async def test_many_streams_at_once(served: Served, deltas: bool) -> None:
    found = await asyncio.gather(
        *(asked(served, served.bob, f"Why {n}?", include_deltas=deltas) for n in range(20))
    )
    assert len({one[0].turn for one in found}) == 20
    assert all(events(one)[-1].answer.text == ANSWER for one in found)
