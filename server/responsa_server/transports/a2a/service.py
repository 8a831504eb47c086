"""A2A's service, whose methods pass the chain of calls like those of the contract, over gRPC and JSON-RPC alike. Each
is made of calls of the contract."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing
from dataclasses import replace
from functools import wraps
from typing import Any, Final, NoReturn, TypeVar, cast
from uuid import UUID

from a2a.types import a2a_pb2 as a2a
from google.protobuf.descriptor import Descriptor
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import Message

from responsa.chat.v1 import chat_service_pb2 as chat
from responsa.chat.v1.agent_pb2 import Agent
from responsa.chat.v1.turn_pb2 import Turn
from responsa_server.calls.call import current
from responsa_server.calls.chain import Calls, Method, methods_of
from responsa_server.calls.json_types import UNKNOWN, UNREADABLE, misfits
from responsa_server.calls.methods import CHAT
from responsa_server.calls.violations import invalid
from responsa_server.domain.errors import FieldViolation, InvalidRequest, NotFound, ResponsaError
from responsa_server.transports.a2a.cards import base_of, card_of
from responsa_server.transports.a2a.errors import check_version, refuse, task_not_found, to_a2a_error
from responsa_server.transports.a2a.tasks import RUNNING, TaskEvents, task_of, turn_states

_UNSUPPORTED: Final = "UNSUPPORTED_OPERATION"
_PAGE_SIZE: Final = 50
_MAX_PAGE_SIZE: Final = 100

Parsed = TypeVar("Parsed", bound=Message)


def methods(calls: Calls, public_url: str, *, secure: bool) -> Iterable[Method]:
    """The methods of the service. calls: has those of the contract. public_url, secure: see `base_of`."""
    for method in methods_of(
        a2a.DESCRIPTOR.services_by_name["A2AService"],
        _Service(calls, public_url, secure=secure),
        waiting=("SendMessage",),
    ):
        told = _translate_each if method.server_streaming else _translate_error
        yield replace(method, handler=told(method.handler))


def _translate_error(handler: Callable[[Any], Any]) -> Callable[[Any], Any]:
    @wraps(handler)
    async def serve(request: object) -> object:
        try:
            _check_version()
            return await handler(request)
        except ResponsaError as error:
            raise to_a2a_error(error) from None

    return serve


def _translate_each(handler: Callable[[Any], Any]) -> Callable[[Any], Any]:
    @wraps(handler)
    async def serve(request: object) -> AsyncGenerator[object]:
        try:
            _check_version()
            async with aclosing(handler(request)) as events:
                async for event in events:
                    yield event
        except ResponsaError as error:
            raise to_a2a_error(error) from None

    return serve


def _check_version() -> None:
    """Over gRPC, a client may leave the version out."""
    for version in current().metadata.get("a2a-version", ()):
        check_version(version)


class _Service:
    """The methods of `lf.a2a.v1.A2AService`. Those about push notifications are not supported."""

    def __init__(self, calls: Calls, public_url: str, *, secure: bool) -> None:
        self._within = calls.within
        self._public_url = public_url
        self._secure = secure

    async def SendMessage(self, request: a2a.SendMessageRequest) -> a2a.SendMessageResponse:
        question = await self._question(request)
        if request.configuration.return_immediately:
            turn = await self._within(CHAT + "StartTurn", chat.StartTurnRequest(**question))
        else:
            turn = await self._within(CHAT + "Answer", chat.AnswerRequest(**question))
        return a2a.SendMessageResponse(task=task_of(turn, history=_wants_history(request.configuration)))

    def SendStreamingMessage(self, request: a2a.SendMessageRequest) -> AsyncIterator[a2a.StreamResponse]:
        return self._events(self._asking(request), history=_wants_history(request.configuration))

    def SubscribeToTask(self, request: a2a.SubscribeToTaskRequest) -> AsyncIterator[a2a.StreamResponse]:
        return self._events(self._resuming(request.id))

    async def GetTask(self, request: a2a.GetTaskRequest) -> a2a.Task:
        return task_of(await self._turn(request.id), history=_wants_history(request))

    async def CancelTask(self, request: a2a.CancelTaskRequest) -> a2a.Task:
        turn = await self._turn(request.id)
        if task_of(turn).status.state in RUNNING:
            turn = await self._within(CHAT + "CancelTurn", chat.CancelTurnRequest(name=turn.name))
        task = task_of(turn)
        if task.status.state != a2a.TASK_STATE_CANCELED:
            raise refuse("id", "is of a task that has ended; get it with GetTask", "TASK_NOT_CANCELABLE")
        return task

    async def GetExtendedAgentCard(self, request: a2a.GetExtendedAgentCardRequest) -> a2a.AgentCard:
        if request.tenant:
            wanted = chat.GetAgentRequest(name=f"agents/{request.tenant}")
            agent: Agent = await self._within(CHAT + "GetAgent", wanted)
        else:
            agent = await self._default_agent()
        call = current()
        base = base_of(call.metadata, self._public_url, secure=self._secure)
        return card_of(agent, base, request.tenant, call.resource)

    async def _default_agent(self) -> Agent:
        listing = chat.ListAgentsRequest(page_size=200)
        while True:
            page: chat.ListAgentsResponse = await self._within(CHAT + "ListAgents", listing)
            for agent in page.agents:
                if agent.is_default:
                    return agent
            listing.page_token = page.next_page_token
            if not listing.page_token:
                raise refuse("tenant", "must name an agent, because no agent is the default one")

    async def ListTasks(self, request: a2a.ListTasksRequest) -> a2a.ListTasksResponse:
        size = request.page_size if request.HasField("page_size") else _PAGE_SIZE
        if not 1 <= size <= _MAX_PAGE_SIZE:
            raise refuse("page_size", f"must be 1 to {_MAX_PAGE_SIZE}")
        if request.HasField("status_timestamp_after"):
            raise refuse("status_timestamp_after", "must be unset; tasks come newest first")
        unknown = request.context_id and not _request_id(request.context_id)
        if unknown or (request.status and not turn_states(request.status)):
            return a2a.ListTasksResponse(page_size=size)  # no task is ever there
        wanted = " OR ".join(f"state = {state}" for state in turn_states(request.status))
        context = json.dumps(f"conversations/{request.context_id}", ensure_ascii=False)
        listing = chat.ListTurnsRequest(
            page_size=size,
            page_token=request.page_token,
            filter=" AND ".join(
                [
                    *(["conversation = " + context] if request.context_id else []),
                    *([wanted] if wanted else []),
                ]
            ),
            with_total_size=True,
        )
        page: chat.ListTurnsResponse = await self._within(CHAT + "ListTurns", listing)
        tasks = [task_of(turn, history=_wants_history(request)) for turn in page.turns]
        for task in tasks:
            if not request.include_artifacts:
                del task.artifacts[:]
        return a2a.ListTasksResponse(
            tasks=tasks,
            next_page_token=page.next_page_token,
            page_size=size,
            total_size=page.total_size,
        )

    async def _push(self, _: object) -> NoReturn:
        raise _no_push()

    CreateTaskPushNotificationConfig = _push
    GetTaskPushNotificationConfig = _push
    ListTaskPushNotificationConfigs = _push
    DeleteTaskPushNotificationConfig = _push

    async def _asking(self, request: a2a.SendMessageRequest) -> AsyncGenerator[bytes]:
        question = await self._question(request)
        return self._within(CHAT + "Ask", chat.AskRequest(**question, include_deltas=True))

    async def _resuming(self, task_id: str) -> AsyncGenerator[bytes]:
        turn = await self._turn(task_id)
        if task_of(turn).status.state not in RUNNING:
            raise refuse("id", "is of a task that has ended; get it with GetTask", _UNSUPPORTED)
        return self._within(CHAT + "ResumeTurn", chat.ResumeTurnRequest(turn=turn.name, include_deltas=True))

    async def _events(
        self, following: Awaitable[AsyncGenerator[bytes]], *, history: bool = True
    ) -> AsyncGenerator[a2a.StreamResponse]:
        """The events of a task, from its first one: the task, without what the next ones add to it. following: returns
        the frames of its turn."""
        reading: TaskEvents | None = None
        async with aclosing(await following) as frames:
            async for data in frames:
                frame = chat.AskResponse.FromString(data)
                if reading is None:
                    task = task_of(await self._turn(frame.turn.removeprefix("turns/")), history=history)
                    if task.status.state not in RUNNING:
                        del task.artifacts[:]
                        task.status.CopyFrom(a2a.TaskStatus(state=a2a.TASK_STATE_WORKING))
                    reading = TaskEvents(task.id, task.context_id)
                    yield a2a.StreamResponse(task=task)
                for event in reading.events(frame):
                    yield event

    async def _turn(self, task_id: str) -> Turn:
        """The caller's turn of a task. Raises NotFound."""
        try:
            return await self._within(CHAT + "GetTurn", chat.GetTurnRequest(name=f"turns/{task_id}"))
        except (NotFound, InvalidRequest) as error:
            raise task_not_found(task_id) from error

    async def _question(self, request: a2a.SendMessageRequest) -> dict[str, Any]:
        """What a message asks, as the fields that all requests with a question have. Raises InvalidRequest, NotFound."""
        message = request.message
        if message.role == a2a.ROLE_AGENT:
            raise refuse("message.role", "must be ROLE_USER, because a message to an agent is a question")
        if message.task_id:
            await self._turn(message.task_id)
            remedy = "must be empty, because a task has one question; ask again with its context_id"
            raise refuse("message.task_id", remedy, _UNSUPPORTED)
        if request.configuration.HasField("task_push_notification_config"):
            raise _no_push()
        for index, part in enumerate(message.parts):
            if not part.HasField("text"):
                remedy = "must have a text; agents read no files and no data, so upload documents instead"
                raise refuse(f"message.parts[{index}]", remedy, "CONTENT_TYPE_NOT_SUPPORTED")
        options = chat.AskOptions()
        for metadata in (message.metadata, request.metadata):
            if "responsa" in metadata:
                own = MessageToDict(metadata.fields["responsa"])
                fill_message(own, options, "metadata.responsa", strict=True)
        return {
            "text": "\n".join(part.text for part in message.parts),
            "conversation": f"conversations/{message.context_id}" if message.context_id else "",
            "request_id": _request_id(message.message_id),
            "agent": f"agents/{request.tenant}" if request.tenant else "",
            "options": options,
        }


