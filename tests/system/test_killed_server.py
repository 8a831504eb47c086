"""The command line, the clients, and those of OpenAI and A2A against a real instance whose server is killed during an answer."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx2
import openai
import pytest
from a2a.client.errors import A2AClientError
from a2a.types import TaskState
from uuid_utils.compat import uuid7

from responsa_client import AsyncResponsa, Notice, Reconnecting, Responsa, turn_error
from tests.forked import responsa
from tests.instance import Instance, eventually, plain_environment
from tests.raising import raises
from tests.system.a2a_asking import Read, asking

SLOW = "tokens=80 pace_ms=50 tool=once"
"""A tool's call, then four seconds of text."""
SLOWER = "tokens=200 pace_ms=50 tool=once"
"""The same, but the text goes on while two other clients ask on a busy machine."""
ENDLESS = "tokens=2000 pace_ms=50 tool=once"
"""The same tool call, then so much text that the turn ends only if it is cancelled."""


def elsewhere(second: Instance) -> dict[str, str]:
    """The environment of a command on another machine. It contains only the instance's address and a key."""
    return plain_environment(RESPONSA_HOME="/nowhere", RESPONSA_URL=second.url, RESPONSA_API_KEY=second.key)


@contextmanager
def command(
    second: Instance, *arguments: str, program: Sequence[str] = ()
) -> Generator[subprocess.Popen[str]]:
    """Run a command as a user on another machine would. If the command still runs at the end of the block, the test has failed, and the
    command is killed. program: for a command that gets signals, because `responsa()` passes none on.
    """
    program = program or responsa()
    with subprocess.Popen(
        [*program, *arguments], env=elsewhere(second), stdout=subprocess.PIPE, text=True, cwd="/"
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def until_first(process: subprocess.Popen[str], kind: str) -> list[dict[str, Any]]:
    """The printed events up to the first event of this kind."""
    assert process.stdout is not None
    events: list[dict[str, Any]] = []
    while not events or kind not in events[-1]:
        events.append(json.loads(process.stdout.readline()))
    return events


def the_rest(process: subprocess.Popen[str]) -> list[dict[str, Any]]:
    out, _ = process.communicate()
    return [json.loads(line) for line in out.splitlines()]


def text_of(events: list[dict[str, Any]]) -> str:
    """The text of the deltas, without the withdrawn part."""
    text = b""
    for event in events:
        if "attemptRestarted" in event:
            text = text[: int(event["attemptRestarted"].get("keepBytes", 0))]
        text += event.get("delta", {}).get("text", "").encode()
    return text.decode()


def check_printed(second: Instance, events: list[dict[str, Any]], question: str, request_id: str) -> None:
    """The command printed every event once, and prints the same again: the whole answer, or what comes after an event."""
    assert [int(event["seq"]) for event in events] == list(range(1, len(events) + 1))
    assert text_of(events) == events[-1]["answer"]["text"]
    assert sum("toolCall" in event for event in events) == sum("toolResult" in event for event in events) == 1
    again = second.run("ask", question, "--agent", "testing", "--request-id", request_id, "--json")
    assert [json.loads(line) for line in again.stdout.splitlines()] == events
    with Responsa(second.url, second.key) as client:
        (turn,) = [turn for turn in client.turns() if turn.request_id == request_id]
    half = len(events) // 2
    with command(second, "resume", turn.name, "--after", str(half), "--json") as resumed:
        assert the_rest(resumed) == events[half:]


@pytest.mark.soak
def test_ask_prints_every_event_once_though_envoy_is_killed(second: Instance) -> None:
    request_id = str(uuid7())
    before = second.processes()["envoy"]
    with command(second, "ask", SLOW, "--agent", "testing", "--request-id", request_id, "--json") as process:
        events = until_first(process, "delta")
        os.kill(before.pid, signal.SIGKILL)
        events += the_rest(process)
        assert process.returncode == 0
    check_printed(second, events, SLOW, request_id)
    eventually(lambda: second.processes().get("envoy", before) != before, "another envoy")


def test_cancel_from_elsewhere_ends_the_turn_and_its_stream(second: Instance) -> None:
    with command(second, "ask", ENDLESS, "--agent", "testing", "--json") as process:
        events = until_first(process, "delta")
        with Responsa(second.url, second.key) as client:
            turn = next(client.turns("state=RUNNING"))
        with command(second, "call", "ChatService.CancelTurn", "--name", turn.name) as done:
            assert turn.name in done.communicate()[0]
        events += the_rest(process)
        assert process.returncode == 4
    assert events[-1]["cancelled"]["by"] == "CANCEL_CAUSE_OWNER"
    assert [int(event["seq"]) for event in events] == list(range(1, len(events) + 1))


async def collected(stream: Any) -> list[Any]:
    return [event async for event in stream]


@pytest.mark.soak
def test_many_streams_over_a_killed_server(second: Instance) -> None:
    """Several threads share a client while the server is killed. Each stream is still complete, and there are at least
    as many notices of a lost connection as streams."""
    before = second.processes()["server"]
    notices: list[Notice] = []
    results: list[tuple[list[int], str]] = []
    begun = threading.Semaphore(0)

    def follow(client: Responsa, number: int) -> None:
        # Each answer is so long that all turns begin before the first one ends.
        question = f"tokens=160 pace_ms=50 seed={number}"
        with client.ask(question, agent="testing", include_deltas=True, on_notice=notices.append) as stream:
            seqs = [next(stream).seq]
            begun.release()
            seqs += [event.seq for event in stream]
            assert stream.terminal is not None
            assert turn_error(stream.terminal) is None
            results.append((seqs, stream.text))

    with Responsa(second.url, second.key) as client:
        threads = [threading.Thread(target=follow, args=(client, number)) for number in range(12)]
        for thread in threads:
            thread.start()
        for _ in threads:
            begun.acquire()
        os.kill(before.pid, signal.SIGKILL)
        for thread in threads:
            thread.join()
    assert len(results) == len(threads)
    assert all(seqs == list(range(1, len(seqs) + 1)) for seqs, _ in results)
    assert all(text for _, text in results)
    assert sum(isinstance(one, Reconnecting) for one in notices) >= len(threads)
    eventually(lambda: second.processes().get("server", before) != before, "another server")


async def test_three_clients_over_a_killed_server(second: Instance) -> None:
    """The command prints every event once. The streams of OpenAI and A2A break off; a repeated key, and a subscription,
    attach to the turns."""
    before = second.processes()["server"]
    request_id = str(uuid7())
    question: dict[str, Any] = {
        "model": "testing",
        "messages": [{"role": "user", "content": SLOWER}],
        "stream": True,
        "extra_headers": {"Idempotency-Key": str(uuid7())},
    }
    arguments = ("ask", SLOWER, "--agent", "testing", "--request-id", request_id, "--json")
    with command(second, *arguments) as process:
        printed = until_first(process, "delta")
        async with (
            openai.AsyncOpenAI(base_url=f"{second.url}/v1", api_key=second.key, max_retries=0) as completions,
            asking(second, "testing") as agent,
            AsyncResponsa(second.url, second.key) as responsa,
        ):
            stream = await completions.chat.completions.create(**question)
            while not (await anext(stream)).choices[0].delta.content:
                pass
            read, events = Read(), agent.stream(SLOWER)
            while not read.text:
                read.take(await anext(events))
            begun = read.text
            os.kill(before.pid, signal.SIGKILL)
            await raises((openai.APIError, httpx2.TransportError), collected(stream))
            await raises(A2AClientError, collected(events))
            await asyncio.to_thread(
                eventually, lambda: second.processes().get("server", before) != before, "another server"
            )
            turn = await responsa.get_turn(f"turns/{read.task.id}")

            async for event in agent.subscribe(read.task.id):
                read.take(event)
            assert read.states[-1] == TaskState.TASK_STATE_COMPLETED
            assert begun != read.text == (await responsa.get_turn(turn.name)).terminal_event.answer.text

            again = await completions.chat.completions.with_raw_response.create(**question)
            chunks = await collected(again.parse())
            turn = await responsa.get_turn(again.headers["x-responsa-turn"])
            text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
            assert text == turn.terminal_event.answer.text
        printed += the_rest(process)
        assert process.returncode == 0
    assert any("attemptRestarted" in event for event in printed)
    check_printed(second, printed, SLOWER, request_id)
