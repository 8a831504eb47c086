"""Descriptions of broken rules, malformed bytes, and the cost of a hostile request."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, cast
from uuid import UUID

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import ListValue, Struct, Value
from hypothesis import given
from hypothesis import strategies as st

from responsa.admin.v1 import admin_service_pb2, teacher_pb2
from responsa.auth.v1 import auth_service_pb2, user_pb2
from responsa.chat.v1 import chat_service_pb2 as chat
from responsa.chat.v1 import conversation_pb2
from responsa.knowledge.v1 import collection_pb2, reader_pb2
from responsa.knowledge.v1 import knowledge_service_pb2 as knowledge
from responsa.rules import validate_pb2
from responsa.type.v1 import scope_pb2
from responsa_server.calls import status, violations
from responsa_server.calls.authorisation import RULES
from responsa_server.calls.call import Call, Received
from responsa_server.calls.convert import structs
from responsa_server.calls.interceptors.validation import Validation, check_sizes, request_types
from responsa_server.domain.errors import InvalidRequest, Reason

LOADED = (admin_service_pb2, auth_service_pb2)
"""The imports of the methods under test: the type of a method's request is known only if the method's file is imported."""
ASK = "/responsa.chat.v1.ChatService/Ask"
BATCH = "/responsa.knowledge.v1.KnowledgeService/BatchSearch"
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


def shared(**reader: Any) -> knowledge.CreateCollectionRequest:
    """The request for a collection with one reader."""
    collection = collection_pb2.Collection(readers=[reader_pb2.Reader(**reader)])
    return knowledge.CreateCollectionRequest(collection_id="a", collection=collection)


def described(error: InvalidRequest) -> dict[str, str]:
    return {violation.field: violation.description for violation in error.violations}


def broken(error: InvalidRequest) -> list[tuple[str, str]]:
    """The field and the rule of each violation, in the order of the fields' names."""
    return sorted((violation.field, violation.rule) for violation in error.violations)


def rules(message: type[Message], field: str) -> Any:
    """The rules of a field in the contract."""
    return message.DESCRIPTOR.fields_by_name[field].GetOptions().Extensions[validate_pb2.field]


def numbers(text: str) -> set[int]:
    return {int(one) for one in re.findall(r"\d+", text)}


def test_each_field_says_what_is_wanted() -> None:
    scope = scope_pb2.Scope(collections=["collections/ok", "Not OK"])
    error = ask(
        text="x" * 17408, conversation="conversations/7", request_id="7", options=chat.AskOptions(scope=scope)
    )
    assert error.reason is Reason.INVALID_FIELD
    assert error.metadata == {"violations": "4"}
    assert broken(error) == [
        ("conversation", "string.pattern"),
        ("options.scope.collections[1]", "string.pattern"),
        ("request_id", "string.uuid"),
        ("text", "string.max_bytes"),
    ]
    descriptions = described(error)
    assert numbers(descriptions["text"]) >= {rules(chat.AskRequest, "text").string.max_bytes, 17408}
    form = rules(chat.AskRequest, "conversation").string.pattern
    assert descriptions["conversation"] == violations.in_words(form)
    form = rules(scope_pb2.Scope, "collections").repeated.items.string.pattern
    assert descriptions["options.scope.collections[1]"] == violations.in_words(form)
    assert "where the id is" in descriptions["options.scope.collections[1]"]
    assert "as returned by the server" in descriptions["conversation"]
    (example,) = re.findall(r"[0-9a-f-]{36}", descriptions["request_id"])
    assert UUID(example)


TURN = f"turns/{UUID(int=7)}"


