"""Third-party tracers send nothing, whatever the user's environment contains."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from responsa_server.app.settings import drop_foreign_tracers

_RUN = """
import asyncio, os, socket, sys, threading, time

DROP = sys.argv[1] == "drop"
attempts = []
real = socket.getaddrinfo

def guard(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
        address = arguments[1] if event == "socket.connect" else arguments[:2]
        if isinstance(address, (str, bytes)):
            return
        attempts.append((event, str(address)))
        raise OSError("no network here")

sys.addaudithook(guard)
if DROP:
    from responsa_server.app.settings import drop_foreign_tracers
    drop_foreign_tracers(os.environ)

from tests.unit.agents.evidence import FixedEvidence, excerpt, task
from bench.agents import GraphAgent

async def main():
    fixed = FixedEvidence(excerpt("The Nile is long."))
    agent = GraphAgent(fixed)
    return [type(await agent.answer(task("How long is the river Nile?"), lambda _: None)).__name__]

print(asyncio.run(main())[-1])
from langchain_core.tracers.langchain import wait_for_all_tracers
wait_for_all_tracers()
deadline = time.monotonic() + (0 if DROP else 20)
while not attempts and time.monotonic() < deadline:
    time.sleep(0.05)
print("attempts:", sorted(set(attempts)))
os._exit(0)
"""


def run(mode: str) -> str:
    root = Path(__file__).resolve().parents[2]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(root), *sys.path]),
        "LANGCHAIN_TRACING_V2": "true",
        "LANGCHAIN_API_KEY": "lsv2_none",
        "LANGCHAIN_ENDPOINT": "https://tracer.invalid",
        "LANGSMITH_TRACING": "true",
        "LANGSMITH_API_KEY": "lsv2_none",
        "LANGSMITH_ENDPOINT": "https://tracer.invalid",
    }
    done = subprocess.run(
        [sys.executable, "-c", _RUN, mode],
        env=environment,
        cwd=root,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Answered" in done.stdout
    return done.stdout


def test_a_graph_run_calls_nobody() -> None:
    assert "attempts: []" in run("drop")


@pytest.mark.soak
def test_the_guard_sees_the_call_that_would_be_made() -> None:
    assert "tracer.invalid" in run("keep")


@pytest.mark.parametrize("name", ["LANGCHAIN_TRACING_V2", "LANGSMITH_API_KEY", "langsmith_tracing"])
def test_their_variables_are_dropped_and_named_and_others_stay(name: str) -> None:
    environ = {name: "true", "HOME": "/home/x", "LANGUAGE": "en"}
    assert drop_foreign_tracers(environ) == [name]
    assert environ == {"HOME": "/home/x", "LANGUAGE": "en"}
