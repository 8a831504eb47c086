"""MCP servers over HTTP and as programs, through the official SDK. The servers misbehave in every way that tests/wire/mcp.py knows."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import re
import select
import signal
import subprocess
import tomllib
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import pytest
import typer
from opentelemetry.sdk.trace import TracerProvider

from responsa_lab.testing.loopback import LoopbackExchange, LoopbackRequest
from responsa_local.commands.tools import trust
from responsa_server.agents.config.declarations import declare
from responsa_server.agents.config.tools import LiveTools
from responsa_server.agents.engine.calling import check_result
from responsa_server.app.tools import check_tools
from responsa_server.domain.events import ToolFault, ToolOutcome
from responsa_server.domain.tools import Tool, ToolResult, ToolUnfit
from responsa_server.system.launching import LAUNCHER
from responsa_server.telemetry.stages import Traces
from responsa_server.tools.kinds import ToolContext
from responsa_server.tools.mcp import ask_server
from responsa_server.tools.mcp_target import path_of_pins, write_pinned
from responsa_server.tools.table import KINDS
from tests.unit.agents.evidence import WHO
from tests.unit.tools.declaring import SECRET, made, request, secret, served
from tests.wire import mcp

PYTHON = "/usr/bin/python3"
SOURCE = Path(mcp.__file__).read_text(encoding="utf-8")
Transport = Literal["http", "program"]


class HttpServer:
    """The server over Streamable HTTP. seen: the methods of all messages, and the HTTP methods of other requests.
    calls: the requests that call tools. keys: those of the calls. changed: see `mcp.listed`.

    lost: whether the session of the next call is lost, which the server says in its own words.
    `waits` returns when `released` is set. `forgets` loses its session, and calls `forgotten`.
    """

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.headers: list[Mapping[str, str]] = []
        self.calls: list[LoopbackRequest] = []
        self.keys: list[str] = []
        self.changed = ""
        self.waiting = asyncio.Event()
        self.released = asyncio.Event()
        self.down = False
        self.lost = False
        self.forgotten: Callable[[], None] = lambda: None

    async def handle(self, exchange: LoopbackExchange) -> None:
        self.headers.append(exchange.request.headers)
        if exchange.request.method != "POST":
            self.seen.append(exchange.request.method)
            await exchange.reply(200, b"")
            return
        message = json.loads(exchange.request.body)
        self.seen.append(message.get("method", ""))
        if self.down:
            await exchange.reply(500, b"")
            return
        if message.get("method") == "tools/call":
            self.calls.append(exchange.request)
            self.keys.append(message["params"]["_meta"]["responsa/idempotency-key"])
            if self.lost:
                self.lost = False
                error = {"code": -32001, "message": "Unknown session"}
                await exchange.reply(
                    404, json.dumps({"jsonrpc": "2.0", "id": message["id"], "error": error}).encode()
                )
                return
        answer = mcp.handled(message, self.changed)
        if answer is not None:
            await exchange.reply(200, json.dumps(answer).encode(), {"mcp-session-id": "s1"})
        elif "id" not in message:
            await exchange.reply(202, b"")
        else:
            await self._misbehave(message["params"]["name"], exchange)

    async def _misbehave(self, name: str, exchange: LoopbackExchange) -> None:
        match name:
            case "waits":
                self.waiting.set()
                await self.released.wait()
                await exchange.reply(200, _said(exchange, "waited"))
            case "forgets":
                self.forgotten()
                await exchange.reply(404, b"")
            case "hangs":
                await asyncio.Event().wait()
            case "dies":
                exchange.cut()
            case "garbled":
                await exchange.reply(200, b"<html>", {"content-type": "text/html"})
            case "floods":
                await exchange.begin("text/event-stream")
                note = {
                    "jsonrpc": "2.0",
                    "method": "notifications/message",
                    "params": {"level": "info", "data": "x"},
                }
                while True:
                    await exchange.piece(b"data: " + json.dumps(note).encode() + b"\n\n")
            case "stops":
                await exchange.begin("text/event-stream")
                await exchange.end()
            case _:
                await exchange.begin("text/event-stream")
                ask: dict[str, Any] = {
                    "jsonrpc": "2.0",
                    "id": "q",
                    "method": "sampling/createMessage",
                    "params": {"messages": [], "maxTokens": 1},
                }
                await exchange.piece(b"data: " + json.dumps(ask).encode() + b"\n\n")
                await exchange.piece(b"data: " + _said(exchange, "-32600") + b"\n\n")
                await exchange.end()


def _said(exchange: LoopbackExchange, text: str) -> bytes:
    """The result of a call with this text."""
    identity = json.loads(exchange.request.body)["id"]
    return json.dumps({"jsonrpc": "2.0", "id": identity, "result": mcp.text(text)}).encode()


async def trusted(raw: Mapping[str, Any], folder: Path) -> Sequence[Tool]:
    """The tools of a declaration whose server the owner trusts now."""
    declaration, problems = declare("note", raw, KINDS, folder)
    assert declaration is not None, problems
    write_pinned(declaration, await ask_server(declaration, ToolContext(secret=secret)))
    return made(raw, folder)


@asynccontextmanager
async def tools_on(
    transport: Transport, folder: Path, **keys: Any
) -> AsyncGenerator[tuple[Mapping[str, Tool], HttpServer]]:
    server = HttpServer()
    async with served(server.handle) as url:
        raw: dict[str, Any] = {"kind": "mcp", "max_bytes": 1 << 17, **keys}
        if transport == "http":
            raw |= {"url": f"{url}/mcp", "allow_private": ["127.0.0.1"]}
        else:
            raw |= {"command": [PYTHON, "-c", SOURCE]}
        tools = {one.card.id.removeprefix("note_"): one for one in await trusted(raw, folder)}
        try:
            yield tools, server
        finally:
            for tool in tools.values():
                await tool.close()


PROGRAM_FAULTS = {
    "floods": ToolFault.TOO_LARGE,
    "large": ToolFault.TOO_LARGE,
    "crowded": ToolFault.TOO_LARGE,
    "garbled": ToolFault.MALFORMED,
    "dies": ToolFault.LOST,
}

BOTH = pytest.mark.parametrize("transport", ["http", "program"])


@BOTH
async def test_tools_are_called_and_every_failure_is_typed(transport: Transport, tmp_path: Path) -> None:
    async with tools_on(transport, tmp_path, effect="none") as (tools, server):
        assert tools["echo"].card.title == "Echo"
        assert tools["count"].card.returns == mcp.TOOLS["count"]["outputSchema"]

        async def call(name: str, seconds: float = 20.0, **arguments: Any) -> ToolResult:
            result = check_result(await tools[name].call(request(arguments, seconds=seconds)), tools[name])
            assert len(result.content) < 40_000
            return result

        said = await call("echo", text="Grüße")
        assert (said.outcome, said.content) == (ToolOutcome.OK, "Grüße")
        assert [source.text for source in said.sources] == ["Grüße"]
        assert (await call("count")).data == {"n": 3}
        assert (await call("fails")).error is ToolFault.STATUS
        refused = await call("refuses")
        assert (refused.error, refused.content) == (ToolFault.STATUS, mcp.REFUSAL)
        assert (await call("lies")).error is ToolFault.MALFORMED
        assert (await call("orders")).outcome is ToolOutcome.OK  # text like any other
        asked = await call("samples")
        assert asked.outcome is ToolOutcome.OK
        assert "result" not in asked.content  # nothing that the server asked for was done
        late = await call("hangs", 0.3)
        assert (late.outcome, late.error) == (ToolOutcome.ERROR, ToolFault.TIMEOUT)
        for name in PROGRAM_FAULTS:
            lost = await call(name)
            assert lost.outcome is ToolOutcome.ERROR, name
            if transport == "program":
                assert lost.error is PROGRAM_FAULTS[name], name
            # The next call begins a session, and works.
            assert (await call("echo", text=name)).content == name
    if transport == "http":
        assert "GET" not in server.seen


@BOTH
async def test_a_changed_description_is_withheld_until_the_owner_agrees(
    transport: Transport, tmp_path: Path
) -> None:
    async with tools_on(transport, tmp_path) as (tools, _):
        assert (await tools["echo"].call(request({"text": "x"}))).outcome is ToolOutcome.OK
    if transport == "program":
        later = {"kind": "mcp", "command": [PYTHON, "-c", SOURCE], "environment": {"CHANGED": "echo"}}
        changed = {one.card.id: one for one in made(later, tmp_path)}
        withheld = await changed["note_echo"].call(request({"text": "x"}))
        assert (withheld.outcome, withheld.error) == (ToolOutcome.ERROR, ToolFault.REFUSED)
        assert "password" not in changed["note_echo"].card.description
        assert (await changed["note_count"].call(request())).outcome is ToolOutcome.OK
        await changed["note_echo"].close()
        agreed = {one.card.id: one for one in await trusted(later, tmp_path)}
        assert "password" in agreed["note_echo"].card.description
        assert (await agreed["note_echo"].call(request({"text": "x"}))).outcome is ToolOutcome.OK
        await agreed["note_echo"].close()


def test_the_owner_sees_what_is_new_and_agrees(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command and the reload of the server, on a declaration in a file."""

    def declare(changed: str) -> None:
        command = json.dumps([PYTHON, "-c", SOURCE])
        text = f'kind = "mcp"\ncommand = {command}\nenvironment = {{ CHANGED = "{changed}" }}\n'
        (tmp_path / "note.toml").write_text(text)

    def agree(answer: bool) -> tuple[int, str]:
        def confirmed(*_: object, **__: object) -> bool:
            return answer

        monkeypatch.setattr(typer, "confirm", confirmed)
        with pytest.raises(typer.Exit) as ended:
            trust("note", str(tmp_path), yes=False)
        return ended.value.exit_code, capsys.readouterr().out

    def descriptions() -> set[str]:
        return {entry.card.description for entry in live.entries() if entry.card.id == "note_echo"}

    declare("")
    live = check_tools(tmp_path)
    assert "responsa tools trust note" in live.problems()[0].message
    assert agree(False)[0] == 1
    assert not live.reload()
    code, said = agree(True)
    assert (code, "Repeats a text." in said) == (0, True)
    assert live.reload()
    assert (descriptions(), live.problems()) == ({"Repeats a text."}, [])
    assert "Nothing has changed." in agree(False)[1]
    declare("echo")
    code, said = agree(True)
    assert said.count("changed: ") == 1
    assert "password" in said
    assert live.reload()
    assert "password" in descriptions().pop()