@pytest.mark.parametrize(
    ("method", "request_", "field", "remedy"),
    [
        (
            "chat.v1.ChatService/SubmitFeedback",
            chat.SubmitFeedbackRequest(message=TURN, rating=cast("Any", 9)),
            "rating",
            "must be one of RATING_UP, RATING_DOWN",
        ),
        (
            "auth.v1.AuthService/CreateInvitation",
            auth_service_pb2.CreateInvitationRequest(role=user_pb2.USER_ROLE_SERVICE),
            "role",
            "must be one of USER_ROLE_USER, USER_ROLE_ADMIN",
        ),
        (
            "knowledge.v1.KnowledgeService/CreateCollection",
            shared(role=user_pb2.USER_ROLE_UNSPECIFIED),
            "collection.readers[0].role",
            "must be one of USER_ROLE_USER, USER_ROLE_ADMIN, USER_ROLE_SERVICE",
        ),
        (
            "knowledge.v1.KnowledgeService/CreateCollection",
            shared(everyone=False),
            "collection.readers[0].everyone",
            "must be true, or be left out",
        ),
        (
            "admin.v1.AdminService/CreateUser",
            admin_service_pb2.CreateUserRequest(user=user_pb2.User()),
            "user.display_name",
            "must have at least one character that is not white space",
        ),
        (
            "admin.v1.AdminService/CreateTeacher",
            admin_service_pb2.CreateTeacherRequest(teacher=teacher_pb2.Teacher(display_name="Ann")),
            "teacher.persona",
            "must have at least one character that is not white space",
        ),
        (
            "admin.v1.AdminService/UpdateTeacher",
            admin_service_pb2.UpdateTeacherRequest(teacher=teacher_pb2.Teacher()),
            "teacher.name",
            "must be the name of a teacher, teachers/{uuid}",
        ),
    ],
)  # fmt: skip
def test_the_field_and_its_choices_are_named_instead_of_the_rule(
    method: str, request_: Any, field: str, remedy: str
) -> None:
    error = refused(f"/responsa.{method}", request_, request_.FromString)
    assert described(error) == {field: remedy}
    assert error.message == f"{field}: {remedy}"


def test_a_chunk_that_is_too_large() -> None:
    most = rules(knowledge.UploadDocumentRequest, "chunk").bytes.max_len
    request = knowledge.UploadDocumentRequest(chunk=b"x" * (most + 1))
    error = refused(UPLOAD, request, knowledge.UploadDocumentRequest.FromString)
    assert broken(error) == [("chunk", "bytes.max_len")]
    assert numbers(error.message) == {most, most + 1}


def test_nul_characters_are_found_wherever_they_are() -> None:
    scope = scope_pb2.Scope(collections=["collections/a"])
    error = ask(text="Why\x00?", options=chat.AskOptions(scope=scope))
    assert broken(error) == [("text", "string.no_nul")]
    labels = conversation_pb2.Conversation(title="a\x00", labels={"b": "c\x00", "d\x00": "e"})
    descriptions = described(
        refused(
            "/responsa.chat.v1.ChatService/CreateConversation",
            chat.CreateConversationRequest(conversation=labels),
            chat.CreateConversationRequest.FromString,
        )
    )
    assert set(descriptions) == {"conversation.title", 'conversation.labels["b"]', "conversation.labels"}


def test_zero_bytes_in_chunks_are_no_text() -> None:
    request = knowledge.UploadDocumentRequest(chunk=b"\x00" * 10)
    call = Call(UPLOAD)
    received = Received(request.SerializeToString(), knowledge.UploadDocumentRequest.FromString)
    assert Validation().on_request(call, received) == request


@pytest.mark.parametrize(
    ("data", "fields"),
    [
        (b"\x12\x02\xff\xfe", ["text"]),
        (b"\x12\x03\xed\xa0\x80", ["text"]),  # an unpaired surrogate
        (b"\x12\x02ok\x22\x09\x12\x07\x0a\x02ab\x0a\x01\xff", ["options.scope.collections[1]"]),
        # Bytes that are no message.
        *((data, []) for data in (b"\xff\xff", b"\x12\x7fshort", b"\x0b", b"\x80")),
    ],
)
def test_bytes_that_are_no_message_name_the_field_that_is_not_utf8(data: bytes, fields: list[str]) -> None:
    error = refused(ASK, data, chat.AskRequest.FromString)
    assert error.reason is Reason.MALFORMED_MESSAGE
    assert error.metadata == {"message_type": "responsa.chat.v1.AskRequest"}
    assert broken(error) == [(field, "string.utf8") for field in fields]
    assert fields or "responsa.chat.v1.AskRequest" in error.message


