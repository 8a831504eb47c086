"""The command `responsa mcp`: MCP over standard input and output, with the tools of the server's `/mcp` and the Python client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import aclosing, contextmanager
from typing import TypeVar, cast
from uuid import uuid4

import typer
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from mcp.server.stdio import stdio_server

from responsa.chat.v1.chat_service_pb2 import AskRequest
from responsa.chat.v1.turn_pb2 import TurnEvent
from responsa_client.aio import AsyncResponsa
from responsa_client.errors import ResponsaError
from responsa_server.calls import status
from responsa_server.cli.output import CommandFailed, reporting
from responsa_server.cli.session import open_async_client
from responsa_server.domain.errors import Reason, Unauthenticated
from responsa_server.transports.mcp.serving import HostKey, Serving

Response = TypeVar("Response", bound=Message)


def register(app: typer.Typer, name: str) -> None:
    """Add the command."""
    app.command(name)(serve_mcp)


def serve_mcp() -> None:
    """Serve the Model Context Protocol on standard input and output, for hosts that start their servers as programs.
    The tools work on the server that the environment selects, which may be on another machine.
    """
    with reporting():
        asyncio.run(_serve())


async def _serve() -> None:
    session = uuid4().hex
    async with open_async_client() as client, stdio_server() as (incoming, outgoing):
        server = Serving(lambda _: Remote(client), lambda _: HostKey("", session)).server
        await server.run(incoming, outgoing, server.create_initialization_options())


class Remote:
    """Makes the calls with the client."""

    def __init__(self, client: AsyncResponsa) -> None:
        self._client = client

    async def answer(self, method: str, request: Message, kind: type[Response]) -> Response:
        with _failures():
            return await self._client.call(method, request, kind, repeatable=True)

    async def each(
        self, method: str, request: Message, kind: type[Response], take: Callable[[Response], Awaitable[bool]]
    ) -> None:
        responses = cast("AsyncGenerator[Response]", self._client.call_stream(method, request, kind))
        with _failures():
            async with aclosing(responses):
                async for response in responses:
                    if not await take(response):
                        return

    async def ask(self, request: AskRequest, take: Callable[[str, TurnEvent], Awaitable[None]]) -> None:
        options = request.options
        with _failures():
            async with self._client.ask(
                request.text,
                request.conversation or None,
                options.scope.collections,
                request.request_id,
                agent=request.agent,
                parameters=MessageToDict(options.parameters) or None,
                filter_by=options.scope.filter,
            ) as stream:
                async for event in stream:
                    await take(stream.turn, event)


@contextmanager
def _failures() -> Generator[None]:
    try:
        yield
    except ResponsaError as error:
        raise status.read(error.status) from error
    except CommandFailed as failed:  # the session of `responsa login` has ended
        raise Unauthenticated(Reason.SESSION_ENDED, f"{failed.sentence} {failed.remedy}") from failed
