"""A program that asks an agent with the official SDK of A2A."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import grpc.aio
import httpx
from a2a import types as a2a
from a2a.client import A2ACardResolver, Client, ClientCallContext, ClientConfig, ClientFactory
from uuid_utils.compat import uuid7

from tests.instance import Instance

WAYS: Final = {"JSON-RPC": ("JSONRPC", "1.0"), "gRPC": ("GRPC", "1.0")}


class Asking:
    """A client of one agent, as a program with the SDK has it."""

    def __init__(self, client: Client, blocking: Client, key: str) -> None:
        self.client = client
        self._blocking = blocking
        self.context = ClientCallContext(service_parameters={"authorization": f"Bearer {key}"})

    def stream(self, text: str, **more: Any) -> AsyncIterator[a2a.StreamResponse]:
        return self.client.send_message(message(text, **more), context=self.context)

    async def send(self, text: str, **more: Any) -> a2a.Task:
        (response,) = [
            one async for one in self._blocking.send_message(message(text, **more), context=self.context)
        ]
        return response.task

    def subscribe(self, task: str) -> AsyncIterator[a2a.StreamResponse]:
        return self.client.subscribe(a2a.SubscribeToTaskRequest(id=task), context=self.context)

    async def get(self, task: str) -> a2a.Task:
        return await self.client.get_task(a2a.GetTaskRequest(id=task), context=self.context)

    async def list(self, **fields: Any) -> a2a.ListTasksResponse:
        return await self.client.list_tasks(a2a.ListTasksRequest(**fields), context=self.context)

    async def cancel(self, task: str) -> a2a.Task:
        return await self.client.cancel_task(a2a.CancelTaskRequest(id=task), context=self.context)


def message(
    text: str, *, part: a2a.Part | None = None, now: bool = False, **fields: str
) -> a2a.SendMessageRequest:
    fields = {"message_id": str(uuid7()), **fields}
    return a2a.SendMessageRequest(
        message=a2a.Message(role=a2a.Role.ROLE_USER, parts=[part or a2a.Part(text=text)], **fields),
        configuration=a2a.SendMessageConfiguration(return_immediately=now),
    )


@asynccontextmanager
async def asking(
    instance: Instance, agent: str, way: str = "JSON-RPC", key: str = ""
) -> AsyncGenerator[Asking]:
    key = key or instance.key
    headers = {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(headers=headers, timeout=60) as http:
        card = await A2ACardResolver(http, f"{instance.url}/a2a/{agent}").get_agent_card()
        chosen = [
            one
            for one in card.supported_interfaces
            if (one.protocol_binding, one.protocol_version) == WAYS[way]
        ]
        del card.supported_interfaces[:]
        card.supported_interfaces.extend(chosen)
        clients = [
            ClientFactory(
                ClientConfig(
                    streaming=streaming,
                    httpx_client=http,
                    grpc_channel_factory=grpc.aio.insecure_channel,
                    supported_protocol_bindings=[WAYS[way][0]],
                )
            ).create(card)
            for streaming in (True, False)
        ]
        yield Asking(clients[0], clients[1], key)
        if way == "gRPC":
            for client in clients:
                await client.close()


class Read:
    """What a client has of a task after some events."""

    def __init__(self) -> None:
        self.task = a2a.Task()
        self.states: list[int] = []
        self.text = ""
        self.data: dict[str, Any] = {}

    def take(self, event: a2a.StreamResponse) -> None:
        if event.HasField("task"):
            self.task = event.task
        elif event.HasField("status_update"):
            self.states.append(event.status_update.status.state)
        else:
            update = event.artifact_update
            self.text = (self.text if update.append else "") + text_of(update.artifact)
            self.data |= data_of(update.artifact)


def text_of(artifact: a2a.Artifact) -> str:
    return "".join(part.text for part in artifact.parts)


def data_of(artifact: a2a.Artifact) -> dict[str, Any]:
    return {key: value for part in artifact.parts for key, value in part.data.struct_value.items()}