async def test_a_call_with_an_effect_is_never_repeated_and_its_outcome_may_be_unknown(tmp_path: Path) -> None:
    """The server says of its tools that they only read; it is not believed."""
    async with tools_on("http", tmp_path) as (tools, server):
        lost = await tools["dies"].call(request())
        assert (lost.outcome, lost.error) == (ToolOutcome.UNKNOWN, ToolFault.LOST)
        assert server.seen.count("tools/call") == 1
        # A page in place of a result says nothing about the act, and neither does a stream without one.
        for name in ("garbled", "floods", "stops"):
            lost = await tools[name].call(request())
            assert (lost.outcome, lost.error) == (ToolOutcome.UNKNOWN, ToolFault.LOST), name


@pytest.mark.parametrize("after", ["nothing", "changed", "down"])
async def test_a_repeated_call_has_its_key_and_the_agreed_description(tmp_path: Path, after: str) -> None:
    async with tools_on("http", tmp_path, effect="idempotent") as (tools, server):

        def forgotten() -> None:
            server.changed = "forgets" if after == "changed" else ""
            server.down = after == "down"

        server.forgotten = forgotten
        result = await tools["forgets"].call(request(key="k1"))
        assert (result.outcome, result.error) == (
            ToolOutcome.UNKNOWN,
            ToolFault.LOST,
        )
        assert server.keys == ["k1"] * (2 if after == "nothing" else 1)


