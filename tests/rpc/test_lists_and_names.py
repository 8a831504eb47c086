"""Lists, names and keys: the names, pages, filters and sort orders that callers may use."""

from __future__ import annotations

import re
from typing import Any

import grpc
from google.longrunning import operations_proto_pb2 as operations
from google.protobuf import message_factory
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration

from responsa.chat.v1 import chat_service_pb2 as chat
from responsa.chat.v1 import message_pb2
from responsa.rules import validate_pb2
from responsa_server.calls.authorisation import RULES, Rule
from responsa_server.calls.interceptors.validation import input_type
from tests.rpc.served import Caller, Failure, Served, failed

UNKNOWN = "0192f3c8-7a1e-7cc3-9b1e-2f6d2d5c1a10"
UUID_FORM = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
REST: dict[str, dict[str, object]] = {
    "GetDocumentPage": {"page": 1},
    "EraseTenant": {"confirm_tenant_id": "nowhere"},
    "ResolveFeedback": {"state": 1},
    **{method: {"users": [f"users/{UNKNOWN}"]} for method in ("AddGroupMembers", "RemoveGroupMembers")},
}
"""The other fields that a request must have."""
STREAMS = ("GetDocumentContent", "GetDocumentOriginal", "WatchOperation")


def unknown_name(field: FieldDescriptor) -> str:
    """A name of a resource that does not exist, in the form that the contract requires for the field. Google's operations have no rules."""
    form: str = field.GetOptions().Extensions[validate_pb2.field].string.pattern or f"operations/{UUID_FORM}"
    form = re.sub(r"\((\w+)\|.*?\)", r"\1", form.strip("^$"))
    form = re.sub(r"\(.*\)\?$", "", form).replace(UUID_FORM, UNKNOWN).replace("[1-9][0-9]{0,8}", "1")
    return re.sub(r"\[a-z.*\]\{0,\d+\}", "nowhere", form)


async def test_unknown_and_malformed_names(served: Served) -> None:
    """Calls every method that takes a name, with names of missing resources and with malformed names."""
    calls = 0
    for method in RULES:
        # The library has no descriptor of this version of reflection.
        if (descriptor := input_type(method)) is None:
            assert method.startswith("/grpc.reflection.v1."), method
            continue
        # UnlinkIdentity needs a recent sign-in; tests/cases has its names.
        if "name" not in descriptor.fields_by_name or method.endswith(("ListOperations", "UnlinkIdentity")):
            continue
        calls += 1
        kind = message_factory.GetMessageClass(descriptor)
        verb = method.rsplit("/", 1)[1]
        unknown = unknown_name(descriptor.fields_by_name["name"])
        noun = unknown.partition("/")[0]
        who = served.ann if RULES[method] in (Rule.ADMIN, Rule.OWNER) else served.bob

        async def ask(name: str) -> Failure:
            data = kind(name=name, **REST.get(verb, {})).SerializeToString()  # noqa: B023 - called only in this round
            return await failed(served.raw(method, data, who, stream=verb in STREAMS))  # noqa: B023

        error = await ask(unknown)
        reason = "TEACHER_NOT_FOUND" if noun == "teachers" else "RESOURCE_NOT_FOUND"
        assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, reason), method
        # Of a name with more parts, it is the first part that does not exist.
        assert unknown.startswith(error.metadata["resource_name"])
        assert error.metadata["resource_name"].startswith(f"{noun}/")
        for bad in (
            "",
            noun,
            f"{noun}/",
            f"{noun}/../x",
            f"{unknown}/more",
            f"other/{UNKNOWN}",
            f"{noun}/%2F",
            f"{noun}/Ä",
        ):
            error = await ask(bad)
            assert (error.reason, list(error.violations)) == ("INVALID_FIELD", ["name"]), (method, bad)
    assert calls >= 22


async def test_conversations_are_found_by_the_words_of_their_messages(served: Served) -> None:
    principal = served.bob.metadata
    texts = (
        f"{'Zugvögel ' * 40}Wie weit fliegt die STRASSENSCHWALBE im Jahr? {'Nester ' * 60}",
        "What does 100% of the fuel cost?",
        "What does 100 of them cost?",
    )
    turns = [await served.chat.Answer(chat.AnswerRequest(text=text), metadata=principal) for text in texts]

    async def matches(
        query: str, caller: Caller = served.bob, **more: Any
    ) -> chat.SearchConversationsResponse:
        request = chat.SearchConversationsRequest(
            query=query, filter="create_time > 2020-01-01T00:00:00Z", **more
        )
        return await served.chat.SearchConversations(request, metadata=caller.metadata)

    (swallow,) = (await matches("jahr schwalbe")).results
    assert swallow.conversation.name == turns[0].conversation
    message = next(one for one in swallow.messages if one.role == message_pb2.ROLE_USER)
    marked = [message.excerpt.encode()[one.start : one.end].decode() for one in message.matches]
    assert marked == ["SCHWALBE", "Jahr"]
    assert set(message.excerpt.split()) <= set(texts[0].split())  # it is cut at words
    assert len(message.excerpt) <= 240 < len(texts[0])
    assert [one.conversation.name for one in (await matches("100% cost")).results] == [turns[1].conversation]
    assert not (await matches("100% cost", served.ann)).results
    first = await matches("100", page_size=1)
    second = await matches("100", page_size=1, page_token=first.next_page_token)
    names = [one.conversation.name for page in (first, second) for one in page.results]
    assert names == [turns[2].conversation, turns[1].conversation]
    request = chat.SearchConversationsRequest(query="fuel", page_token=first.next_page_token)
    error = await failed(served.chat.SearchConversations(request, metadata=principal))
    assert error.reason == "PAGE_TOKEN_INVALID"


async def test_operations_are_checked_though_their_messages_have_no_rules(served: Served) -> None:
    caller = served.bob.metadata
    for request in (
        operations.ListOperationsRequest(name="x"),
        operations.ListOperationsRequest(page_size=-1),
    ):
        error = await failed(served.operations.ListOperations(request, metadata=caller))
        assert error.reason == "INVALID_FIELD"
    listed = await served.operations.ListOperations(
        operations.ListOperationsRequest(name="operations"), metadata=caller
    )
    assert list(listed.operations) == []
    error = await failed(
        served.operations.WaitOperation(
            operations.WaitOperationRequest(name=f"operations/{UNKNOWN}"), metadata=caller
        )
    )
    assert error.reason == "RESOURCE_NOT_FOUND"
    for wait, reason in (
        (Duration(seconds=-1), "INVALID_FIELD"),
        (Duration(seconds=5), "RESOURCE_NOT_FOUND"),
    ):
        request = operations.WaitOperationRequest(name=f"operations/{UNKNOWN}", timeout=wait)
        error = await failed(served.operations.WaitOperation(request, metadata=caller, timeout=30))
        assert error.reason == reason
