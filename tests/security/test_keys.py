"""Keys of model servers appear in no log, error, event or dump of the settings, whatever the servers send back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import aclosing
from pathlib import Path

import pytest

from responsa_lab.testing.loopback import LoopbackExchange, LoopbackServer, as_json
from responsa_server.agents.engine.agent import AgentOptions, PlannedAgent
from responsa_server.agents.engine.graph import BEGIN, FINISH, Plan, Route
from responsa_server.agents.engine.kinds import NodeParts
from responsa_server.agents.nodes.prompt import Prompt
from responsa_server.app.models import model_table
from responsa_server.app.settings import SettingsError, load
from responsa_server.cli.main import main
from responsa_server.domain.errors import Unavailable
from responsa_server.domain.models import ModelError
from responsa_server.providers.settings import ModelSettings
from tests.agent_streams import stream
from tests.unit.agents.evidence import task
from tests.wire.speaking import KEY

OTHER = "AIzaSyTest-4f3e2d1c0b9a8g7h"
VARIABLES = {
    "RESPONSA_MODELS__VENDORS__OPENAI__API_KEY": KEY,
    "RESPONSA_MODELS__VENDORS__ANTHROPIC__API_KEY": KEY,
    "GEMINI_API_KEY": OTHER,
    "RESPONSA_MODELS__SERVERS__LAB__URL": "http://127.0.0.1:9/v1",
    "RESPONSA_MODELS__SERVERS__LAB__API_KEY": "no-such-shape-but-secret",
}
SECRETS = (KEY, OTHER, "no-such-shape-but-secret")

# This program runs in a separate process, because logging is global and the interpreter prints uncaught errors.
PROGRAM = """
import asyncio, json, logging, os, sys, traceback
import structlog
from uuid import uuid4
from responsa_server.app import process
from responsa_server.domain.models import ModelError, ModelPrompt, PromptMessage, Role
from responsa_server.app.settings import load
from responsa_lab.testing.loopback import LoopbackServer, as_json
from responsa_server.app.models import model_table
from responsa_server.providers.table import providers

async def handle(exchange):
    headers = exchange.request.headers
    key = "".join(headers.get(one, "") for one in ("authorization", "x-api-key", "x-goog-api-key"))
    echoed = f"no such key {key} or {key.removeprefix('Bearer ')}, said by {dict(headers)}"
    if "odd" in exchange.request.path:
        await exchange.begin("text/event-stream")
        await exchange.piece(b"data: {" + echoed.encode() + b"\\n\\n")
        await exchange.end()
    elif "page" in exchange.request.path:
        await exchange.reply(503, echoed.encode(), {"content-type": "text/html"})
    else:
        body = {"error": {"message": echoed, "type": "authentication_error", "status": "UNAUTHENTICATED", "code": 401}}
        await exchange.reply(401, as_json(body))

async def main():
    process.configure_logs("debug")
    log, plain = structlog.get_logger("turns"), logging.getLogger("responsa_server.providers")
    server = LoopbackServer(handle)
    await server.start()
    for way in ("wrong", "odd", "page", "gone"):
        for name in ("VENDORS__OPENAI", "VENDORS__ANTHROPIC", "VENDORS__GEMINI", "SERVERS__LAB"):
            os.environ[f"RESPONSA_MODELS__{name}__URL"] = f"{server.url}/{way}/v1"
            os.environ["RESPONSA_MODELS__RETRIES"] = "0"
        if way == "gone":
            await server.close()
        settings = load()
        print(repr(settings), settings.model_dump_json(), providers(settings.models))
        models = model_table(settings.models)
        for name in ("openai:m", "anthropic:m", "gemini:m", "lab:m"):
            try:
                async for _ in models.chain([name]).stream(ModelPrompt([PromptMessage(Role.USER, "Why?")], "turns/1")):
                    pass
            except ModelError as error:
                last = error
                print("told:", name, way, repr(error), str(error), error.detail, vars(error))
                log.error("a model failed", error=error, exc_info=True)
                plain.exception("a model failed: %r", error)
                traceback.print_exc()
        await models.close()
    raise SystemError("the end") from last