@pytest.mark.parametrize("effect", ["none", "idempotent", "once"])
async def test_a_forgotten_session_is_begun_again_whatever_the_server_says(
    tmp_path: Path, effect: str
) -> None:
    async with tools_on("http", tmp_path, effect=effect) as (tools, server):
        assert (await tools["echo"].call(request({"text": "x"}))).outcome is ToolOutcome.OK
        server.lost = True
        result = await tools["echo"].call(request({"text": "y"}))
        if effect == "once":
            assert (result.outcome, result.error) == (ToolOutcome.UNKNOWN, ToolFault.LOST)
        else:
            assert result.content == "y"
        assert len(server.calls) == (2 if effect == "once" else 3)
        assert (await tools["echo"].call(request({"text": "z"}))).content == "z"


async def test_a_call_goes_on_while_another_one_of_its_session_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("responsa_server.tools.mcp_server._IDLE_SECONDS", 0.1)
    async with tools_on("http", tmp_path, effect="none") as (tools, server):
        waiting = asyncio.create_task(tools["waits"].call(request()))
        await server.waiting.wait()
        assert (await tools["hangs"].call(request(seconds=0.5))).error is ToolFault.TIMEOUT
        assert (await tools["echo"].call(request({"text": "x"}))).outcome is ToolOutcome.OK
        server.released.set()
        assert (await waiting).content == "waited"
        # Two sessions for the calls, after one for the agreement.
        assert server.seen.count("initialize") == 3


