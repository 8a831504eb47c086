"""Agents and teachers, as callers see them."""

# The standard services' stubs are untyped, and requests are written as plain literals here.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false

from __future__ import annotations

import grpc
import pytest
from google.protobuf import json_format
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.struct_pb2 import Struct

from responsa.admin.v1 import admin_service_pb2 as admin
from responsa.admin.v1 import teacher_pb2
from responsa.chat.v1 import chat_service_pb2 as chat
from responsa_server.domain.agents import AgentProblem
from tests.rpc.served import Served, failed

CHOSEN = "0192f3c8-7a1e-7cc3-9b1e-2f6d2d5c1a10"
ADA = {"display_name": "Ada", "persona": "Patient, and fond of numbers."}


async def made(served: Served, **more: object) -> teacher_pb2.Teacher:
    request = admin.CreateTeacherRequest(teacher={**ADA, **more})
    return await served.admin.CreateTeacher(request, metadata=served.ann.metadata)


async def test_agents_are_listed_by_name(served: Served) -> None:
    async def names(**asked: object) -> list[str]:
        request = chat.ListAgentsRequest(**asked)
        found = await served.chat.ListAgents(request, metadata=served.bob.metadata)
        return [one.name for one in found.agents]

    assert await names() == ["agents/default", "agents/other"]
    assert await names(order_by="name desc") == ["agents/other", "agents/default"]
    for text, count in (
        ("display_name = Rivers", 1),
        ("display_name != Rivers", 1),
        ("display_name : RIVERS", 2),
        ("display_name : *", 2),
        ("display_name < P", 1),
        ("display_name <= Rivers", 2),
        ("display_name > 'Other rivers'", 1),
        ("display_name >= 'Other rivers' AND display_name != Rivers", 1),
    ):
        assert len(await names(filter=text)) == count, text


@pytest.mark.parametrize("order", ["", "name desc"])
async def test_agents_come_in_pages(served: Served, order: str) -> None:
    seen: list[str] = []
    token = ""
    while True:
        request = chat.ListAgentsRequest(page_size=1, page_token=token, order_by=order)
        page = await served.chat.ListAgents(request, metadata=served.bob.metadata)
        seen += [one.name for one in page.agents]
        token = page.next_page_token
        if not token:
            break
    assert seen == sorted(seen, reverse=bool(order))
    assert len(seen) == 2


async def test_an_agent_tells_what_it_can_be_asked_with(served: Served) -> None:
    request = chat.GetAgentRequest(name="agents/other")
    found = await served.chat.GetAgent(request, metadata=served.bob.metadata)
    assert json_format.MessageToDict(found, preserving_proto_field_name=True) == {
        "name": "agents/other",
        "display_name": "Other rivers",
        "description": "Longer ones.",
        "version": "agents/other/versions/7",
        # The server adds the caller's records to the schema. A list returns the schema without these records.
        "parameters_schema": {"properties": {"level": {"enum": ["low", "high"]}}, "title": "acme"},
        "examples": ["How long is it?"],
        "collections": ["collections/atlas"],
        "models": ["scripted:strong"],
        "history_messages": 4,
    }
    listed = await served.chat.ListAgents(chat.ListAgentsRequest(), metadata=served.bob.metadata)
    assert [one.is_default for one in listed.agents] == [True, False]
    assert "title" not in listed.agents[1].parameters_schema


async def test_a_turn_keeps_what_it_was_asked_with(served: Served) -> None:
    parameters = Struct()
    parameters.update({"level": "low", "years": [7, 8], "of": {"x": 0.5}})
    options = chat.AskOptions(parameters=parameters, max_cost_usd_micros=250)
    request = chat.AnswerRequest(text="Why?", options=options, request_id=CHOSEN)
    turn = await served.chat.Answer(request, metadata=served.bob.metadata)
    assert turn.parameters == parameters
    again = await served.chat.Answer(request, metadata=served.bob.metadata)
    assert again.name == turn.name
    for other in (
        chat.AskOptions(parameters=parameters, max_cost_usd_micros=251),
        chat.AskOptions(parameters={"level": "high"}, max_cost_usd_micros=250),
        chat.AskOptions(max_cost_usd_micros=250),
    ):
        changed = chat.AnswerRequest(text="Why?", options=other, request_id=CHOSEN)
        error = await failed(served.chat.Answer(changed, metadata=served.bob.metadata))
        assert error.reason == "REQUEST_ID_REUSED"