asyncio.run(main())
"""


def test_whatever_servers_send_back_no_key_is_logged_raised_or_shown() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **VARIABLES},
    )
    said = ran.stdout + ran.stderr
    assert "SystemError: the end" in ran.stderr, ran.stderr[-2000:]
    assert said.count("told:") == 16
    assert "[key]" in said
    assert '"event": "a model failed"' in ran.stderr
    for secret in SECRETS:
        assert secret not in said


async def test_no_event_and_no_error_of_a_turn_holds_a_key() -> None:
    async def handle(exchange: LoopbackExchange) -> None:
        body = {"error": {"message": f"{exchange.request.headers} {KEY}", "type": "server_error"}}
        await exchange.reply(503, as_json(body))

    server = LoopbackServer(handle)
    await server.start()
    one = {"url": f"{server.url}/v1", "api_key": KEY}
    settings = ModelSettings.model_validate({"servers": {"lab": one, "attic": one}, "retries": 0})
    models = model_table(settings)
    chain = models.chain(["lab:m", "attic:m"])
    assert chain is not None
    plan = Plan(
        {"write": Prompt(NodeParts(model=chain), "write")},
        [Route(BEGIN, ("write",)), Route("write", (FINISH,))],
    )
    sayings: list[object] = []
    question = task("Why?")
    agent = PlannedAgent(
        plan, AgentOptions("agents/x/versions/1", time_limit_seconds=60.0, history_messages=10)
    )

    async def turn() -> None:
        async with aclosing(stream(agent, question)) as events:
            async for event in events:
                sayings.append(event)

    with pytest.raises(Unavailable) as caught:
        await turn()
    await models.close()
    await server.close()
    failed = caught.value
    assert failed.metadata["model"] == "attic:m"
    assert "lab:m" in repr(sayings)
    assert KEY not in repr([sayings, question.meter, failed, failed.message, failed.metadata, vars(failed)])
    assert isinstance(failed.__cause__, ModelError)
    assert "[key]" in failed.__cause__.detail


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("RESPONSA_MODELS__VENDORS__OPENAI__URL", f"https://user:{KEY}@example.org/v1"),
        ("RESPONSA_MODELS__VENDORS__GEMINI__URL", f"https://example.org/v1beta?key={KEY}"),
        ("RESPONSA_MODELS__VENDORS__OPENAI__KEY", KEY),
        ("RESPONSA_MODELS__VENDORS__OPENAI", KEY),
        ("RESPONSA_MODELS__VENDORS__OPENAI__API_KEY__X", KEY),
        ("RESPONSA_MODELS__SERVERS__LAB__URL", KEY),
        ("RESPONSA_MODELS__RETRIES", KEY),
    ],
)
def test_a_wrong_setting_is_told_without_what_it_held(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as caught:
        load()
    assert KEY not in str(caught.value)
    assert "models" in str(caught.value)


def test_a_key_may_stand_in_a_secret_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "RESPONSA_MODELS__VENDORS__OPENAI__API_KEY").write_text(f"{KEY}\n")
    (tmp_path / "GEMINI_API_KEY").write_text(OTHER)
    (tmp_path / "responsa_models__servers__lab__api_key").write_text(OTHER)
    monkeypatch.setenv("RESPONSA_SECRETS_DIR", str(tmp_path))
    monkeypatch.setenv("RESPONSA_MODELS__SERVERS__LAB__URL", "http://127.0.0.1:9/v1")
    models = load().models
    assert models.vendors["gemini"].api_key.get_secret_value() == OTHER
    assert models.vendors["openai"].api_key.get_secret_value() == KEY
    assert models.servers["lab"].api_key.get_secret_value() == OTHER
    assert models.servers["lab"].url == "http://127.0.0.1:9/v1"


AGENT = f"""
name = "Leaky"
description = "{KEY}"
start = "retrieve"
model = {{ chain = ["openai:gpt", "lab:{KEY}"], api_key = "{KEY}" }}
openai_token = "{OTHER}"
"{KEY}" = 1
[parameters]
properties.level = {{ enum = ["{KEY}"] }}
[nodes]
retrieve = {{ kind = "retriever", kindd = "{KEY}" }}
write = {{ kind = "prompt", prompt = "{KEY}" }}
refuse = {{ kind = "{KEY}", status = "{OTHER}" }}
[graph]
edges = [{{ from = "retrieve", to = "{KEY}", when = {{ field = "{KEY}", is = "{KEY}" }} }}]
"""


@pytest.mark.parametrize("syntax", ["", f'\nx = "{KEY}\n'])
@pytest.mark.parametrize("options", [(), ("--json",)])
def test_the_check_of_an_agent_refuses_keys_and_does_not_repeat_them(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    syntax: str,
    options: tuple[str, ...],
) -> None:
    for variable, value in VARIABLES.items():
        monkeypatch.setenv(variable, value)
    folder = tmp_path / "leaky"
    (folder / "prompts").mkdir(parents=True)
    (folder / "agent.toml").write_text(AGENT + syntax)
    (folder / "prompts" / "answer.md").write_text(
        f"+++\nvariables = {{ a = 1 }}\n+++\nUse {KEY}. {{{{ {KEY} }}}}\n"
    )
    with pytest.raises(SystemExit) as ended:
        main(["agents", "check", *options, str(folder)])
    out, err = capsys.readouterr()
    assert ended.value.code != 0
    assert out
    if not syntax:
        assert "secret" in out
    for secret in SECRETS:
        assert secret not in out + err
    assert all(json.loads(line) for line in out.splitlines() if options)
