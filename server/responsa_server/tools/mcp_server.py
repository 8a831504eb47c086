"""Speaks with MCP servers through the official SDK, and makes typed results of whatever they do.

A server cannot ask for anything: sampling, elicitation and roots are refused, and it has no stream on which it could
speak first. A session belongs to one tenant.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from http import HTTPStatus
from typing import Any, Final, cast

import httpx2
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp_types import (
    CONNECTION_CLOSED,
    INTERNAL_ERROR,
    INVALID_REQUEST,
    PARSE_ERROR,
    CallToolRequest,
    CallToolRequestParams,
    CallToolResult,
    EmbeddedResource,
    ListToolsResult,
    PaginatedRequestParams,
    RequestParamsMeta,
    ResourceLink,
    TextContent,
    TextResourceContents,
)
from pydantic import ValidationError

from responsa_server.domain.tools import (
    Effect,
    Tool,
    ToolCall,
    ToolFault,
    ToolOutcome,
    ToolResult,
    ToolSource,
    ToolUnfit,
)
from responsa_server.outbound.connector import (
    USER_AGENT,
    ForbiddenRequest,
    GuardedTransport,
    ReachableHosts,
    Times,
    TooLarge,
)
from responsa_server.telemetry.requests import ambient
from responsa_server.tools.endpoint import LARGE, LATE, LATE_READING, LOST, LOST_READING, REFUSED, UNREACHED
from responsa_server.tools.mcp_process import Program, running
from responsa_server.tools.mcp_target import MOST_OBJECTS, MOST_TOOLS, McpTarget, Pinned

_MOST_PAGES: Final = 20
_MOST_MESSAGE: Final = 500
# The message with which the SDK reports the end of a connection.
_CLOSED: Final = "Connection closed"
_CUT: Final = re.compile(
    rf"{_CLOSED}|SSE stream ended (without a response|and reconnection attempts were exhausted)|SSE stream failed: .*",
    re.DOTALL,
)
"""The messages of the SDK's own errors that mean: the response never came whole."""
_CONNECT_SECONDS: Final = 5.0
_START_SECONDS: Final = 20.0
_IDLE_SECONDS: Final = 60.0
_OLD_SECONDS: Final = 600.0
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 60.0
_CHANGED: Final = (
    "The tool's server has changed the tool's description. The tool is withheld until the "
    "owner of the installation agrees to the new description."
)
_KEY: Final = "responsa/idempotency-key"
"""The name of a call's key in the call's `_meta`."""
_PAUSED: Final = "The tool's server failed a moment ago and is started again soon; it was not called."
_LOGGER: Final = logging.getLogger(__name__)


class _Failed(Exception):
    """A session cannot begin. The message has nothing that the server sent."""

    def __init__(self, message: str, result: ToolResult) -> None:
        super().__init__(message)
        self.result = result


class _McpSession:
    """A session with a server, in its own task, since the SDK must leave it in the task that entered it. It ends after
    a minute without calls.

    tools: what the server says of its tools. client: None while there is no connection. fault: why the connection ended
    early. used: when the session was last handed out, or its last call ended.
    """

    def __init__(
        self,
        connect: Callable[[Callable[[ToolFault], None]], AbstractAsyncContextManager[Any]],
        patience: float,
    ) -> None:
        """patience: for how many seconds calls may go on when the session is closed."""
        self.tools: Mapping[str, Pinned] = {}
        self.client: Client | None = None
        self.ready = asyncio.get_running_loop().create_future()
        self.begun = asyncio.get_running_loop().time()
        self.used = self.begun
        self.calls = 0
        self.fault = ToolFault.LOST
        self.idle = asyncio.Event()
        self.idle.set()
        self._end = asyncio.Event()
        self._connect = connect
        self._patience = patience
        self.task = asyncio.create_task(self._run(), name="mcp-session")

    async def _run(self) -> None:
        try:
            async with Client(self._connect(self._on_end), cache=None) as client:
                self.tools = await _list_tools(client)
                self.client = client
                self.used = asyncio.get_running_loop().time()
                self.ready.set_result(None)
                await self._wait_unused()
                self.client = None  # leaving takes a while, and gets no calls
        except (
            Exception
        ) as error:  # an SDK over a foreign server raises anything, in groups; the waiting call gets it
            self._unready(_first(error))
        finally:
            self.client = None
            self._unready(ConnectionResetError("the session ended"))

    def _on_end(self, fault: ToolFault) -> None:
        self.fault = fault
        self._end.set()

    async def _wait_unused(self) -> None:
        """Wait until the session shall end, or has had no call for a minute."""
        loop = asyncio.get_running_loop()
        while loop.time() < self.used + _IDLE_SECONDS:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(self.used + _IDLE_SECONDS):
                    await self._end.wait()
                    return
            if self.calls:
                self.used = loop.time()

    def _unready(self, error: Exception) -> None:
        if not self.ready.done():
            self.ready.set_exception(error)
            self.ready.exception()  # nobody may be waiting any more

    async def close(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._patience):
                await self.idle.wait()
        self._end.set()
        if not self.ready.done():
            self.task.cancel()
        await asyncio.wait([self.task], timeout=_CONNECT_SECONDS)
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