async def test_parameters_with_what_cannot_be_kept(served: Served) -> None:
    for content, field in (
        ({"level": "l\0w"}, "options.parameters.level"),
        ({"l\0": 1}, "options.parameters"),
        ({"of": {"x": ["a", "\0"]}}, "options.parameters.of.x[1]"),
        ({"x": "y" * 5000}, "options.parameters"),
    ):
        request = chat.AskRequest(text="Why?", options={"parameters": content})
        error = await failed(served.chat.Ask(request, metadata=served.bob.metadata))
        assert (error.code, list(error.violations)) == (grpc.StatusCode.INVALID_ARGUMENT, [field]), content
    bad = chat.AskRequest(text="Why?", options={"max_cost_usd_micros": -1})
    error = await failed(served.chat.Ask(bad, metadata=served.bob.metadata))
    assert error.violations == {"options.max_cost_usd_micros": "must be 1 or more"}


async def test_a_teacher_from_beginning_to_end(served: Served) -> None:
    who = served.ann.metadata
    request = admin.CreateTeacherRequest(
        teacher={**ADA, "parameters": {"subject": "maths", "year": 7}}, teacher_id=CHOSEN, request_id=CHOSEN
    )
    teacher = await served.admin.CreateTeacher(request, metadata=who)
    assert (teacher.name, teacher.display_name) == (f"teachers/{CHOSEN}", "Ada")
    assert dict(teacher.parameters) == {"subject": "maths", "year": 7}
    assert await served.admin.CreateTeacher(request, metadata=who) == teacher
    assert await served.admin.GetTeacher(admin.GetTeacherRequest(name=teacher.name), metadata=who) == teacher

    changed = teacher_pb2.Teacher(name=teacher.name, persona="Stern.", etag=teacher.etag)
    update = admin.UpdateTeacherRequest(
        teacher=changed, update_mask=FieldMask(paths=["persona", "parameters"])
    )
    after = await served.admin.UpdateTeacher(update, metadata=who)
    assert (after.display_name, after.persona, dict(after.parameters)) == ("Ada", "Stern.", {})
    assert after.etag != teacher.etag
    error = await failed(served.admin.UpdateTeacher(update, metadata=who))
    assert (error.code, error.reason) == (grpc.StatusCode.ABORTED, "ETAG_MISMATCH")
    stale = admin.DeleteTeacherRequest(name=teacher.name, etag=teacher.etag)
    assert (await failed(served.admin.DeleteTeacher(stale, metadata=who))).reason == "ETAG_MISMATCH"

    await served.admin.DeleteTeacher(admin.DeleteTeacherRequest(name=teacher.name, etag=after.etag), metadata=who)  # fmt: skip
    error = await failed(served.admin.GetTeacher(admin.GetTeacherRequest(name=teacher.name), metadata=who))
    assert (error.reason, error.metadata) == (
        "TEACHER_NOT_FOUND",
        {"resource_type": "teacher", "resource_name": teacher.name},
    )


async def test_teachers_that_cannot_be(served: Served) -> None:
    for teacher, fields in (
        (None, ["teacher"]),
        ({"display_name": "Ada"}, ["teacher.persona"]),
        ({"persona": "Kind.", "display_name": " \n"}, ["teacher.display_name"]),
        ({**ADA, "display_name": "x" * 201}, ["teacher.display_name"]),
        ({**ADA, "persona": "x" * 8193}, ["teacher.persona"]),
        ({**ADA, "parameters": {"x": "y" * 5000}}, ["teacher.parameters"]),
    ):
        request = admin.CreateTeacherRequest(teacher=teacher)
        error = await failed(served.admin.CreateTeacher(request, metadata=served.ann.metadata))
        assert (error.reason, list(error.violations)) == ("INVALID_FIELD", fields), teacher
    bad = admin.CreateTeacherRequest(teacher=ADA, teacher_id="ada")
    error = await failed(served.admin.CreateTeacher(bad, metadata=served.ann.metadata))
    assert list(error.violations) == ["teacher_id"]


