"""The commands `responsa tools list | show | check | trust`."""

from __future__ import annotations

from typing import Annotated

import typer
from google.protobuf import json_format

from responsa.chat.v1 import tool_pb2
from responsa_server.cli import completion
from responsa_server.cli.output import one_line, print_json, print_text, reporting
from responsa_server.cli.session import open_client
from responsa_server.domain.words import in_seconds

_EFFECTS = {
    tool_pb2.TOOL_EFFECT_NONE: "none: a call changes nothing",
    tool_pb2.TOOL_EFFECT_IDEMPOTENT: "idempotent: a repeated call has no further effect",
    tool_pb2.TOOL_EFFECT_ONCE: "once: every call has an effect",
}


def register(app: typer.Typer, name: str) -> None:
    """Add the group."""
    group = typer.Typer(
        no_args_is_help=True, help="Show tools, and check their declarations.", rich_markup_mode=None
    )
    group.command("list")(list_tools)
    group.command("show")(show_tool)
    group.command("check")(check_tools)
    group.command("trust")(trust_tools)
    app.add_typer(group, name=name)


def list_tools(
    json: Annotated[bool, typer.Option("--json", help="Print one Tool per line, as proto-JSON.")] = False,
) -> None:
    """List the tools that you may use through some agent. An owner of the installation sees all tools, with their problems."""
    with reporting(json=json), open_client() as client:
        for tool in client.tools():
            if json:
                print_json(tool)
                continue
            about = one_line(tool.description or tool.title, 100)
            print_text(f"{_id(tool):<20} {about}")
            for problem in tool.problems:
                print_text(f"  {problem_line(problem)}")


def show_tool(
    tool: Annotated[str, typer.Argument(help="The tool's id.", autocompletion=completion.tools)],
    json: Annotated[bool, typer.Option("--json", help="Print the Tool, as proto-JSON.")] = False,
) -> None:
    """Show one tool: its kind, its effect, its arguments, and the agents that use it."""
    with reporting(json=json), open_client() as client:
        found = client.tool(tool)
        if json:
            print_json(found)
        else:
            print_text(_page(found))


def check_tools(
    folder: Annotated[
        str | None,
        typer.Argument(
            metavar="[FOLDER]", help="A folder of declarations. Default: the tools of this machine."
        ),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print one problem per line, as a JSON object.")
    ] = False,
) -> None:
    """Check declarations of tools, and print each problem with its file, line, key and a suggestion. This command needs
    no server. The command also checks whether the secrets that the declarations name exist on this machine.

    Exit codes: 0 no problems, 2 problems.
    """
    # Imported late, because this module loads the tools, which the other commands do not need.
    from responsa_server.cli.local.tools import check

    check(folder, json=json)


def trust_tools(
    name: Annotated[str, typer.Argument(help="The declaration's name: its file without .toml.")],
    folder: Annotated[
        str | None,
        typer.Argument(
            metavar="[FOLDER]", help="A folder of declarations. Default: the tools of this machine."
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Accept all descriptions without asking.")] = False,
) -> None:
    """Accept the descriptions that an MCP server gives of its tools. This command asks the server of a declaration for its tools, shows what is new, and writes the descriptions
    next to the declaration. Models see these descriptions and no others.

    Exit codes: 0 accepted, or nothing is new; 1 not accepted; 2 the declaration cannot be used, or its server does not answer.
    """
    from responsa_server.cli.local.tools import trust

    trust(name, folder, yes=yes)


def problem_line(problem: tool_pb2.ToolProblem) -> str:
    """A problem as one line: file, line, key, message and suggestion."""
    place = f"{problem.file}{f':{problem.line}' if problem.line else ''}:"
    key = f" {problem.key}:" if problem.key else ""
    meant = f" Did you mean “{problem.suggestion}”?" if problem.suggestion else ""
    return f"{place}{key} {problem.message.rstrip('.')}.{meant}"


def _page(tool: tool_pb2.Tool) -> str:
    lines = [f"{_id(tool)}: {tool.title}"]
    lines += [tool.description] if tool.description else []
    agents = ", ".join(one.removeprefix("agents/") for one in tool.agents)
    lines += [
        f"kind       {tool.kind}",
        f"effect     {_EFFECTS.get(tool.effect, 'unknown')}",
        f"timeout    {in_seconds(tool.timeout.ToTimedelta().total_seconds())}",
        f"agents     {agents or 'none'}",
    ]
    schema = json_format.MessageToDict(tool.parameters_schema)
    required = schema.get("required", [])
    arguments = [
        f"  {name:<12} {one_line(str(one.get('description', one.get('type', ''))), 100)}{'' if name in required else ' (optional)'}"
        for name, one in sorted(
            schema.get("properties", {}).items(), key=lambda pair: (pair[0] not in required, pair[0])
        )
    ]
    lines += ["arguments", *arguments] if arguments else []
    lines += [f"problem    {problem_line(one)}" for one in tool.problems]
    return "\n".join(lines)


def _id(tool: tool_pb2.Tool) -> str:
    return tool.name.removeprefix("tools/")
