"""How the tools reach the calls of the contract: within the server, or with the Python client from elsewhere."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Protocol, TypeVar

from google.protobuf.message import Message

from responsa.chat.v1.chat_service_pb2 import AskRequest, ResumeTurnRequest
from responsa.chat.v1.turn_pb2 import TurnEvent
from responsa_server.calls.violations import rename_fields, within
from responsa_server.domain.errors import ResponsaError

KNOWLEDGE: Final = "/responsa.knowledge.v1.KnowledgeService/"
TERMINAL: Final = ("answer", "refused", "failed", "cancelled", "snapshot")

Response = TypeVar("Response", bound=Message)


class Backend(Protocol):
    """Makes calls of the contract for one caller. All methods raise ResponsaError."""

    async def answer(self, method: str, request: Message, kind: type[Response]) -> Response:
        """Make a call with one response."""
        ...

    async def each(
        self, method: str, request: Message, kind: type[Response], take: Callable[[Response], Awaitable[bool]]
    ) -> None:
        """Make a call that streams its response, until `take` returns False."""
        ...

    async def ask(self, request: AskRequest, take: Callable[[str, TurnEvent], Awaitable[None]]) -> None:
        """Ask, and pass the turn's name and each event on, up to the terminal one."""
        ...


class Resuming(Backend, Protocol):
    """A backend that can also follow a turn again."""

    async def resume(
        self, request: ResumeTurnRequest, take: Callable[[str, TurnEvent], Awaitable[None]]
    ) -> None:
        """Follow a turn as `ask` does, from the event after the request's `after_seq`."""
        ...


def describe_error(error: ResponsaError, fields: Mapping[str, str]) -> dict[str, object]:
    """An error as data: `reason`, `message`, `metadata`, and where there are some `fields` with their remedies and
    `retry_after` in seconds. fields: the names of arguments by those of the contract's fields."""
    error = rename_fields(error, within(fields))
    wrong = [{"field": item.field, "description": item.description} for item in error.violations]
    return {
        "reason": error.reason.value,
        "message": error.message,
        "metadata": dict(error.metadata),
        **({"fields": wrong} if wrong else {}),
        **({"retry_after": error.retry_after} if error.retry_after else {}),
    }