def _no_push() -> ResponsaError:
    remedy = "is not supported; follow the task with SubscribeToTask"
    return refuse("task_push_notification_config", remedy, "PUSH_NOTIFICATION_NOT_SUPPORTED")


def fill_message(content: object, message: Parsed, path: str = "", *, strict: bool = False) -> Parsed:
    """Fill a message from JSON. path: its path in the request, "" for the request itself. strict: whether to refuse
    fields that it does not have. Raises InvalidRequest."""
    name = path or "params"
    if not isinstance(content, dict):
        raise InvalidRequest.of_field(name, "field.type", "must be an object")
    fields = cast("dict[str, Any]", content)
    try:
        return ParseDict(fields, message, ignore_unknown_fields=not strict)
    except UNREADABLE:
        problems = misfits(cast("Descriptor", message.DESCRIPTOR), fields, f"{path}." if path else "")
        wrong = [violation for violation in problems if strict or violation.rule != UNKNOWN]
        misfit = FieldViolation(name, "field.type", f"must match the message {message.DESCRIPTOR.full_name}")
        raise invalid(wrong or [misfit]) from None


def _wants_history(
    request: a2a.SendMessageConfiguration | a2a.GetTaskRequest | a2a.ListTasksRequest,
) -> bool:
    return not request.HasField("history_length") or request.history_length > 0


def _request_id(message_id: str) -> str:
    """The request_id of a message: its id, if that is a UUID; "" if it is not, because it may not be unique."""
    try:
        return str(UUID(message_id))
    except ValueError:
        return ""
