"""The commands `responsa agents list | show | reload`. `check` and `graph` join them where the server is installed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Final

import typer

from responsa.admin.v1.admin_service_pb2 import AgentProblem, AgentReload
from responsa.chat.v1 import agent_pb2, tool_pb2
from responsa_client import Responsa
from responsa_server.cli.output import EXIT_USAGE, one_line
from responsa_server.cli.parameters import describe, parameters
from responsa_server.cli.resources import CommandGroup
from responsa_server.domain.formatting import counted
from responsa_server.domain.problems import FileProblem

register: Final = CommandGroup("Show and reload agents, and check their files.")


def _line(agent: agent_pb2.Agent) -> str:
    default = " (default)" if agent.is_default else ""
    about = one_line(agent.description or agent.display_name, 100)
    unlisted = "" if agent.listed else " (not listed)"
    return f"{_id(agent):<16} {about}{default}{unlisted}{_note_published(agent)}"


@register.show("list", "Print one Agent per line, as proto-JSON.", _line)
def list_agents(client: Responsa) -> Iterable[agent_pb2.Agent]:
    """List the server's agents."""
    return client.agents()


def _note_published(agent: agent_pb2.Agent) -> str:
    """What `agents list` adds for a version that outranks the agent's files."""
    if agent.file_version in ("", agent.version):
        return ""
    number, files = (name.rpartition("/")[2] for name in (agent.version, agent.file_version))
    return f" (published version {number}; its files are at version {files})"


def _page(agent: agent_pb2.Agent) -> str:
    lines = [f"{_id(agent)}: {agent.display_name}{' (default)' if agent.is_default else ''}"]
    lines += [agent.description] if agent.description else []
    collections = [collection.removeprefix("collections/") for collection in agent.collections]
    lines += [
        f"version    {agent.version.rpartition('/')[2]}{_note_published(agent)}",
        f"models     {', '.join(agent.models) or 'none: it shows passages'}",
        f"documents  {', '.join(collections) or 'all that you may read'}",
        f"history    {counted(agent.history_messages, 'message')}",
    ]
    if agent.missing_tools:
        lines.append(f"without    {', '.join(agent.missing_tools)}: this server has no such tool")
    asked = [line for parameter in parameters(agent) for line in describe(parameter)]
    lines += ["parameters", *asked] if asked else []
    lines += ["try", *(f"  {question}" for question in agent.examples)] if agent.examples else []
    return "\n".join(lines)


@register.show("show", "Print the Agent, as proto-JSON.", _page)
def show_agent(
    client: Responsa, agent: Annotated[str, typer.Argument(help="The agent's id.")]
) -> agent_pb2.Agent:
    """Show one agent: its version, models, documents, parameters and sample questions."""
    return client.agent(agent)


def _outcome(outcome: AgentReload | tool_pb2.ToolProblem) -> str:
    if isinstance(outcome, tool_pb2.ToolProblem):
        return f"tools/{_problem(outcome)}"
    identity, number = outcome.agent.removeprefix("agents/"), outcome.version.rpartition("/")[2]
    if not outcome.problems:
        return f"{identity:<16} version {number}, {'new' if outcome.changed else 'unchanged'}"
    state = f"still version {number}" if number else "not in service"
    problems = (f"  {identity}/{_problem(problem)}" for problem in outcome.problems)
    return "\n".join((f"{identity:<16} {state}, its files are broken:", *problems))


def _problem(problem: AgentProblem | tool_pb2.ToolProblem) -> str:
    return str(FileProblem(problem.file, problem.line, problem.key, problem.message, problem.suggestion))


@register.show("reload", "Print one AgentReload or ToolProblem per line, as proto-JSON.", _outcome)
def reload_agents(client: Responsa) -> Iterator[AgentReload | tool_pb2.ToolProblem]:
    """Have the server read the files of all tools and agents again. This command is for owners of the installation.

    An agent or a tool with a mistake in its files keeps its previous version; a tool that lacks something, for example
    a secret, is not available. Exit codes: 0 all are up to date, 2 at least one has problems.
    """
    reloaded = client.reload()
    yield from reloaded.agents
    yield from reloaded.tool_problems
    if reloaded.tool_problems or any(outcome.problems for outcome in reloaded.agents):
        raise typer.Exit(EXIT_USAGE)


def _id(agent: agent_pb2.Agent) -> str:
    return agent.name.removeprefix("agents/")