def _has_ended(pid: int, seconds: float = 20.0) -> bool:
    """Wait for the end of a process, and return False if it does not come."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([process], [], [], seconds)[0])
    finally:
        os.close(process)


async def test_a_program_without_calls_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with tools_on("program", tmp_path) as (tools, _):
        monkeypatch.setattr("responsa_server.tools.mcp_server._IDLE_SECONDS", 0.1)
        pid = json.loads((await tools["who"].call(request())).content)["pid"]
        assert await asyncio.to_thread(_has_ended, pid)
        assert (await tools["echo"].call(request({"text": "x"}))).content == "x"


async def made_of(file: str, folder: Path) -> tuple[LiveTools, Mapping[str, Tool]]:
    """The tools of a folder with this declaration, whose server the owner trusts."""
    (folder / "note.toml").write_text(file, encoding="utf-8")
    await trusted(tomllib.loads(file), folder)
    live = await asyncio.to_thread(check_tools, folder)
    return live, {one.card.id.removeprefix("note_"): one for one in live.list_granted(["note"], WHO, "guide")}


async def removed(live: LiveTools) -> None:
    """Remove the declaration."""
    assert live.folder is not None
    (live.folder / "note.toml").unlink()
    assert await asyncio.to_thread(live.reload)
    live.release()


async def test_a_removed_declaration_ends_its_program_and_all_that_this_has_left(tmp_path: Path) -> None:
    file = f'kind = "mcp"\ncommand = {json.dumps([PYTHON, "-c", SOURCE])}\n'
    live, tools = await made_of(file, tmp_path)
    pids = [
        json.loads((await tools["who"].call(request())).content)["pid"],
        int((await tools["leaves"].call(request())).content),
    ]
    try:
        assert not any(_has_ended(pid, 0) for pid in pids)
        await removed(live)
        for pid in pids:
            assert await asyncio.to_thread(_has_ended, pid)
        # A call of a turn that still has the tool is made, and leaves nothing either.
        late = json.loads((await tools["who"].call(request())).content)["pid"]
        assert await asyncio.to_thread(_has_ended, late)
    finally:
        await live.close()
        await tools["who"].close()  # waits for the end of the late session
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


async def test_a_call_goes_on_while_its_declaration_is_removed(tmp_path: Path) -> None:
    server = HttpServer()
    async with served(server.handle) as url:
        file = f'kind = "mcp"\nurl = "{url}/mcp"\nallow_private = ["127.0.0.1"]\n'
        live, tools = await made_of(file, tmp_path)
        waiting = asyncio.create_task(tools["waits"].call(request()))
        await server.waiting.wait()
        await removed(live)
        closing = asyncio.create_task(live.close())
        server.released.set()
        assert (await waiting).content == "waited"
        await closing


@pytest.mark.parametrize("ends", ["server", "keeper"])
def test_a_server_that_is_not_root_leaves_nothing_either(ends: str) -> None:
    """The server is a small program that starts the launcher, as the user nobody if the tests run as root."""
    program = f"{SOURCE.partition('if __name__')[0]}\nprint(left_behind(), flush=True)\ntime.sleep(600)"
    starts = f"""
