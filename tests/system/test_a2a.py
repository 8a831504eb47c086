"""A2A on a real instance: the official clients of Python and Node, over JSON-RPC and over gRPC."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Awaitable
from typing import Any, Final

import grpc.aio
import httpx2
import pytest
from a2a import types as a2a
from grpc_reflection.v1alpha import reflection_pb2
from uuid_utils.compat import uuid7

from responsa.auth.v1.user_pb2 import USER_ROLE_SERVICE
from responsa_client import Responsa
from responsa_server.calls.json_rpc import MAX_BODY
from responsa_server.transports.a2a.routes import SERVICE
from tests.instance import ROOT, Instance
from tests.raising import raises
from tests.system.a2a_asking import WAYS, Read, asking, data_of, text_of

FERRY: Final = "When does the ferry to Skye leave Mallaig?"
ENDLESS: Final = "tokens=2000 pace_ms=50"
QUICK: Final = "tokens=40 pace_ms=1"
NO_RECORD: Final = "What is my openness?"
"""A question that the agent `personal` refuses, because there is no document about the caller."""


def run(work: Awaitable[None]) -> None:
    asyncio.run(work)  # pyright: ignore[reportArgumentType]


@pytest.fixture
def responsa(second: Instance) -> Any:
    with Responsa(second.url, second.key) as made:
        yield made


@pytest.mark.parametrize("way", WAYS)
def test_a_client_asks_follows_and_cancels(second: Instance, responsa: Responsa, way: str) -> None:
    async def work() -> None:
        async with (
            asking(second, "default", way) as default,
            asking(second, "testing", way) as testing,
            asking(second, "personal", way) as personal,
        ):
            message_id = str(uuid7())
            task = await default.send(FERRY, message_id=message_id)
            turn = responsa.get_turn(f"turns/{task.id}")
            answer = turn.terminal_event.answer
            (artifact,) = task.artifacts
            assert (turn.request_id, turn.conversation) == (message_id, f"conversations/{task.context_id}")
            assert (task.status.state, text_of(artifact)) == (a2a.TaskState.TASK_STATE_COMPLETED, answer.text)
            (first, *_) = data_of(artifact)["citations"]
            assert first["quote"] in (one.quote for one in answer.citations)
            assert answer.text[int(first["start"]) : int(first["end"])]
            assert task.history[0].parts[0].text == FERRY
            assert await default.send(FERRY, message_id=message_id) == task == await default.get(task.id)
            follow_up = await default.send("And in winter?", context_id=task.context_id)
            assert follow_up.context_id == task.context_id

            refusal = await personal.send(NO_RECORD)
            assert refusal.status.state == a2a.TaskState.TASK_STATE_REJECTED
            assert refusal.status.message.parts[0].text

            read = Read()
            async for event in default.stream(FERRY):
                read.take(event)
            assert read.task.status.state in (
                a2a.TaskState.TASK_STATE_SUBMITTED,
                a2a.TaskState.TASK_STATE_WORKING,
            )
            assert read.states[-1] == a2a.TaskState.TASK_STATE_COMPLETED
            assert (read.text, len(read.data["citations"])) == (answer.text, len(answer.citations))

            endless = await testing.send(ENDLESS, now=True)
            read = Read()
            async for event in testing.subscribe(endless.id):
                had = bool(read.text)
                read.take(event)
                if read.text and not had:
                    cancelled = await testing.cancel(endless.id)
                    assert cancelled.status.state == a2a.TaskState.TASK_STATE_CANCELED
            assert (read.task.id, read.states[-1]) == (endless.id, a2a.TaskState.TASK_STATE_CANCELED)
            assert (await testing.cancel(endless.id)).status.state == a2a.TaskState.TASK_STATE_CANCELED

            async def unknown() -> None:
                await default.get(str(uuid7()))

            async def followed() -> None:
                async for _ in default.subscribe(task.id):
                    pass

            image = a2a.Part(raw=b"x", media_type="image/png", filename="x.png")
            for failing, kind in (
                (unknown(), a2a.TaskNotFoundError),
                (default.get("no uuid"), a2a.TaskNotFoundError),
                (default.cancel(task.id), a2a.TaskNotCancelableError),
                (followed(), a2a.UnsupportedOperationError),
                (default.send(FERRY, task_id=task.id), a2a.UnsupportedOperationError),
                (default.send("", part=image), a2a.ContentTypeNotSupportedError),
                (default.send(" "), a2a.InvalidParamsError),
                (default.send(FERRY, context_id="mine"), a2a.InvalidParamsError),
            ):
                await raises(kind, failing)

    run(work())


def test_the_tasks_of_others_are_not_found(second: Instance, responsa: Responsa) -> None:
    service = responsa.create_user("Other", role=USER_ROLE_SERVICE)
    key = responsa.create_service_api_key(service.name, "other").secret

    async def work() -> None:
        async with asking(second, "testing") as own, asking(second, "testing", key=key) as other:
            task = await own.send(ENDLESS, now=True)

            async def followed() -> None:
                async for _ in other.subscribe(task.id):
                    pass

            for failing in (
                other.get(task.id),
                other.cancel(task.id),
                followed(),
                other.send(QUICK, task_id=task.id),
            ):
                assert (await raises(a2a.TaskNotFoundError, failing)).data["reason"] == "RESOURCE_NOT_FOUND"
            await raises(a2a.InvalidParamsError, other.send(QUICK, context_id=task.context_id))
            await own.cancel(task.id)

    run(work())


def test_a_caller_lists_the_own_tasks(second: Instance, responsa: Responsa) -> None:
    service = responsa.create_user("Lister", role=USER_ROLE_SERVICE)
    key = responsa.create_service_api_key(service.name, "lister").secret

    async def work() -> None:
        async with (
            asking(second, "default", key=key) as rpc,
            asking(second, "default", "gRPC", key=key) as over_grpc,
            asking(second, "personal", key=key) as personal,
        ):
            empty = await rpc.list()
            assert (len(empty.tasks), empty.total_size, empty.page_size, empty.next_page_token) == (
                0,
                0,
                50,
                "",
            )
            first = await rpc.send(FERRY)
            others = [await rpc.send(FERRY, context_id=first.context_id), await personal.send(NO_RECORD)]
            made = [task.id for task in (first, *others)]
            for way in (rpc, over_grpc):
                page = await way.list(page_size=2)
                rest = await way.list(page_size=2, page_token=page.next_page_token)
                assert [task.id for task in (*page.tasks, *rest.tasks)] == made[::-1]
                assert (page.total_size, rest.total_size, rest.next_page_token) == (3, 3, "")
                assert not any(task.artifacts for task in page.tasks)
                whole = await way.list(context_id=first.context_id, include_artifacts=True)
                assert list(whole.tasks) == [others[0], first]
                rejected = await way.list(status=a2a.TaskState.TASK_STATE_REJECTED, history_length=0)
                assert [(task.id, len(task.history)) for task in rejected.tasks] == [(made[2], 0)]
                for state in (a2a.TaskState.TASK_STATE_SUBMITTED, a2a.TaskState.TASK_STATE_AUTH_REQUIRED):
                    assert not (await way.list(status=state)).tasks
                assert not (await way.list(context_id='x" OR state = "FAILED')).tasks
                for wrong in ({"page_size": 101}, {"page_token": "x"}):
                    await raises(a2a.InvalidParamsError, way.list(**wrong))

    run(work())


def test_the_cards_say_how_to_reach_the_agents(second: Instance) -> None:
    with httpx2.Client(base_url=second.url, timeout=30) as http:
        card = http.get("/.well-known/agent-card.json").json()
        assert [(one["url"], one["protocolVersion"]) for one in card["supportedInterfaces"]] == [
            (f"{second.url}/a2a", "1.0"),
            (second.target, "1.0"),
        ]
        told = http.get("/.well-known/agent-card.json").headers
        assert (told["cache-control"], "last-modified" in told) == ("public, max-age=60", True)
        known = {"if-none-match": told["etag"]}
        assert http.get("/.well-known/agent-card.json", headers=known).status_code == 304
        assert card["securitySchemes"]["bearer"]["httpAuthSecurityScheme"]["scheme"] == "Bearer"
        path = "/a2a/testing/.well-known/agent-card.json"
        assert http.get(path).status_code == 401
        headers = {"authorization": f"Bearer {second.key}"}
        assert http.get(path, headers=headers).json()["skills"][0]["id"] == "testing"
        assert http.get(path.replace("testing", "nobody"), headers=headers).status_code == 404

    async def work() -> None:
        async with asking(second, "default") as default, asking(second, "testing", "gRPC") as testing:
            wanted = a2a.GetExtendedAgentCardRequest()
            for one, skill in ((default, "default"), (testing, "testing")):
                extended = await one.client.get_extended_agent_card(wanted, context=one.context)
                assert extended.skills[0].id == skill
                urls = [interface.url for interface in extended.supported_interfaces]
                path = f"{second.url}/a2a/{skill}"
                assert urls == [path, second.target]
            reflecting: Any = grpc.aio.insecure_channel(second.target)
            async with reflecting as channel:
                call = channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
                requests = (
                    reflection_pb2.ServerReflectionRequest(list_services=""),
                    reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICE),
                )
                listed, file = [
                    reflection_pb2.ServerReflectionResponse.FromString(reply)
                    async for reply in call(request.SerializeToString() for request in requests)
                ]
                authorised = ("authorization", f"Bearer {second.key}")
                message = a2a.Message(message_id="1", role=a2a.Role.ROLE_USER, parts=[a2a.Part(text=QUICK)])
                question = a2a.SendMessageRequest(message=message).SerializeToString()
                for method, body in (("CreateTaskPushNotificationConfig", b""), ("SendMessage", question)):
                    unsupported = channel.unary_unary(f"/{SERVICE}/{method}")
                    with pytest.raises(grpc.aio.AioRpcError) as caught:
                        await unsupported(body, metadata=(authorised, ("a2a-version", "9.0")))
                    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
            assert SERVICE in [one.name for one in listed.list_services_response.service]
            assert file.file_descriptor_response.file_descriptor_proto

    run(work())


def test_bad_requests_are_refused_in_the_shape_of_json_rpc(second: Instance) -> None:
    with httpx2.Client(base_url=second.url, timeout=30) as http:

        def error_of(
            body: object, method: str = "POST", path: str = "/a2a", **headers: str
        ) -> tuple[int, int, list[Any]]:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            headers = {
                "content-type": "application/json",
                "authorization": f"Bearer {second.key}",
                "a2a-version": "1.0",
                **headers,
            }
            reply = http.request(method, path, content=data, headers=headers)
            error = reply.json()["error"]
            return reply.status_code, error["code"], error["data"]

        def rpc(method: str, params: object) -> dict[str, Any]:
            return {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}

        def reasons(error: tuple[int, int, list[Any]]) -> tuple[int, int, list[str]]:
            return error[0], error[1], [one["reason"] for one in error[2] if "reason" in one]

        def fields(body: object) -> list[str]:
            status, code, data = error_of(body)
            assert (status, code) == (200, -32602)
            return [one["field"] for detail in data for one in detail.get("fieldViolations", [])]

        listing = rpc("GetTask", {"id": "x"})
        assert reasons(error_of(listing, authorization="")) == (401, -32000, ["CREDENTIAL_MALFORMED"])
        assert reasons(error_of(listing, "GET")) == (405, -32600, ["ROUTE_NOT_FOUND"])
        assert reasons(error_of(b"{")) == (400, -32700, ["MALFORMED_MESSAGE"])
        assert reasons(error_of([listing])) == (400, -32600, ["MALFORMED_MESSAGE"])
        assert reasons(error_of(b'"' + b"x" * MAX_BODY + b'"')) == (400, -32600, ["MALFORMED_MESSAGE"])
        typed = reasons(error_of(listing, **{"content-type": "text/plain"}))
        assert typed == (200, -32005, ["CONTENT_TYPE_NOT_SUPPORTED", "MALFORMED_MESSAGE"])
        assert reasons(error_of(listing)) == (200, -32001, ["TASK_NOT_FOUND", "RESOURCE_NOT_FOUND"])
        assert reasons(error_of(rpc("Dance", {}))) == (200, -32601, ["METHOD_NOT_FOUND", "ROUTE_NOT_FOUND"])
        for version in ("", "0.3", "2.0"):
            refused = error_of(listing, **{"a2a-version": version})
            assert reasons(refused)[:2] == (200, -32009)
            assert reasons(refused)[2][0] == "VERSION_NOT_SUPPORTED"
        pushing = rpc("CreateTaskPushNotificationConfig", {"taskId": "x"})
        assert reasons(error_of(pushing))[1] == -32003
        said = {"role": "ROLE_USER", "messageId": "1", "parts": [{"text": "tokens=1"}]}
        assert fields(rpc("SendMessage", {"message": {**said, "parts": [{"text": 7}]}})) == [
            "message.parts[0].text"
        ]
        assert fields(rpc("SendMessage", {"message": {**said, "parts": []}})) == ["message.parts"]
        assert fields(rpc("SendMessage", {"message": said, "tenant": "No!"})) == ["tenant"]
        scope = {"scope": {"collections": ["No!"]}}
        assert fields(rpc("SendMessage", {"message": said, "metadata": {"responsa": scope}})) == [
            "metadata.responsa.scope.collections[0]"
        ]
        assert fields(rpc("SendMessage", {"message": said, "metadata": {"responsa": {"colour": 1}}})) == [
            "metadata.responsa.colour"
        ]
        assert fields(rpc("SendMessage", {"message": said | {"role": "ROLE_AGENT"}})) == ["message.role"]
        assert fields(rpc("SendMessage", ["x"])) == ["params"]
        # A field that another version of the protocol may have is ignored.
        assert reasons(error_of(rpc("GetTask", {"id": "x", "colour": 1})))[1] == -32001
        assert reasons(error_of(rpc("SendMessage", {"message": said}), path="/a2a/nobody"))[1:] == (
            -32602,
            ["INVALID_PARAMS", "RESOURCE_NOT_FOUND"],
        )


def test_the_client_of_node(second: Instance) -> None:
    environment = {**os.environ, "A2A_URL": second.url, "A2A_KEY": second.key}
    done = subprocess.run(
        ["node", ROOT / "tests/system/a2a_client.mjs", QUICK, ENDLESS],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["streamed"] == found["answer"] != ""
    assert found["cancelled"] == "TASK_STATE_CANCELED"
    assert found["followed"] == ["task", "TASK_STATE_CANCELED"]
    assert found["error"] == ["TaskNotFoundError", -32001, "RESOURCE_NOT_FOUND"]
