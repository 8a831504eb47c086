"""The program of an MCP server: its messages are lines of JSON on its standard input and output (Model Context
Protocol, transport "stdio")."""

from __future__ import annotations

import asyncio
import contextlib
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCError, JSONRPCResponse, jsonrpc_message_adapter

from responsa_server.domain.tools import ToolFault
from responsa_server.system.launching import launcher_of
from responsa_server.tools.mcp_target import MOST_OBJECTS

Streams = tuple[MemoryObjectReceiveStream[SessionMessage | Exception], MemoryObjectSendStream[SessionMessage]]

_ENVIRONMENT: Final[Mapping[str, str]] = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
_END_SECONDS: Final = 2.0
_REST_BYTES: Final = 1 << 16
_FILE_BYTES: Final = 64 << 20


@dataclass(frozen=True, slots=True)
class Program:
    """How a program is started. command: the absolute path of the program, and its arguments. environment: beyond PATH
    and LANG. identity: the declaration and the tenant. memory_bytes: the largest address space. max_bytes: how many bytes
    the program may write before it answers."""

    command: Sequence[str]
    environment: Mapping[str, str]
    identity: str
    memory_bytes: int
    max_bytes: int

    def __repr__(self) -> str:
        return f"Program({self.command[0]!r})"


@contextlib.asynccontextmanager
async def running(program: Program, ended: Callable[[ToolFault], None]) -> AsyncGenerator[Streams]:
    """Start a program and yield the streams of its messages. ended: is called when no further message is read, with the
    reason: LOST if the program ended, MALFORMED or TOO_LARGE if it wrote what cannot be read. At the end, the program
    and all that it started are killed. Raises OSError."""
    process = await asyncio.create_subprocess_exec(
        *launcher_of(program.identity, program.memory_bytes, _FILE_BYTES),
        *program.command,
        stdin=PIPE,
        stdout=PIPE,
        stderr=DEVNULL,  # nobody knows what a program writes there
        env={**_ENVIRONMENT, **program.environment},
        cwd="/",
        start_new_session=True,
        limit=program.max_bytes,
    )
    to_session, from_program = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    to_program, from_session = anyio.create_memory_object_stream[SessionMessage](0)
    tasks = [
        asyncio.create_task(_read(process, to_session, program.max_bytes, ended), name="mcp-read"),
        asyncio.create_task(_write(process, from_session), name="mcp-write"),
    ]
    try:
        yield from_program, to_program
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for stream in (to_session, from_program, to_program, from_session):
            stream.close()
        await _end(process)


async def _read(
    process: Process,
    to_session: MemoryObjectSendStream[SessionMessage | Exception],
    limit: int,
    ended: Callable[[ToolFault], None],
) -> None:
    """Pass the program's messages on. A program that writes what is not a message, or too much before it answers, is over."""
    if process.stdout is None:
        raise RuntimeError("the program has no standard output")
    fault = ToolFault.LOST
    with to_session:
        try:
            fault = await _pass_on(process.stdout, to_session, limit)
        finally:
            # Before the stream is closed, so that the calls that then fail know why.
            ended(fault)


async def _pass_on(
    output: asyncio.StreamReader, to_session: MemoryObjectSendStream[SessionMessage | Exception], limit: int
) -> ToolFault:
    """Pass messages on until there are no more. Returns why."""
    unanswered = 0
    while True:
        try:
            line = await output.readline()
        except ValueError:  # a line without an end
            return ToolFault.TOO_LARGE
        if not line:
            return ToolFault.LOST
        unanswered += len(line)
        if unanswered > limit or line.count(b"{") > MOST_OBJECTS:
            return ToolFault.TOO_LARGE
        try:
            message = jsonrpc_message_adapter.validate_json(line, by_name=False)
        except ValueError:
            # The last line of a program that dies may be cut.
            return ToolFault.MALFORMED if line.endswith(b"\n") else ToolFault.LOST
        if isinstance(message, JSONRPCResponse | JSONRPCError):
            unanswered = 0
        try:
            await to_session.send(SessionMessage(message))
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            return ToolFault.LOST


async def _write(process: Process, from_session: MemoryObjectReceiveStream[SessionMessage]) -> None:
    if process.stdin is None:
        raise RuntimeError("the program has no standard input")
    async with from_session:
        async for item in from_session:
            process.stdin.write(
                item.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n"
            )
            try:
                await process.stdin.drain()
            except ConnectionError:
                return


async def _end(process: Process) -> None:
    """Close the program's input, which asks it to end. Soon after, tell its keeper to kill it, and all that it started."""
    if process.stdin is not None:
        process.stdin.close()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_END_SECONDS if process.returncode is None else 0):
            await process.wait()
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    # The pipe closes when its rest is read.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_END_SECONDS):
            while process.stdout is not None and await process.stdout.read(_REST_BYTES):
                pass
            await process.wait()
