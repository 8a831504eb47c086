"""`responsa agents` and `ask` with an agent's parameters: requests, output and exit codes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.protobuf import json_format

from clients.conformance.server import Context, status
from responsa.admin.v1 import admin_service_pb2
from responsa.chat.v1 import chat_service_pb2, turn_pb2
from tests.clients.agents_served import ASHDOWN, NOWHERE, ServedAgents, struct, tutor
from tests.clients.command_line import CommandLine
from tests.clients.scripted import (
    ASK,
    CHAT,
    CONVERSATION,
    RESUME,
    TURN,
    Scripted,
    answer,
    complete,
    frame,
    play_streams,
    started,
    step,
)


@pytest.fixture
def served(server: Scripted) -> ServedAgents:
    agents = ServedAgents()
    agents.serve(server)
    return agents


async def test_agents_are_listed_and_shown(served: ServedAgents, responsa: CommandLine) -> None:
    done = await responsa("agents", "list")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        "default          Responsa (default) (published version 2; its files are at version 1)",
        "tutor            Explains, step by step.",
    ]
    assert [line["name"] for line in (await responsa("agents", "list", "--json")).lines] == [
        "agents/default",
        "agents/tutor",
    ]
    assert (await responsa("agents", "show", "tutor")).out.splitlines() == [
        "tutor: Tutor",
        "Explains, step by step.",
        "version    3",
        "models     scripted:strong",
        "documents  tutor",
        "history    10 messages",
        "parameters",
        "  --param teacher_id=…  Teacher, required:",
        f"      {ASHDOWN}  Ms Ashdown",
        "  --param free=…  Anything",
        "  --param length=…  Words, integer",
        "  --param level=…  one of beginner, advanced, default beginner",
        "  --param polite=…  boolean",
        "  --param seeds=…  array",
        "try",
        "  Why does the moon have phases?",
    ]
    default = (await responsa("agents", "show", "agents/default")).out
    assert "models     none: it shows passages" in default
    assert "documents  all that you may read" in default
    assert (await responsa("agents", "show", "tutor", "--json")).lines[0]["displayName"] == "Tutor"


async def test_an_agent_that_is_not_there_is_told_with_those_that_are(
    server: Scripted, served: ServedAgents, responsa: CommandLine
) -> None:
    done = await responsa("agents", "show", "nobody")
    assert (done.code, done.out) == (2, "")
    assert done.err == "responsa: Agent not found. Known: default, tutor.\n"
    refusal = status(
        grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND", "No agent.", metadata={"known": "default,tutor"}
    )
    server.refuse(ASK, refusal)
    for arguments in (("--param", "level=beginner"), ()):
        done = await responsa("ask", "--agent", "nobody", *arguments, "Who?")
        assert done.code == 2
        assert done.err.endswith("Known: default, tutor.\n")


@pytest.mark.parametrize("agent", ["tutor", "tutor/versions/2"])
async def test_parameters_are_typed_by_the_schema(
    server: Scripted, served: ServedAgents, responsa: CommandLine, agent: str
) -> None:
    """The command converts parameters to the types of the agent's schema, even if the question names a version of the agent. The server
    checks the parameters with the version's schema.
    """
    play_streams(server, complete)
    given = [
        "teacher_id=ms ashdown",
        "level=advanced",
        "length=12",
        "polite=true",
        "seeds=[1, 2]",
        'free={"a": 1}',
    ]
    arguments = [part for one in given for part in ("--param", one)]
    done = await responsa("ask", "--agent", agent, *arguments, "--max-cost", "0.0021", "Who?")
    assert done.code == 0, done.err
    assert server.requests[ASK][0].agent == f"agents/{agent}"
    options = server.requests[ASK][0].options
    assert options.max_cost_usd_micros == 2_100
    assert json_format.MessageToDict(options.parameters) == {
        "teacher_id": ASHDOWN,
        "level": "advanced",
        "length": 12,
        "polite": True,
        "seeds": [1, 2],
        "free": {"a": 1},
    }
    # If the schema asks for a string, the value stays a string even if it looks like a number. If the schema
    # does not restrict the type, a string is allowed.
    await responsa("ask", "--agent", "tutor", "-p", "teacher_id=12", "-p", "free=12 pages", "Who?")
    sent = json_format.MessageToDict(server.requests[ASK][1].options.parameters)
    assert sent == {"teacher_id": "12", "free": "12 pages"}
    # Without an agent, the question goes to the default agent, which has no parameters.
    done = await responsa("ask", "-p", "x=1", "Who?")
    assert done.code == 2
    assert "agents/default has no parameter 'x'." in done.err


@pytest.mark.parametrize("arguments", [("-p", "levle=beginner"), ("-p", "length=many"), ("--max-cost", "0")])
async def test_what_cannot_be_right_is_told_before_asking(
    server: Scripted, served: ServedAgents, responsa: CommandLine, arguments: tuple[str, ...]
) -> None:
    play_streams(server, complete)
    done = await responsa("ask", "--agent", "tutor", *arguments, "Who?")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("responsa: ")
    assert ASK not in server.requests


async def test_parameters_that_are_refused_are_told_with_the_choices(
    server: Scripted, served: ServedAgents, responsa: CommandLine
) -> None:
    server.refuse(
        ASK, status(grpc.StatusCode.INVALID_ARGUMENT, "PARAMETERS_INVALID", "teacher_id is required.")
    )
    done = await responsa("ask", "--agent", "tutor", "Who?")
    assert (done.code, done.out) == (2, "")
    assert done.err.splitlines()[:3] == [
        "responsa: teacher_id is required.",
        "  --param teacher_id=…  Teacher, required:",
        f"      {ASHDOWN}  Ms Ashdown",
    ]
    assert "--param level" in done.err

    server.refuse(ASK, status(grpc.StatusCode.NOT_FOUND, "TEACHER_NOT_FOUND", "There is no such teacher."))
    done = await responsa("ask", "--json", "--agent", "tutor", "-p", f"teacher_id={NOWHERE}", "Who?")
    assert done.code == 2
    assert f"{ASHDOWN}  Ms Ashdown" in done.err
    assert "level" not in done.err
    # Programs read the server's exact words.
    assert done.lines[0]["error"]["message"] == "There is no such teacher."

    served.agents = [tutor(())]
    done = await responsa("ask", "--agent", "tutor", "-p", f"teacher_id={NOWHERE}", "Who?")
    assert "there are no teachers yet: `responsa samples load`" in done.err

    # If the choices are not available, the refusal is still reported.
    server.refuse(f"{CHAT}/GetAgent", status(grpc.StatusCode.INTERNAL, "INTERNAL", "Oh."))
    done = await responsa("ask", "--agent", "tutor", "Who?")
    assert (done.code, done.err) == (2, "responsa: There is no such teacher.\n")


@pytest.mark.usefixtures("served")
async def test_resume_says_how_to_go_on_with_the_turns_agent_and_parameters(
    server: Scripted, responsa: CommandLine
) -> None:
    turn = turn_pb2.Turn(
        name=TURN,
        conversation=CONVERSATION,
        agent_version="agents/tutor/versions/3",
        parameters=struct({"teacher_id": ASHDOWN, "length": 200, "polite": True, "free": "a b"}),
    )

    async def script(_: Any, __: Context) -> AsyncIterator[chat_service_pb2.AskResponse]:
        yield frame(0, 3, [started(), step(2), answer(3)])

    server.on(RESUME, script)
    server.reply(f"{CHAT}/GetTurn", turn)
    done = await responsa("resume", TURN)
    options = f"--agent tutor --param 'free=a b' --param length=200 --param polite=true --param teacher_id={ASHDOWN}"
    assert (done.code, done.err.splitlines()[-1]) == (
        0,
        f"responsa: `responsa ask --conversation {CONVERSATION} {options}` continues this conversation.",
    )
    # The default agent needs no name, as after `ask`.
    turn.agent_version = "agents/default/versions/1"
    turn.ClearField("parameters")
    done = await responsa("resume", TURN)
    assert done.err.splitlines()[-1] == (
        f"responsa: `responsa ask --conversation {CONVERSATION}` continues this conversation."
    )


async def test_who_answered_what_fell_back_and_the_cost_are_told_beside_the_answer(
    server: Scripted, responsa: CommandLine
) -> None:
    first, end = started(), answer(3)
    first.started.agent_version = "agents/tutor/versions/3"
    end.answer.MergeFrom(
        turn_pb2.TurnAnswer(
            model="scripted:strong",
            intent="qa",
            category="exercise",
            fallbacks=[
                turn_pb2.Fallback(
                    kind=turn_pb2.FALLBACK_KIND_PROVIDER,
                    source="gemini:x",
                    target="scripted:strong",
                    cause="rate_limited",
                ),
                turn_pb2.Fallback(kind=turn_pb2.FALLBACK_KIND_TEXT_ONLY, source="retrieve"),
            ],
            usage=turn_pb2.Usage(input_tokens=1_200, output_tokens=34, cost_usd_micros=2_100),
        )
    )
    events = [first, step(2), end]

    async def script(_: Any, __: Context) -> AsyncIterator[chat_service_pb2.AskResponse]:
        yield frame(0, 3, events)

    server.on(ASK, script)
    done = await responsa("ask", "Who?")
    assert done.code == 0
    assert done.out.startswith("Émile wrote it. [1]")
    answered, model, words, _ = done.err.splitlines()
    assert (
        answered
        == "responsa: tutor answered with scripted:strong; classified as qa; question of kind exercise; 1,234 tokens, 0.0021 USD."
    )
    assert model.endswith("(gemini:x → scripted:strong: rate_limited).")
    assert "words" in words
    assert words.endswith("(retrieve).")
    done = await responsa("ask", "--json", "--no-deltas", "Who?")
    assert (done.err, done.lines[-1]["answer"]["model"]) == ("", "scripted:strong")


async def test_agents_are_reloaded(served: ServedAgents, responsa: CommandLine) -> None:
    good = admin_service_pb2.AgentReload(agent="agents/chat", version="agents/chat/versions/4", changed=True)
    same = admin_service_pb2.AgentReload(agent="agents/tutor", version="agents/tutor/versions/3")
    served.reloads = [good, same]
    done = await responsa("agents", "reload")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        "chat             version 4, new",
        "tutor            version 3, unchanged",
    ]
    problem = admin_service_pb2.AgentProblem(
        file="agent.toml", line=4, key="nodes.a.kind", message="there is no such kind", suggestion="refuse"
    )
    same.problems.append(problem)
    served.reloads = [
        same,
        admin_service_pb2.AgentReload(
            agent="agents/mine", problems=[admin_service_pb2.AgentProblem(file="x", message="is gone")]
        ),
    ]
    done = await responsa("agents", "reload")
    assert done.code == 2
    assert done.out.splitlines() == [
        "tutor            still version 3, its files are broken:",
        "  tutor/agent.toml:4: nodes.a.kind: there is no such kind. Did you mean “refuse”?",
        "mine             not in service, its files are broken:",
        "  mine/x: is gone.",
    ]
    done = await responsa("agents", "reload", "--json")
    assert (done.code, done.lines[0]["problems"][0]["line"]) == (2, 4)
    served.admin = False
    assert (await responsa("agents", "reload")).code == 1
