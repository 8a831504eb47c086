"""The command `responsa call`, which calls any method of the contract. What it knows of the methods, it reads from the contract."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, cast

import typer
from google.longrunning import operations_pb2
from google.protobuf import descriptor_pb2, message_factory
from google.protobuf.descriptor import Descriptor, MethodDescriptor
from google.protobuf.message import Message
from typer.core import TyperCommand

from responsa_client import Responsa
from responsa_client.errors import error_of_status
from responsa_server.cli.contract import (
    OPERATION,
    comment,
    http_verb,
    items_field,
    method_named,
    methods,
    nearest,
    options_of,
    path_of,
    required,
    services,
    value_form,
)
from responsa_server.cli.login import ask_secret
from responsa_server.cli.operations import state_line
from responsa_server.cli.output import (
    EXIT_USAGE,
    CommandFailed,
    print_error,
    print_json,
    print_text,
    reporting,
)
from responsa_server.cli.request_options import parse_options, request_of
from responsa_server.cli.session import open_any_client
from responsa_server.cli.tables import bytes_of, csv_of, facts, leaves, table, unpack

OWN_OPTIONS: Final = {
    "--json": "The request as a JSON object, as @FILE, or as - for standard input. Other options override its fields.",
    "--output": (
        "How to print the response: text (the default), json for one JSON object a line, or csv "
        "for a list or a report of usage, as a CSV table."
    ),
    "--only": "Print only this field of the response, such as code or api-key.name; of bytes, the bytes themselves.",
    "--all": "Print all pages of a list, not only the first.",
    "--wait": "If the method begins an operation, wait until it finishes and print its result.",
    "--yes": "Delete without asking.",
    "--help": "Show the method and its fields.",
}
"""The options of the command itself. No request has fields with these names."""
_STATUS: Final = "/responsa.admin.v1.AdminService/GetSystemStatus"
_SWITCHES: Final = ("--all", "--wait", "--yes", "--help")
_OUTPUTS: Final = ("text", "json", "csv")


@dataclass(slots=True)
class Arguments:
    """The arguments after the method. own: the options of the command itself, by name. fields: the arguments about
    fields of the request."""

    own: dict[str, str] = field(default_factory=dict[str, str])
    fields: list[str] = field(default_factory=list[str])

    @classmethod
    def of(cls, words: Sequence[str]) -> Arguments:
        """Parse the words. Raises CommandFailed if an option of the command has no value, or an unknown one."""
        arguments = cls()
        rest = list(words)
        while rest:
            name, equals, value = rest.pop(0).partition("=")
            name = {"-h": "--help", "-o": "--output"}.get(name, name)
            if name not in OWN_OPTIONS:
                arguments.fields.append(f"{name}{equals}{value}")
                # The next word may be the value, even if it looks like one of the options.
                if not equals and rest and not rest[0].startswith("--"):
                    arguments.fields.append(rest.pop(0))
            elif name in _SWITCHES:
                arguments.own[name] = "true"
            elif equals or rest:
                arguments.own[name] = value if equals else rest.pop(0)
            else:
                raise CommandFailed(f"{name} has no value.", OWN_OPTIONS[name], EXIT_USAGE)
        if arguments.output not in _OUTPUTS:
            raise CommandFailed(
                f"--output cannot be {arguments.output!r}.", "It takes text, json or csv.", EXIT_USAGE
            )
        return arguments

    @property
    def output(self) -> str:
        return self.own.get("--output", "text")


class _Command(TyperCommand):
    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        return self.params[0].shell_complete(ctx, incomplete)


def register(app: typer.Typer, name: str) -> None:
    """Add the command."""
    settings = {"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False}
    app.command(name, cls=_Command, context_settings=settings)(call)


def _suggest(ctx: typer.Context, incomplete: str) -> list[str]:
    """Suggest methods; after a method, its options, or the values of the option that was typed last."""
    if not (method := str(ctx.params.get("method") or "")):
        return [name for name, _ in methods() if name.startswith(incomplete)]
    try:
        options = options_of(method_named(method).input_type)
    except CommandFailed:
        return []
    last = ctx.args[-1] if ctx.args else ""
    if not incomplete.startswith("-") and last in options:
        values = value_form(options[last][1]).strip("[]").split("|")
        return [value for value in values if len(values) > 1 and value.startswith(incomplete)]
    return [name for name in (*options, *OWN_OPTIONS) if name.startswith(incomplete)]


def call(
    context: typer.Context,
    method: Annotated[str, typer.Argument(autocompletion=_suggest)] = "",
) -> None:
    """Call any method of the API. `responsa call METHOD --help` shows what a method does, and its fields.

    Give each field of the request as an option, such as --display-name Ada or --user.role admin. For a field of a
    message, the last part of its name is enough if no other field ends in the same way. Repeat the option of a list; give entries of
    a map as KEY=VALUE. A value @FILE stands for the content of a file, and - for a line of standard input, which a
    terminal does not show; so use - for passwords. @@ at the start of a value stands for @.

    Exit codes: 0 success, 1 failure, 2 bad usage (including arguments that the server refuses), 3 cannot connect or sign in.

    Args:
        method: The method, such as AdminService.CreateUser. Without it, the command lists all methods.
    """
    try:
        arguments = Arguments.of(context.args)
    except CommandFailed as failure:
        with reporting():
            raise failure
    with reporting(json=arguments.output == "json"):
        if not method or method in services():
            print_text(_overview(method))
            return
        chosen = method_named(method)
        if "--help" in arguments.own:
            print_text(_help(method, chosen))
            return
        if chosen.client_streaming:
            raise CommandFailed(f"{method} takes a stream of requests.", "Use `responsa ingest`.", EXIT_USAGE)
        request = request_of(
            chosen.input_type,
            _json(arguments.own.get("--json", "")),
            parse_options(arguments.fields, chosen.input_type),
            _read,
        )
        if http_verb(chosen) == "delete" and "--yes" not in arguments.own and sys.stdin.isatty():
            _confirm(method)
        with open_any_client() as client:
            _run(client, chosen, request, arguments)


def _confirm(method: str) -> None:
    try:
        agreed = typer.confirm(f"{method} deletes for good. Continue?", err=True)
    except typer.Abort:  # Ctrl-C or Ctrl-D
        agreed = False
    if not agreed:
        raise CommandFailed("Nothing was deleted.", "Enter y, or add --yes.")


def _json(argument: str) -> str:
    if argument == "-":
        return sys.stdin.read()
    text = _read("--json", argument)
    return text if isinstance(text, str) else text.decode(errors="replace")


def _read(option: str, value: str) -> str | bytes:
    if value == "-":
        what = option.removeprefix("--").rpartition(".")[2].replace("-", " ")
        return ask_secret(what.capitalize(), what, optional=True)
    if value.startswith("@@") or not value.startswith("@"):
        return value.removeprefix("@") if value.startswith("@@") else value
    try:
        return Path(value[1:]).read_bytes()
    except OSError as error:
        raise CommandFailed(
            f"{option}: {value[1:]} cannot be read ({error.strerror}).",
            "Write @@ for a value that begins with @.",
            EXIT_USAGE,
        ) from None


def _run(client: Responsa, method: MethodDescriptor, request: Message, arguments: Arguments) -> None:
    """Make the call, and print what it returns. Raises ResponsaError, also of an operation that failed."""
    response = message_factory.GetMessageClass(method.output_type)
    path = path_of(method)
    only = arguments.own.get("--only", "").replace("-", "_")
    items = items_field(method.output_type)
    if arguments.output == "csv" and (items is None or only):
        raise CommandFailed(
            "Only whole lists and reports can be printed as CSV.", "Use --output json.", EXIT_USAGE
        )
    _check_only(only, method.output_type if items is None else cast("Descriptor", items.message_type))
    if items is not None:
        _list(client, method, request, items.name, arguments, only)
    elif method.server_streaming:
        for number, message in enumerate(client.call_stream(path, request, response)):
            if number and arguments.output == "text" and not only:
                print_text("")
            _print(message, only, arguments)
    else:
        # Whoever asks for the status wants to know now what is away.
        again = repeatable(method, request) and path != _STATUS
        reply = client.call(path, request, response, repeatable=again)
        begun = _operations(reply) if "--wait" in arguments.own else ()
        for operation in begun:
            _print(_await_end(client, operation), only, arguments)
        if not begun:
            _print(reply, only, arguments)


def repeatable(method: MethodDescriptor, request: Message) -> bool:
    """Whether a call whose response was lost may be made again, as the methods of the Python client are
    (tools/clients/plan.py): it reads, the contract says so, or its request_id makes it so. A second response has no
    secret, and a second change would find another etag.
    """
    level = cast("Any", method.GetOptions()).idempotency_level
    if http_verb(method) == "get" or level == descriptor_pb2.MethodOptions.NO_SIDE_EFFECTS:
        return True
    if "request_id" in method.input_type.fields_by_name:
        return "secret" not in method.output_type.fields_by_name
    if http_verb(method) == "patch" or level == descriptor_pb2.MethodOptions.IDEMPOTENT:
        return not any(name.rpartition(".")[2] == "etag" for name, _ in leaves(request))
    return False


def _list(
    client: Responsa, method: MethodDescriptor, request: Message, items: str, arguments: Arguments, only: str
) -> None:
    """Print the first page of a list, or all pages. items: the field of a page that holds its items."""
    response = message_factory.GetMessageClass(method.output_type)
    rows: list[Message] = []
    while True:
        page = client.call(path_of(method), request, response, repeatable=True)
        rows += (batch := cast("Sequence[Message]", getattr(page, items)))
        if arguments.output == "json" or only:
            for row in batch:
                _print(row, only, arguments)
        following = str(getattr(page, "next_page_token", ""))
        if not following or "--all" not in arguments.own:
            break
        setattr(request, "page_token", following)  # noqa: B010  the type has no such attribute
    if arguments.output == "csv":
        sys.stdout.write(
            csv_of(cast("Descriptor", response.DESCRIPTOR.fields_by_name[items].message_type), rows)
        )
    elif arguments.output == "text" and not only and rows:
        print_text(table(rows))
    if not rows:
        print_error("The list is empty.")
    if following:
        print_error("There are more. --all prints all of them.")


def _check_only(only: str, message: Descriptor) -> None:
    """Raise CommandFailed before the call if the response cannot have the field."""
    first = only.partition(".")[0]
    # The result of an operation is a message that the contract does not name for the method.
    if only and message.full_name != OPERATION and first not in message.fields_by_name:
        near = nearest(first, message.fields_by_name)
        raise CommandFailed(
            f"{message.name} has no field {first!r}.",
            f"Did you mean {near}?" if near else f"It has {', '.join(message.fields_by_name)}.",
            EXIT_USAGE,
        )


def _operations(reply: Message) -> Sequence[operations_pb2.Operation]:
    if isinstance(reply, operations_pb2.Operation):
        return [reply]
    values = [
        cast("Sequence[operations_pb2.Operation]", value)
        for about, value in reply.ListFields()
        if about.is_repeated and about.message_type and about.message_type.full_name == OPERATION
    ]
    return [operation for value in values for operation in value]


def _await_end(client: Responsa, operation: operations_pb2.Operation) -> operations_pb2.Operation:
    """Wait for the end of an operation. Raises ResponsaError if it failed."""
    for state in client.watch_operation(operation):
        operation = state.operation
        if sys.stderr.isatty():
            print_error(state_line(operation))
    if operation.HasField("error"):
        raise error_of_status(operation.error)
    return operation


def _print(message: Message, only: str, arguments: Arguments) -> None:
    shown = message
    if (
        "--wait" in arguments.own
        and isinstance(message, operations_pb2.Operation)
        and message.HasField("response")
    ):
        shown = unpack(message.response)
    if only and (data := bytes_of(shown, only)) is not None:
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
    elif only:
        print_text(dict(leaves(shown)).get(only, ""))
    elif arguments.output == "json":
        print_json(message)
    elif text := facts(shown):
        print_text(text)


def _overview(service: str) -> str:
    """The methods of a service, or of all services, with the first sentences of their comments."""
    lines: list[str] = []
    for name, method in methods():
        if service in ("", name.partition(".")[0]):
            sentence = comment(method.full_name).partition(". ")[0]
            summary = sentence.removeprefix(f"{method.name} ").removesuffix(".")
            lines.append(f"{name:<42} {summary[:1].upper()}{summary[1:]}".rstrip())
    return "\n".join(lines)


def _help(name: str, method: MethodDescriptor) -> str:
    width = min(shutil.get_terminal_size().columns, 120)
    lines = [
        f"Usage: responsa call {name} [OPTION]…",
        "",
        *_wrap(comment(method.full_name), width, ""),
        "",
    ]
    for number, (option, (_, about)) in enumerate(options_of(method.input_type).items()):
        lines += ["" if number else "Fields of the request:", f"  {option} {value_form(about)}"]
        words = ["Required." if required(about) else "", comment(about.full_name)]
        lines += _wrap(
            " ".join([*words, "Repeatable." if about.is_repeated else ""]).strip(), width, "      "
        )
    lines += ["", "Options:"]
    for option, text in OWN_OPTIONS.items():
        lines += [f"  {option}", *_wrap(text, width, "      ")]
    fields = ", ".join(field.name.replace("_", "-") for field in method.output_type.fields)
    stream = "a stream of " if method.server_streaming else ""
    returned = f"Returns {stream}{method.output_type.name}{f': {fields}' if fields else ''}."
    return "\n".join([*lines, "", *_wrap(returned, width, "")])


def _wrap(text: str, width: int, indent: str) -> Sequence[str]:
    return [
        textwrap.fill(paragraph, width, initial_indent=indent, subsequent_indent=indent)
        for paragraph in text.split("\n\n")
        if paragraph
    ]