import os, subprocess, sys
confined = ["0", str(1 << 30), "1000", "-1", str(os.getpid())]
command = [sys.executable, "-I", "-S", "-c", {LAUNCHER.read_text()!r}, *confined, {PYTHON!r}, "-c", {program!r}]
started = subprocess.Popen(command, start_new_session=True)
print(started.pid, flush=True)
started.wait()
"""
    user = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None
    with subprocess.Popen([PYTHON, "-c", starts], stdout=subprocess.PIPE, user=user, cwd="/") as server:
        assert server.stdout is not None
        keeper, left = (int(server.stdout.readline()) for _ in range(2))
        assert not _has_ended(left, 0)
        os.kill(
            server.pid if ends == "server" else keeper, signal.SIGKILL if ends == "server" else signal.SIGTERM
        )
        assert _has_ended(left)
        assert _has_ended(keeper)


async def test_what_a_program_leaves_ends_with_the_program(tmp_path: Path) -> None:
    async with tools_on("program", tmp_path) as (tools, _):
        left = int((await tools["leaves"].call(request())).content)
        assert (await tools["dies"].call(request())).error is ToolFault.LOST
        assert await asyncio.to_thread(_has_ended, left)


async def test_a_program_is_confined_and_has_the_declared_environment_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESPONSA_SECRET", "hunter2")
    keys = {"secrets": {"key": {"env": "KEY"}}, "secret_environment": {"API_KEY": "key"}, "memory_mb": 512}
    async with tools_on("program", tmp_path, **keys) as (tools, _):
        said = await tools["who"].call(request())
        confinement = json.loads(said.content)
        assert set(confinement["env"]) <= {"PATH", "LANG", "API_KEY", "LC_CTYPE", "PWD"}
        assert SECRET not in said.content  # the program repeated it
        assert (confinement["uid"] != os.getuid()) == (os.getuid() == 0)
        assert re.search(rf"Max address space +{512 << 20} ", confinement["limits"])
        await asyncio.gather(*(tool.close() for tool in tools.values()))
        with pytest.raises(ProcessLookupError):
            os.kill(confinement["pid"], 0)


async def test_a_server_that_fails_is_not_asked_at_once_again(tmp_path: Path) -> None:
    async with tools_on("http", tmp_path) as (tools, _):
        pass
    gone = await tools["echo"].call(request({"text": "x"}))
    assert (gone.outcome, gone.error) == (ToolOutcome.ERROR, ToolFault.UNREACHABLE)
    again = await tools["echo"].call(request({"text": "x"}))
    assert "a moment ago" in again.content
    await tools["echo"].close()


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({}, "url or command"),
        ({"url": "https://a.example", "command": ["/bin/true"]}, "has both url and command"),
        ({"command": ["sh"]}, "“sh” is not an absolute path; write “/.*/sh”"),
        ({"command": [__file__]}, "is not a program that this user may run"),
        ({"url": "http://127.0.0.1:1/mcp"}, r"allow_private = \["),
        ({"url": "https://a.example"}, "responsa tools trust note"),
        ({"url": "https://a.example", "tools": ["other"]}, "responsa tools trust note"),
    ],
)
def test_a_declaration_that_cannot_work_says_why(keys: Mapping[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(ToolUnfit, match=said):
        made({"kind": "mcp", **keys}, tmp_path)


def test_pinned_descriptions_that_were_changed_by_hand_are_not_used(tmp_path: Path) -> None:
    raw = {"kind": "mcp", "url": "https://a.example"}
    declaration, _ = declare("note", raw, KINDS, tmp_path)
    assert declaration is not None
    path = write_pinned(declaration, [])
    assert path == path_of_pins(declaration)
    entry: dict[str, Any] = {
        "name": "a",
        "title": "",
        "description": "b",
        "parameters": {},
        "returns": None,
        "sha256": "0",
    }
    path.write_text(json.dumps({"tools": [entry]}))
    with pytest.raises(ToolUnfit, match="changed by hand"):
        made(raw, tmp_path)


async def test_a_server_learns_the_trace_of_a_call(tmp_path: Path) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    traces = Traces(provider.get_tracer("test"))
    trace = "0af7651916cd43dd8448eb211c80319c"
    async with tools_on("http", tmp_path) as (tools, server):
        with traces.call("call", [f"00-{trace}-b7ad6b7169203331-01"], {}):
            await tools["echo"].call(request({"text": "x"}))
        learnt = [one.headers.get("traceparent", "") for one in server.calls]
        written = [json.loads(one.body)["params"]["_meta"].get("traceparent", "") for one in server.calls]
    assert [trace in one for one in (*learnt, *written)] == [True] * 2