@given(st.binary(max_size=300))
def test_no_bytes_break_the_search_for_the_field(data: bytes) -> None:
    violations.invalid_text(chat.AskRequest.DESCRIPTOR, data)


def calls_of(act: Callable[[], object]) -> int:
    """The number of calls of the server's functions and of C functions during `act`."""
    count = 0

    def on_event(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        if event in ("call", "c_call"):
            count += frame.f_globals["__name__"].startswith("responsa_server.")

    sys.setprofile(on_event)
    try:
        act()
    finally:
        sys.setprofile(None)
    return count


def test_a_list_that_is_too_long_is_one_violation_whatever_its_entries() -> None:
    """200,000 broken entries once blocked the event loop for seconds, because each entry was validated and described."""
    error = ask(options=chat.AskOptions(scope=scope_pb2.Scope(collections=[""] * 100_000)))
    assert error.metadata == {"violations": "1"}
    assert broken(error) == [("options.scope.collections", "repeated.max_items")]
    assert numbers(error.message) == {rules(scope_pb2.Scope, "collections").repeated.max_items}
    labels = conversation_pb2.Conversation(labels={str(number): "\x00" * 300 for number in range(33)})
    error = refused(
        "/responsa.chat.v1.ChatService/CreateConversation",
        chat.CreateConversationRequest(conversation=labels),
        chat.CreateConversationRequest.FromString,
    )
    assert broken(error) == [("conversation.labels", "map.max_pairs")]
    assert numbers(error.message) == {rules(conversation_pb2.Conversation, "labels").map.max_pairs}


def test_the_cost_of_refusing_does_not_grow_with_the_list() -> None:
    def refuse(entries: int) -> None:
        ask(options=chat.AskOptions(scope=scope_pb2.Scope(collections=[""] * entries)))

    refuse(65)
    assert calls_of(lambda: refuse(100_000)) == calls_of(lambda: refuse(65))


def test_a_long_list_within_an_entry_of_a_list_costs_no_more() -> None:
    def refuse(entries: int) -> None:
        batch = knowledge.BatchSearchRequest(
            requests=[knowledge.SearchRequest(terms=["why"]), knowledge.SearchRequest(terms=[""] * entries)]
        )
        error = refused(BATCH, batch, knowledge.BatchSearchRequest.FromString)
        assert broken(error) == [("requests[1].terms", "repeated.max_items")]

    refuse(9)
    assert calls_of(lambda: refuse(100_000)) == calls_of(lambda: refuse(9))


def test_at_most_sixteen_violations_are_described_and_all_are_counted() -> None:
    bad = [f"collections/{number} " for number in range(64)]
    error = ask(text="", options=chat.AskOptions(scope=scope_pb2.Scope(collections=bad)))
    assert error.metadata == {"violations": "65"}
    assert len(error.violations) == status.MAX_VIOLATIONS
    assert error.message.endswith("(64 more)")
    search = knowledge.SearchRequest(
        terms=["why"], scope=scope_pb2.Scope(collections=[f"{one}\x00" for one in bad])
    )
    found = violations.nul_characters(search)
    assert found is not None
    assert found.metadata == {"violations": "64"}
    assert [violation.field for violation in found.violations] == [
        f"scope.collections[{number}]" for number in range(16)
    ]


def test_a_message_over_its_methods_size_is_not_even_parsed() -> None:
    def parse(data: bytes) -> Message:
        raise AssertionError("parsed")

    error = refused(ASK, b"\x12" * (256 * 1024 + 1), parse)
    assert error.reason is Reason.INVALID_FIELD
    assert broken(error) == [("", "message.max_bytes")]
    assert numbers(error.message) == {256 * 1024, 256 * 1024 + 1}
    with pytest.raises(AssertionError, match="parsed"):
        refused(UPLOAD, b"\x12" * (256 * 1024 + 1), parse)


def test_the_largest_requests_that_the_rules_allow_fit() -> None:
    search = knowledge.SearchRequest(
        terms=["x" * 16_384] * 8,
        scope=scope_pb2.Scope(collections=[f"collections/{number:063d}" for number in range(64)]),
    )
    received = Received(search.SerializeToString(), knowledge.SearchRequest.FromString)
    call = Call("/responsa.knowledge.v1.KnowledgeService/Search", None)  # type: ignore[arg-type]
    assert Validation().on_request(call, received) == search
    document = knowledge.CreateDocumentRequest(text="x" * 1_048_576)
    document.metadata.collection = "collections/default"
    document.metadata.source_key = "k" * 1024
    received = Received(document.SerializeToString(), knowledge.CreateDocumentRequest.FromString)
    call = Call("/responsa.knowledge.v1.KnowledgeService/CreateDocument", None)  # type: ignore[arg-type]
    assert Validation().on_request(call, received) == document


def test_parameters_are_refused_by_their_size_before_anything_reads_them() -> None:
    """A list of 500,000 nulls under a key of 2 MB once took 22 s, because a path with the key was built for each entry."""

    def refuse(entries: int) -> None:
        parameters = Struct(fields={"k" * 9_000: Value(list_value=ListValue(values=[Value()] * entries))})
        error = ask(options=chat.AskOptions(parameters=parameters))
        assert broken(error) == [("options.parameters", "struct.max_bytes")]
        assert numbers(error.message) == {structs.MAX_BYTES}

    refuse(10_000)
    # Protobuf's list of values makes no call for each entry, so any difference would come from our code.
    assert calls_of(lambda: refuse(100_000)) == calls_of(lambda: refuse(10_000))


def test_every_list_with_rules_for_its_entries_has_a_limit() -> None:
    for request_kind in request_types(tuple(RULES)):
        assert check_sizes(request_kind()) is None
    with pytest.raises(ValueError, match=r"turns of a request"):
        check_sizes(_unbounded()())


def _unbounded() -> type[Message]:
    """A message with a list that has a rule for each entry but no limit on the number of entries."""
    file = descriptor_pb2.FileDescriptorProto(
        name="unbounded.proto", package="responsa.unbounded", dependency=["buf/validate/validate.proto"]
    )
    field = file.message_type.add(name="Unbounded").field.add(name="turns", number=1, type=9, label=3)
    field.options.Extensions[validate_pb2.field].repeated.items.string.min_len = 1
    pool = descriptor_pool.Default()
    pool.Add(file) if hasattr(pool, "Add") else pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("responsa.unbounded.Unbounded"))