class McpSessions:
    """The sessions with a declaration's server: one for each tenant."""

    def __init__(self, target: McpTarget) -> None:
        for name in ("mcp", "client"):  # the SDK's loggers, which write what a server sent
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._target = target
        self._name = target.declaration.name
        self._sessions: dict[str, _McpSession] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._pauses: dict[str, tuple[float, float]] = {}
        self._ending: set[asyncio.Task[None]] = set()

    async def ask(self) -> Sequence[Pinned]:
        """What the server says of its tools. Raises ToolUnfit if it does not answer as it should."""
        try:
            async with asyncio.timeout(_START_SECONDS):
                return list((await self._session("")).tools.values())
        except (TimeoutError, _Failed) as error:
            reason = str(error) or "time limit"
            raise ToolUnfit(f"its server does not answer as it should: {reason}") from error

    async def _session(self, tenant: str) -> _McpSession:
        """Return the tenant's session, and begin one if needed. Raises _Failed."""
        loop = asyncio.get_running_loop()
        async with self._locks.setdefault(tenant, asyncio.Lock()):
            session = self._sessions.get(tenant)
            if session is not None:
                old = not session.calls and loop.time() - session.begun > _OLD_SECONDS
                if session.client is not None and not old:
                    session.used = loop.time()
                    return session
                self._drop(tenant, session)
            pause, until = self._pauses.get(tenant, (0.0, 0.0))
            if loop.time() < until:
                raise _Failed("it failed a moment ago", _error(_PAUSED, ToolFault.UNREACHABLE))
            patience = self._target.declaration.timeout_seconds
            session = _McpSession(lambda ended: self._connect(tenant, ended), patience)
            self._sessions[tenant] = session
            session.task.add_done_callback(lambda _: self._forget(tenant, session))
            try:
                await asyncio.shield(session.ready)
            except asyncio.CancelledError:
                self._drop(tenant, session)
                raise
            except Exception as error:
                longer = min(max(pause * 2, _FIRST_PAUSE), _LONGEST_PAUSE)
                self._pauses[tenant] = (longer, loop.time() + longer)
                self._drop(tenant, session)
                _LOGGER.warning("MCP server of the tool %s: %s", self._name, type(error).__name__)
                raise _Failed(type(error).__name__, _unbegun(error)) from error
            self._pauses.pop(tenant, None)
            return session

    def _forget(self, tenant: str, session: _McpSession) -> None:
        if self._sessions.get(tenant) is session:
            del self._sessions[tenant]

    def _drop(self, tenant: str, session: _McpSession) -> None:
        """End a session, which gets no more calls; those of other callers may finish."""
        self._forget(tenant, session)
        ending = asyncio.create_task(session.close())
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)

    def end(self) -> None:
        for tenant, session in list(self._sessions.items()):
            self._drop(tenant, session)

    async def close(self) -> None:
        self.end()
        if self._ending:
            await asyncio.wait(self._ending)

    async def call(self, tool: Tool, pinned: Pinned, call: ToolCall) -> ToolResult:
        """Call a tool of the server, as `Tool.call` says."""
        tries, tenant = 0, call.caller.tenant_id
        session: _McpSession | None = None
        try:
            async with asyncio.timeout(call.seconds):
                while True:
                    session = await self._session(tenant)
                    present = session.tools.get(pinned.name)
                    if present is None or present.digest != pinned.digest:
                        _LOGGER.warning(
                            "MCP server of the tool %s: its description has changed", tool.card.id
                        )
                        if tries and tool.effect is not Effect.NONE:
                            return _no_response(tool)
                        return _error(_CHANGED, ToolFault.REFUSED)
                    tries += 1
                    try:
                        result = await self._send_call(session, pinned.name, call)
                        break
                    except MCPError as error:
                        if tries > 1 or not _again(error, tool):
                            raise
                        self._drop(tenant, session)
        except _Failed as failed:
            return _no_response(tool) if tries else failed.result
        except asyncio.CancelledError:
            if session is not None:
                self._drop(tenant, session)
            raise
        except TimeoutError:
            # The server may be stuck: later calls get another session.
            if session is not None:
                self._drop(tenant, session)
            if not tries:
                return _error(UNREACHED, ToolFault.TIMEOUT)
            lost = tool.effect is not Effect.NONE
            outcome = ToolOutcome.UNKNOWN if lost else ToolOutcome.ERROR
            return ToolResult(outcome, LATE if lost else LATE_READING, error=ToolFault.TIMEOUT)
        except MCPError as error:
            if _closed(error) or _forgotten(error):
                if session is not None:
                    self._drop(tenant, session)
                return _no_response(tool, session.fault if session is not None else ToolFault.LOST)
            # The SDK makes errors with these codes for an HTTP status of 5xx, for a reply that is not JSON, and for one
            # without a result, such as a page or “202 Accepted”. The act may have been done.
            unclear = error.code in (INTERNAL_ERROR, PARSE_ERROR, INVALID_REQUEST)
            if unclear and tool.effect is not Effect.NONE:
                return _no_response(tool)
            return _error(self._hide(error.message)[:_MOST_MESSAGE], ToolFault.STATUS)
        except ValidationError:
            return _unread(tool)
        except Exception as error:  # an SDK over a foreign server raises anything; a call never does
            _LOGGER.warning("MCP tool %s: %s", tool.card.id, type(error).__name__)
            if session is not None:
                self._drop(tenant, session)
            return _no_response(tool)
        return await asyncio.to_thread(self._to_result, tool, result)

    async def _send_call(self, session: _McpSession, name: str, call: ToolCall) -> CallToolResult:
        client = session.client
        if client is None:
            raise MCPError(CONNECTION_CLOSED, _CLOSED)
        meta = cast("RequestParamsMeta", {_KEY: call.key})
        params = CallToolRequestParams(_meta=meta, name=name, arguments=dict(call.arguments))
        session.calls += 1
        session.idle.clear()
        try:
            await call.sent()
            # Not `call_tool`, which would follow what the server says of its schema now.
            with ambient():  # the SDK writes the span into `_meta`
                return await client.session.send_request(CallToolRequest(params=params), CallToolResult)
        finally:
            session.calls -= 1
            if not session.calls:
                session.idle.set()
            session.used = asyncio.get_running_loop().time()

    def _to_result(self, tool: Tool, result: CallToolResult) -> ToolResult:
        texts: list[str] = []
        for block in result.content:
            match block:
                case TextContent():
                    texts.append(block.text)
                case ResourceLink():
                    texts.append(f"{block.title or block.name}: {block.uri}")
                case EmbeddedResource(resource=TextResourceContents() as inner):
                    texts.append(inner.text)
                case _:
                    texts.append(f"[{block.type} left out]")
        try:
            data = self._target.credential.hide_within(result.structured_content)
        except RecursionError:
            return _unread(tool)
        text = self._hide("\n".join(texts)) or ("" if data is None else json.dumps(data, ensure_ascii=False))
        if result.is_error:
            return _error(text[: _MOST_MESSAGE * 4], ToolFault.STATUS)
        source = ToolSource(
            self._target.options.url or "", tool.card.title or tool.card.id, self._target.parts.clock(), text
        )
        sources = [source] if tool.effect is Effect.NONE and text.strip() else []
        return ToolResult(ToolOutcome.OK, text, data, sources)

    def _hide(self, text: str) -> str:
        return self._target.credential.hide(text)

    def _connect(self, tenant: str, ended: Callable[[ToolFault], None]) -> AbstractAsyncContextManager[Any]:
        options, declaration = self._target.options, self._target.declaration
        if self._target.reach is not None:
            return self._over_http(options.url or "", self._target.reach)
        return running(
            Program(
                options.command,
                self._target.environment,
                f"{declaration.name}/{tenant}",
                options.memory_mb << 20,
                declaration.max_bytes,
            ),
            ended,
        )

    @asynccontextmanager
    async def _over_http(self, url: str, reach: ReachableHosts) -> AsyncGenerator[Any]:
        seconds, limit = self._target.declaration.timeout_seconds, self._target.declaration.max_bytes
        times = Times(_CONNECT_SECONDS, seconds)
        client = httpx2.AsyncClient(
            transport=_Bounded(
                await self._target.parts.connector.transport(reach, times, traced=True), limit
            ),
            timeout=httpx2.Timeout(seconds, connect=_CONNECT_SECONDS),
            headers={
                "user-agent": USER_AGENT,
                "accept-encoding": "identity",
                **self._target.credential.headers,
            },
            follow_redirects=False,
            trust_env=False,
        )
        async with (
            client,
            streamable_http_client(url, http_client=client, max_sse_event_size=limit) as streams,
        ):
            yield streams