async def test_changes_that_cannot_be(served: Served) -> None:
    name = (await made(served)).name
    for mask, fields in (
        (["display_name", "persona"], ["teacher.display_name", "teacher.persona"]),
        (["persona"], ["teacher.persona"]),
        (["etag"], ["update_mask"]),
        ([], ["update_mask"]),
    ):
        request = admin.UpdateTeacherRequest(
            teacher={"name": name, "persona": " "}, update_mask=FieldMask(paths=mask)
        )
        error = await failed(served.admin.UpdateTeacher(request, metadata=served.ann.metadata))
        assert (error.code, list(error.violations)) == (grpc.StatusCode.INVALID_ARGUMENT, fields), mask
    kept = await served.admin.GetTeacher(admin.GetTeacherRequest(name=name), metadata=served.ann.metadata)
    assert (kept.display_name, kept.persona) == (ADA["display_name"], ADA["persona"])


async def test_teachers_are_listed_and_never_another_tenants(served: Served) -> None:
    for name in ("Cleo", "Ada", "Bela"):
        await made(served, display_name=name)

    async def names(metadata: object, **asked: object) -> list[str]:
        request = admin.ListTeachersRequest(**asked)
        return [
            one.display_name for one in (await served.admin.ListTeachers(request, metadata=metadata)).teachers
        ]

    who = served.ann.metadata
    assert await names(who) == ["Cleo", "Ada", "Bela"]
    assert await names(who, order_by="display_name desc") == ["Cleo", "Bela", "Ada"]
    assert await names(who, filter="display_name : ad") == ["Ada"]
    assert await names(served.eve.metadata) == []
    page = await served.admin.ListTeachers(admin.ListTeachersRequest(page_size=2), metadata=who)
    rest = admin.ListTeachersRequest(page_size=2, page_token=page.next_page_token)
    assert [one.display_name for one in (await served.admin.ListTeachers(rest, metadata=who)).teachers] == [
        "Bela"
    ]
    for bad, reason in (
        ({"filter": "persona = x"}, "FILTER_INVALID"),
        ({"order_by": "persona"}, "ORDER_BY_INVALID"),
        ({"page_token": "x"}, "PAGE_TOKEN_INVALID"),
    ):
        error = await failed(served.admin.ListTeachers(admin.ListTeachersRequest(**bad), metadata=who))
        assert error.reason == reason


async def test_administrators_alone_manage_teachers_and_agents(served: Served) -> None:
    name = (await made(served)).name
    stub = served.admin
    for call, request in (
        (stub.CreateTeacher, admin.CreateTeacherRequest(teacher=ADA)),
        (stub.GetTeacher, admin.GetTeacherRequest(name=name)),
        (stub.ListTeachers, admin.ListTeachersRequest()),
        (stub.UpdateTeacher, admin.UpdateTeacherRequest(teacher={"name": name})),
        (stub.DeleteTeacher, admin.DeleteTeacherRequest(name=name)),
        (stub.ReloadAgents, admin.ReloadAgentsRequest()),
    ):
        error = await failed(call(request, metadata=served.bob.metadata))
        assert (error.code, error.reason) == (grpc.StatusCode.PERMISSION_DENIED, "ROLE_REQUIRED")
    assert served.cards.reloads == 0


async def test_a_reload_tells_of_each_agent(served: Served) -> None:
    served.cards.problems_of = [AgentProblem("agent.toml", 7, "nodes.x", "There is no kind x", "extract")]
    found = await served.admin.ReloadAgents(admin.ReloadAgentsRequest(), metadata=served.ann.metadata)
    assert [(one.agent, one.version, one.changed) for one in found.agents] == [
        ("agents/default", "agents/scripted/versions/1", True),
        ("agents/other", "agents/other/versions/7", False),
    ]
    (problem,) = found.agents[0].problems
    assert problem == admin.AgentProblem(
        file="agent.toml", line=7, key="nodes.x", message="There is no kind x", suggestion="extract"
    )


async def test_the_status_tells_what_was_counted(served: Served) -> None:
    for _ in range(2):
        served.counters.add("fallbacks", {"agent": "tutor", "kind": "without_retrieval"})
    served.counters.add("reloads", {})
    request = admin.GetSystemStatusRequest()
    found = await served.admin.GetSystemStatus(request, metadata=served.ann.metadata)
    assert [(one.name, dict(one.labels), one.value) for one in found.counters] == [
        ("fallbacks", {"agent": "tutor", "kind": "without_retrieval"}, 2),
        ("reloads", {}, 1),
    ]
