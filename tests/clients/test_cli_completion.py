"""What the shells suggest for a command that is being typed."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from responsa.chat.v1 import agent_pb2, chat_service_pb2, conversation_pb2
from responsa.knowledge.v1 import collection_pb2, document_pb2, knowledge_service_pb2
from tests.clients.agents_served import ServedAgents, default, tutor
from tests.clients.command_line import CommandLine
from tests.clients.scripted import CHAT, CONVERSATION, KEY, KNOWLEDGE, Context, Scripted

HOSTILE = "a\\$(touch x)`touch x`'; touch x \"\x1b[2J\n\x00b) [red]"


@pytest.fixture(autouse=True)
def served(server: Scripted) -> None:
    """Agents, collections and a conversation. Some have names or titles that a shell must not evaluate."""
    wrong = agent_pb2.Agent(name="agents/t$(touch x)", display_name="Tricky")
    odd = agent_pb2.Agent(name="agents/tricky", display_name=HOSTILE)
    ServedAgents([default(), tutor(), wrong, odd]).serve(server)

    async def collections(_: Any, __: Context) -> knowledge_service_pb2.ListCollectionsResponse:
        found = [collection_pb2.Collection(name=f"collections/{one}") for one in ("notes", "letters")]
        return knowledge_service_pb2.ListCollectionsResponse(collections=found)

    async def conversations(_: Any, __: Context) -> chat_service_pb2.ListConversationsResponse:
        found = [conversation_pb2.Conversation(name=CONVERSATION, title="Who wrote it?")]
        return chat_service_pb2.ListConversationsResponse(conversations=found)

    server.on(f"{KNOWLEDGE}/ListCollections", collections)
    server.on(f"{CHAT}/ListConversations", conversations)


async def suggested(responsa: CommandLine, line: str, shell: str = "bash", key: str = KEY) -> list[str]:
    """The lines that the command prints for the shell's script. The last word of the line is incomplete."""
    done = await responsa(
        _RESPONSA_COMPLETE=f"complete_{shell}",
        COMP_WORDS="\n".join(line.split(" ")),
        COMP_CWORD=str(line.count(" ")),
        _TYPER_COMPLETE_ARGS=line,
        _TYPER_COMPLETE_FISH_ACTION="get-args",
        RESPONSA_API_KEY=key,
    )
    assert (done.code, done.err) == (0, "")
    return [one for one in done.out.splitlines() if one]


async def test_commands_options_and_names(responsa: CommandLine) -> None:
    assert await suggested(responsa, "responsa ch") == ["chat"]
    assert await suggested(responsa, "responsa ask --c") == [
        "--conversation",
        "--collection",
        "--cancel-on-disconnect",
    ]
    assert await suggested(responsa, "responsa chat --agent t") == ["tutor", "tricky"]
    assert await suggested(responsa, "responsa agents show d") == ["default"]
    assert await suggested(responsa, "responsa search x --collection ") == ["notes", "letters"]
    assert await suggested(responsa, "responsa ask -c ") == [CONVERSATION]


async def test_methods_fields_and_values(responsa: CommandLine) -> None:
    assert await suggested(responsa, "responsa call AdminService.EraseT") == ["AdminService.EraseTenant"]
    update = "responsa call AdminService.UpdateUser"
    assert await suggested(responsa, f"{update} --r") == ["--role"]
    assert await suggested(responsa, f"{update} --email x --role ") == ["user", "admin", "service"]
    assert await suggested(responsa, "responsa call AdminService.UpdateUserQuota --tokens-per-day.") == [
        "--tokens-per-day.at-most",
        "--tokens-per-day.unlimited",
    ]


async def test_source_keys_of_the_named_collection(server: Scripted, responsa: CommandLine) -> None:
    asked: list[tuple[str, str]] = []

    async def documents(request: Any, _: Context) -> knowledge_service_pb2.ListDocumentsResponse:
        asked.append((request.parent, request.filter))
        found = ["guide/intro.md", "other/guide/x.md", "guide/$(touch x).md", "guide/a b.md", "guide/Fluß.md"]
        return knowledge_service_pb2.ListDocumentsResponse(
            documents=[document_pb2.Document(source_key=one) for one in found]
        )

    server.on(f"{KNOWLEDGE}/ListDocuments", documents)
    keys = ["guide/intro.md", "guide/Fluß.md"]
    assert await suggested(responsa, "responsa documents show -c notes gui") == keys
    assert await suggested(responsa, "responsa documents delete ") == [
        "guide/intro.md",
        "other/guide/x.md",
        keys[1],
    ]
    assert asked == [("collections/notes", 'source_key = "gui*"'), ("collections/default", "")]


async def test_the_script_for_bash(responsa: CommandLine, tmp_path: Path) -> None:
    script = """
        eval "$(responsa --show-completion)"
        COMP_WORDS=(responsa ask --agent tu) COMP_CWORD=3
        _responsa_completion responsa
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    process = await asyncio.create_subprocess_exec(
        "bash",
        "--norc",
        "-c",
        script,
        cwd=tmp_path,
        env=responsa.environment(PATH=programs),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert await process.communicate() == (b"tutor\n", b"")


async def test_no_shell_gets_something_to_evaluate(responsa: CommandLine) -> None:
    """The script for zsh evaluates what is printed, and a backslash would end its quotes."""
    said = "a touch x touch x touch x 2J b red"
    line = "responsa ask --agent t"
    zsh = await suggested(responsa, line, "zsh")
    assert " ".join("\n".join(zsh).split()) == f"""_arguments '*: :(("tutor":"Tutor" "tricky":"{said}"))'"""
    # zsh would drop an apostrophe of a help text.
    (agents,) = await suggested(responsa, "responsa agents l", "zsh")
    assert agents == """_arguments '*: :(("list":"List the server’s agents."))\'"""
    fish = await suggested(responsa, line, "fish")
    assert [" ".join(one.split()) for one in fish] == ["tutor Tutor", f"tricky {said}"]


async def test_a_server_that_is_slow_or_away_suggests_nothing(
    server: Scripted, responsa: CommandLine
) -> None:
    patience: list[float | None] = []

    async def slow(_: Any, context: Context) -> chat_service_pb2.ListAgentsResponse:
        patience.append(context.time_remaining())
        await asyncio.Event().wait()
        return chat_service_pb2.ListAgentsResponse()

    server.on(f"{CHAT}/ListAgents", slow)
    assert await suggested(responsa, "responsa ask --agent t") == []
    assert patience
    assert all(one is not None and one <= 0.5 for one in patience)
    assert await suggested(responsa, "responsa ask --agent t", key="") == []
    await server.stop()
    assert await suggested(responsa, "responsa ask --agent t") == []