class _Bounded(httpx2.AsyncBaseTransport):
    """Limits the size of each response, and opens no stream on which a server could send whatever it likes."""

    def __init__(self, inner: GuardedTransport, limit: int) -> None:
        self._inner = inner
        self._limit = limit

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.method == "GET":
            return httpx2.Response(405)
        response = await self._inner.handle_async_request(request)
        if response.status_code == HTTPStatus.NOT_FOUND and "mcp-session-id" in request.headers:
            # The session is over, whatever the body says. Without a body, so does the SDK.
            await response.aclose()
            return httpx2.Response(HTTPStatus.NOT_FOUND)
        if response.headers.get("content-encoding", "identity") != "identity":
            await response.aclose()
            raise httpx2.DecodingError("the response is compressed, although this was not requested")
        return httpx2.Response(
            response.status_code,
            headers=response.headers,
            stream=_Limited(response, self._limit),
            extensions=response.extensions,
        )

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Limited(httpx2.AsyncByteStream):
    def __init__(self, response: httpx2.Response, limit: int) -> None:
        self._response = response
        self._limit = limit

    async def __aiter__(self) -> AsyncGenerator[bytes, None]:
        size = objects = 0
        async for part in cast("httpx2.AsyncByteStream", self._response.stream):
            size, objects = size + len(part), objects + part.count(b"{")
            if size > self._limit or objects > MOST_OBJECTS:
                raise TooLarge(f"the response has more than {self._limit} bytes or {MOST_OBJECTS:,} objects")
            yield part

    async def aclose(self) -> None:
        await cast("httpx2.AsyncByteStream", self._response.stream).aclose()


