"""Turns as A2A's tasks, and the frames of a turn as the events of its task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from a2a.types import a2a_pb2 as a2a
from google.protobuf.json_format import MessageToDict, ParseDict

from responsa.chat.v1.chat_service_pb2 import AskResponse
from responsa.chat.v1.turn_pb2 import AnswerOutcome, RefusalReason, Turn, TurnAnswer, TurnEvent, TurnState
from responsa_server.calls.convert.cited import citations
from responsa_server.calls.status import interruption

_STATES: Final[Mapping[TurnState.ValueType, a2a.TaskState]] = {
    TurnState.TURN_STATE_PENDING: a2a.TASK_STATE_SUBMITTED,
    TurnState.TURN_STATE_QUEUED: a2a.TASK_STATE_SUBMITTED,
    TurnState.TURN_STATE_RUNNING: a2a.TASK_STATE_WORKING,
    TurnState.TURN_STATE_ANSWERED: a2a.TASK_STATE_COMPLETED,
    TurnState.TURN_STATE_REFUSED: a2a.TASK_STATE_REJECTED,
    TurnState.TURN_STATE_FAILED: a2a.TASK_STATE_FAILED,
    TurnState.TURN_STATE_CANCELLED: a2a.TASK_STATE_CANCELED,
}
RUNNING: Final = (a2a.TASK_STATE_SUBMITTED, a2a.TASK_STATE_WORKING)
_ARTIFACT: Final = "answer"


def turn_states(state: int) -> Sequence[str]:
    """The names of the states of the turns whose tasks are in a state."""
    return [
        TurnState.Name(turn).removeprefix("TURN_STATE_") for turn, known in _STATES.items() if known == state
    ]


def task_of(turn: Turn, *, history: bool = True) -> a2a.Task:
    """A turn as a task. Its artifact is the answer. history: whether it has the question."""
    task = a2a.Task(
        id=turn.name.removeprefix("turns/"), context_id=turn.conversation.removeprefix("conversations/")
    )
    task.metadata["agent"] = turn.agent_version
    task.status.CopyFrom(TaskEvents(task.id, task.context_id).status(turn.terminal_event))
    task.status.state = _STATES[turn.state]
    task.status.timestamp.CopyFrom(turn.end_time if turn.HasField("end_time") else turn.create_time)
    if turn.terminal_event.HasField("answer"):
        answer = turn.terminal_event.answer
        task.artifacts.append(_artifact(answer.text, answer))
    if history:
        task.history.add(
            message_id=turn.request_id or task.id,
            context_id=task.context_id,
            task_id=task.id,
            role=a2a.ROLE_USER,
            parts=[a2a.Part(text=turn.text)],
        )
    return task


def _artifact(text: str, answer: TurnAnswer | None = None) -> a2a.Artifact:
    """A piece of the answer; with the whole answer, also its citations."""
    artifact = a2a.Artifact(artifact_id=_ARTIFACT, name="Answer")
    if text:
        artifact.parts.add(text=text, media_type="text/markdown")
    if answer is not None:
        cited = {"citations": citations(answer.text, answer.citations)}
        _add_data(artifact.parts.add(), cited)
        whole = answer.outcome == AnswerOutcome.ANSWER_OUTCOME_COMPLETE
        artifact.metadata["outcome"] = "answered" if whole else "cut"
    return artifact


def _add_data(part: a2a.Part, content: Mapping[str, Any]) -> None:
    ParseDict(dict(content), part.data.struct_value)
    part.media_type = "application/json"


class TaskEvents:
    """Makes the events of a task from the frames of its turn. A client that appends and replaces as the events say has
    the text of the answer at each moment, also if a worker was lost."""

    def __init__(self, task_id: str, context_id: str) -> None:
        self._task_id = task_id
        self._context_id = context_id
        self._sent = ""
        self._appends = False

    def events(self, frame: AskResponse) -> Iterator[a2a.StreamResponse]:
        """The events that a frame means. Raises Unavailable (DRAINING): the reader must come again."""
        piece = ""
        for event in frame.events:
            kind = event.WhichOneof("event")
            if kind == "delta":
                piece += event.delta.text
            elif kind == "attempt_restarted":
                prefix = (self._sent + piece).encode()[: event.attempt_restarted.keep_bytes]
                piece, self._sent, self._appends = prefix.decode(), "", False
            else:
                yield from self._piece(piece)
                piece = ""
                yield from self._other(event.snapshot.terminal_event if kind == "snapshot" else event)
        yield from self._piece(piece)

    def status(self, event: TurnEvent) -> a2a.TaskStatus:
        """The status that an event means. Its message says why there is no answer, or what the agent does."""
        status = a2a.TaskStatus(state=a2a.TASK_STATE_WORKING)
        if event.HasField("create_time"):
            status.timestamp.CopyFrom(event.create_time)
        match event.WhichOneof("event"):
            case "answer":
                status.state = a2a.TASK_STATE_COMPLETED
            case "refused":
                status.state = a2a.TASK_STATE_REJECTED
                self._say(status, event, event.refused.message)
                reason = RefusalReason.Name(event.refused.reason).removeprefix("REFUSAL_REASON_")
                status.message.metadata["refusal"] = reason
            case "failed":
                status.state = a2a.TASK_STATE_FAILED
                self._say(status, event, event.failed.status.message)
                _add_data(status.message.parts.add(), MessageToDict(event.failed.status))
            case "cancelled":
                status.state = a2a.TASK_STATE_CANCELED
            case "status":
                self._say(status, event, event.status.message)
            case "tool_call":
                self._say(status, event, event.tool_call.title or event.tool_call.tool)
            case "heartbeat" if event.heartbeat.queue_place:
                status.state = a2a.TASK_STATE_SUBMITTED
            case _:
                pass
        return status

    def _say(self, status: a2a.TaskStatus, event: TurnEvent, text: str) -> None:
        status.message.message_id = f"{self._task_id}-{event.seq}"
        status.message.context_id, status.message.task_id = self._context_id, self._task_id
        status.message.role = a2a.ROLE_AGENT
        status.message.parts.add(text=text)

    def _other(self, event: TurnEvent) -> Iterator[a2a.StreamResponse]:
        kind = event.WhichOneof("event")
        if kind == "reconnect":
            raise interruption("subscribe to the task again", draining=True)
        if kind == "answer":
            yield self._answer(event.answer)
        if kind in _TOLD:
            status = self.status(event)
            yield a2a.StreamResponse(
                status_update=a2a.TaskStatusUpdateEvent(
                    task_id=self._task_id, context_id=self._context_id, status=status
                )
            )

    def _piece(self, text: str) -> Iterator[a2a.StreamResponse]:
        if text:
            yield self._update(_artifact(text))
            self._sent += text
            self._appends = True

    def _answer(self, answer: TurnAnswer) -> a2a.StreamResponse:
        if not answer.text.startswith(self._sent):
            self._sent, self._appends = "", False
        return self._update(_artifact(answer.text.removeprefix(self._sent), answer), last=True)

    def _update(self, artifact: a2a.Artifact, *, last: bool = False) -> a2a.StreamResponse:
        return a2a.StreamResponse(
            artifact_update=a2a.TaskArtifactUpdateEvent(
                task_id=self._task_id,
                context_id=self._context_id,
                artifact=artifact,
                append=self._appends,
                last_chunk=last,
            )
        )


_TOLD: Final = frozenset({"status", "tool_call", "heartbeat", "answer", "refused", "failed", "cancelled"})
