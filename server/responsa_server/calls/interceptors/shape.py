"""The base of all interceptors, for unary calls and streams alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from google.protobuf.message import Message

from responsa_server.calls.call import Call

Token = TypeVar("Token")


@dataclass(frozen=True, slots=True)
class Received:
    """A message of a request as received, and the function that parses it."""

    data: bytes
    parse: Callable[[bytes], Message]


class Interceptor(Generic[Token]):
    """Code that runs around a call.

    The first interceptor of the chain begins first and ends last. An error that `on_start` raises ends the call; the interceptors that have begun then end.
    """

    async def on_start(self, call: Call) -> Token:
        """Begin, before the handler. The return value is passed to `on_end`."""
        raise NotImplementedError

    def on_request(self, call: Call, message: object) -> object:
        """Process one message of the request: `Received` for the first interceptor, else the previous one's result. Return the message for the next one."""
        del call
        return message

    async def on_end(self, call: Call, token: Token, error: BaseException | None) -> BaseException | None:
        """End, however the call ended. error: the reason, None on success. Returns the error for the interceptors before this one."""
        del call, token
        return error