def _again(error: MCPError, tool: Tool) -> bool:
    """Whether a call is made once more: its session was over before the call, or a repeated call does no harm."""
    # The server itself may say that the session is over, also after the effect.
    return tool.effect is not Effect.ONCE and (_forgotten(error) or _closed(error))


def _closed(error: MCPError) -> bool:
    """Whether the connection or the response ended early. Servers use the SDK's code for their own errors, so its message counts, too."""
    return error.code == CONNECTION_CLOSED and _CUT.fullmatch(error.message) is not None


def _forgotten(error: MCPError) -> bool:
    return error.code == INVALID_REQUEST and error.message == "Session terminated"


def _error(content: str, fault: ToolFault) -> ToolResult:
    return ToolResult(ToolOutcome.ERROR, content, error=fault)


def _unbegun(error: Exception) -> ToolResult:
    if isinstance(error, ForbiddenRequest):
        return _error(REFUSED, ToolFault.REFUSED)
    if isinstance(error, (httpx2.ConnectError, httpx2.ConnectTimeout, OSError)):
        return _error(UNREACHED, ToolFault.UNREACHABLE)
    return _error(
        "The tool's server does not answer as it should; the tool was not called.", ToolFault.MALFORMED
    )


def _first(error: BaseException) -> Exception:
    """The first cause in a group of exceptions."""
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    return error if isinstance(error, Exception) else RuntimeError(type(error).__name__)


async def _list_tools(client: Client) -> Mapping[str, Pinned]:
    """What a server says of its tools. Raises ValueError if it says too much."""
    tools: dict[str, Pinned] = {}
    cursor: str | None = None
    for _ in range(_MOST_PAGES):
        page: ListToolsResult = await client.session.list_tools(params=PaginatedRequestParams(cursor=cursor))
        for tool in page.tools:
            tools[tool.name] = Pinned(
                tool.name, tool.title or "", tool.description or "", tool.input_schema, tool.output_schema
            )
        if len(tools) > MOST_TOOLS:
            break
        cursor = page.next_cursor
        if cursor is None:
            return tools
    raise ValueError("the server has too many tools")


def _no_response(tool: Tool, fault: ToolFault = ToolFault.LOST) -> ToolResult:
    """The result of a call whose response did not come, or could not be read. fault: why."""
    if fault is ToolFault.MALFORMED:
        return _unread(tool)
    reading = tool.effect is Effect.NONE
    content = LARGE if fault is ToolFault.TOO_LARGE else LOST_READING if reading else LOST
    return ToolResult(ToolOutcome.ERROR if reading else ToolOutcome.UNKNOWN, content, error=fault)


def _unread(tool: Tool) -> ToolResult:
    outcome = ToolOutcome.ERROR if tool.effect is Effect.NONE else ToolOutcome.UNKNOWN
    return ToolResult(outcome, "The tool's response cannot be read.", error=ToolFault.MALFORMED)
