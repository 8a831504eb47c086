"""The commands `responsa agents list | show | reload`. `check` and `graph` join them where the server is installed."""

from __future__ import annotations

from typing import Annotated

import typer

from responsa.admin.v1 import admin_service_pb2
from responsa.chat.v1 import agent_pb2, tool_pb2
from responsa_server.cli.output import EXIT_USAGE, one_line, print_json, print_text, reporting
from responsa_server.cli.parameters import describe, parameters
from responsa_server.cli.session import open_client
from responsa_server.domain.formatting import counted

_AsJson = Annotated[bool, typer.Option("--json", help="Print one Agent per line, as proto-JSON.")]


def register(app: typer.Typer, name: str) -> None:
    """Add the group."""
    group = typer.Typer(
        no_args_is_help=True, help="Show and reload agents, and check their files.", rich_markup_mode=None
    )
    group.command("list")(list_agents)
    group.command("show")(show_agent)
    group.command("reload")(reload_agents)
    app.add_typer(group, name=name)


def list_agents(json: _AsJson = False) -> None:
    """List the server's agents."""
    with reporting(json=json), open_client() as client:
        for agent in client.agents():
            if json:
                print_json(agent)
                continue
            default = " (default)" if agent.is_default else ""
            about = one_line(agent.description or agent.display_name, 100)
            unlisted = "" if agent.listed else " (not listed)"
            print_text(f"{_id(agent):<16} {about}{default}{unlisted}{_note_published(agent)}")


def show_agent(
    agent: Annotated[str, typer.Argument(help="The agent's id.")],
    json: Annotated[bool, typer.Option("--json", help="Print the Agent, as proto-JSON.")] = False,
) -> None:
    """Show one agent: its version, models, documents, parameters and sample questions."""
    with reporting(json=json), open_client() as client:
        details = client.agent(agent)
        if json:
            print_json(details)
        else:
            print_text(_page(details))


def reload_agents(
    json: Annotated[
        bool, typer.Option("--json", help="Print one AgentReload or ToolProblem per line, as proto-JSON.")
    ] = False,
) -> None:
    """Have the server read the files of all tools and agents again. This command is for owners of the installation.

    An agent or a tool with a mistake in its files keeps its previous version; a tool that lacks something, for example
    a secret, is not available. Exit codes: 0 all are up to date, 2 at least one has problems.
    """
    with reporting(json=json), open_client() as client:
        reloaded = client.reload()
        outcomes = reloaded.agents
        for outcome in outcomes:
            if json:
                print_json(outcome)
                continue
            print_text(_reload_line(outcome))
            for problem in outcome.problems:
                print_text(f"  {_problem(outcome, problem)}")
        for problem in reloaded.tool_problems:
            if json:
                print_json(problem)
            else:
                print_text(f"tools/{_problem_line(problem)}")
    if reloaded.tool_problems or any(outcome.problems for outcome in outcomes):
        raise typer.Exit(EXIT_USAGE)


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


def _reload_line(outcome: admin_service_pb2.AgentReload) -> str:
    identity, number = outcome.agent.removeprefix("agents/"), outcome.version.rpartition("/")[2]
    if not outcome.problems:
        return f"{identity:<16} version {number}, {'new' if outcome.changed else 'unchanged'}"
    return (
        f"{identity:<16} {f'still version {number}' if number else 'not in service'}, its files are broken:"
    )


def _problem(outcome: admin_service_pb2.AgentReload, problem: admin_service_pb2.AgentProblem) -> str:
    where = f"{outcome.agent.removeprefix('agents/')}/{problem.file}"
    where += f":{problem.line}" if problem.line else ""
    key = f" {problem.key}:" if problem.key else ""
    meant = f" Did you mean “{problem.suggestion}”?" if problem.suggestion else ""
    return f"{where}:{key} {problem.message}.{meant}"


def _problem_line(problem: tool_pb2.ToolProblem) -> str:
    """A problem as one line: file, line, key, message and suggestion."""
    place = f"{problem.file}{f':{problem.line}' if problem.line else ''}:"
    key = f" {problem.key}:" if problem.key else ""
    meant = f" Did you mean “{problem.suggestion}”?" if problem.suggestion else ""
    return f"{place}{key} {problem.message.rstrip('.')}.{meant}"


def _id(agent: agent_pb2.Agent) -> str:
    return agent.name.removeprefix("agents/")