def test_the_search_for_a_text_that_is_not_utf8_gives_up() -> None:
    harmless, broken = b"\x08\x00", b"\x12\x01\xff"
    assert violations.invalid_text(chat.AskRequest.DESCRIPTOR, harmless * 100 + broken) == "text"
    assert (
        violations.invalid_text(chat.AskRequest.DESCRIPTOR, harmless * violations.MAX_PARTS + broken) is None
    )


def patterns(descriptor: Any, seen: set[str]) -> set[str]:
    """All regular expressions in the rules of a message and of the messages inside it."""
    if descriptor.full_name in seen:
        return set()
    seen.add(descriptor.full_name)
    expressions: set[str] = set()
    for field in descriptor.fields:
        rules = field.GetOptions().Extensions[validate_pb2.field]
        for one in (rules, rules.repeated.items, rules.map.keys, rules.map.values):
            if one.string.HasField("pattern"):
                expressions.add(one.string.pattern)
        if field.message_type is not None:
            expressions |= patterns(field.message_type, seen)
    return expressions


def test_every_pattern_of_the_contract_has_words() -> None:
    seen: set[str] = set()
    found: set[str] = set()
    for request_kind in request_types(tuple(RULES)):
        found |= patterns(request_kind.DESCRIPTOR, seen)
    assert len(found) > 20
    for pattern in found:
        text = violations.in_words(pattern)
        assert text != violations.in_words("(no|form)"), pattern
        assert "[0-9a-f]" not in text
        assert "^" not in text
