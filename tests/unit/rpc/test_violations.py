"""Broken rules, told to people; and malformed bytes."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import descriptor_pool
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from buf.validate import validate_pb2
from responsa.chat.v1 import chat_service_pb2 as chat
from responsa.chat.v1 import conversation_pb2, turn_pb2
from responsa.knowledge.v1 import knowledge_service_pb2 as knowledge
from responsa_server.calls import violations, wire
from responsa_server.calls.authorisation import RULES
from responsa_server.calls.call import Call
from responsa_server.calls.interceptors.shape import Received
from responsa_server.calls.interceptors.validation import Validation, request_types
from responsa_server.domain.errors import InvalidRequest, Reason

ASK = "/responsa.chat.v1.ChatService/Ask"
UPLOAD = "/responsa.knowledge.v1.KnowledgeService/UploadDocument"


def refused(method: str, data: bytes | Message, parse: Any) -> InvalidRequest:
    raw = data if isinstance(data, bytes) else data.SerializeToString()
    call = Call(method)
    with pytest.raises(InvalidRequest) as caught:
        Validation().on_request(call, Received(raw, parse))
    return caught.value


def ask(**fields: Any) -> InvalidRequest:
    return refused(
        ASK, chat.AskRequest(**dict[str, Any]({"text": "Why?"}, **fields)), chat.AskRequest.FromString
    )


def told(error: InvalidRequest) -> dict[str, str]:
    return {one.field: one.description for one in error.violations}


def test_each_field_says_what_is_wanted() -> None:
    scope = turn_pb2.Scope(collections=["collections/ok", "Not OK"])
    error = ask(
        text="x" * 17408, conversation="conversations/7", request_id="7", options=chat.AskOptions(scope=scope)
    )
    assert error.reason is Reason.INVALID_FIELD
    assert error.metadata == {"violations": "4"}
    found = told(error)
    assert found["text"] == "must be at most 16384 bytes of UTF-8 and has 17408; shorten it"
    assert found["conversation"].startswith("must be the name of a conversation")
    assert found["request_id"].startswith("must be a UUID, e.g. ")
    assert found["options.scope.collections[1]"].startswith(
        "must be the name of a collection, collections/{id}"
    )
    assert {one.rule for one in error.violations} == {"string.max_bytes", "string.pattern", "string.uuid"}


@pytest.mark.parametrize("text", ["", " \n\t "])
def test_an_empty_question_is_one_violation(text: str) -> None:
    error = ask(text=text)
    assert [one.field for one in error.violations] == ["text"]
    assert error.message.startswith("text: must")


def test_labels_are_named_by_their_key() -> None:
    conversation = conversation_pb2.Conversation(labels={"topic": "x" * 256, "k" * 80: "y"})
    request = chat.CreateConversationRequest(conversation=conversation)
    error = refused(
        "/responsa.chat.v1.ChatService/CreateConversation", request, chat.CreateConversationRequest.FromString
    )
    found = told(error)
    assert 'conversation.labels["topic"]' in found
    assert f'conversation.labels["{"k" * 64}…"]' in found


def test_an_upload_without_a_part() -> None:
    error = refused(UPLOAD, b"", knowledge.UploadDocumentRequest.FromString)
    assert told(error) == {"part": "exactly one of its fields must be given"}


def test_a_chunk_that_is_too_large() -> None:
    request = knowledge.UploadDocumentRequest(chunk=b"x" * 262_145)
    error = refused(UPLOAD, request, knowledge.UploadDocumentRequest.FromString)
    assert told(error) == {"chunk": "must be at most 262144 bytes and has 262145; send it in smaller pieces"}


def test_nul_characters_are_found_wherever_they_are() -> None:
    scope = turn_pb2.Scope(collections=["collections/a"])
    error = ask(text="Why\x00?", options=chat.AskOptions(scope=scope))
    assert [(one.field, one.rule) for one in error.violations] == [("text", "string.no_nul")]
    labels = conversation_pb2.Conversation(title="a\x00", labels={"b": "c\x00", "d\x00": "e"})
    found = told(
        refused(
            "/responsa.chat.v1.ChatService/CreateConversation",
            chat.CreateConversationRequest(conversation=labels),
            chat.CreateConversationRequest.FromString,
        )
    )
    assert set(found) == {"conversation.title", 'conversation.labels["b"]', "conversation.labels"}


def test_zero_bytes_in_chunks_are_no_text() -> None:
    request = knowledge.UploadDocumentRequest(chunk=b"\x00" * 10)
    call = Call(UPLOAD)
    received = Received(request.SerializeToString(), knowledge.UploadDocumentRequest.FromString)
    assert Validation().on_request(call, received) == request


@pytest.mark.parametrize(
    ("data", "field"),
    [
        (b"\x12\x02\xff\xfe", "text"),
        (b"\x12\x03\xed\xa0\x80", "text"),  # an unpaired surrogate
        (b"\x12\x02ok\x22\x09\x12\x07\x0a\x02ab\x0a\x01\xff", "options.scope.collections[1]"),
    ],
)
def test_text_that_is_not_utf8_names_its_field(data: bytes, field: str) -> None:
    error = refused(ASK, data, chat.AskRequest.FromString)
    assert error.reason is Reason.MALFORMED_MESSAGE
    assert error.metadata == {"message_type": "responsa.chat.v1.AskRequest"}
    assert [one.field for one in error.violations] == [field]
    assert error.message == f"{field}: must be text in UTF-8 and holds other bytes; encode it as UTF-8"


@pytest.mark.parametrize("data", [b"\xff\xff", b"\x12\x7fshort", b"\x0b", b"\x80"])
def test_bytes_that_are_no_message(data: bytes) -> None:
    error = refused(ASK, data, chat.AskRequest.FromString)
    assert error.reason is Reason.MALFORMED_MESSAGE
    assert error.violations == ()
    assert "responsa.chat.v1.AskRequest" in error.message


@given(st.binary(max_size=300))
def test_no_bytes_break_the_search_for_the_field(data: bytes) -> None:
    wire.invalid_text(chat.AskRequest.DESCRIPTOR, data)


def patterns(descriptor: Any, seen: set[str]) -> set[str]:
    """All regular expressions in the rules of a message and of those inside it."""
    if descriptor.full_name in seen:
        return set()
    seen.add(descriptor.full_name)
    found: set[str] = set()
    for field in descriptor.fields:
        rules = field.GetOptions().Extensions[validate_pb2.field]
        for one in (rules, rules.repeated.items, rules.map.keys, rules.map.values):
            if one.string.HasField("pattern"):
                found.add(one.string.pattern)
        if field.message_type is not None:
            found |= patterns(field.message_type, seen)
    return found


def test_every_pattern_of_the_contract_has_words() -> None:
    seen: set[str] = set()
    found: set[str] = set()
    for one in request_types(tuple(RULES)):
        found |= patterns(one.DESCRIPTOR, seen)
    assert found == set(violations.PATTERNS)


def test_no_remedy_shows_a_regular_expression() -> None:
    for text in violations.PATTERNS.values():
        assert "[0-9a-f]" not in text
        assert "^" not in text


def test_rules_of_all_methods_compile() -> None:
    Validation().warm(request_types(tuple(RULES)))
    pool = descriptor_pool.Default()
    assert pool.FindMessageTypeByName("responsa.chat.v1.AskRequest") is not None
