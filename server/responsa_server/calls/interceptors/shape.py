"""The one shape of all interceptors, for unary calls and streams alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from google.protobuf.message import Message

from responsa_server.calls.call import Call

Token = TypeVar("Token")


@dataclass(frozen=True, slots=True)
class Received:
    """A message of a request as it came, and what parses it."""

    data: bytes
    parse: Callable[[bytes], Message]


class Interceptor(Generic[Token]):
    """Something that happens around a call.

    Of the chain's interceptors the first one begins first and ends last. An error that `on_start` raises ends the call; the ones begun before it end it.
    """

    async def on_start(self, call: Call) -> Token:
        """Begin, before the handler. What is returned is given to `on_end`."""
        raise NotImplementedError

    def on_request(self, call: Call, message: object) -> object:
        """Take each message of the request in turn: `Received` at first, then what the interceptor before made of it. Return what the next one gets."""
        del call
        return message

    async def on_end(self, call: Call, token: Token, error: BaseException | None) -> BaseException | None:
        """End, however the call ended. error: why, None when it went well. Returns the error that those before get."""
        del call, token
        return error
