"""Groups of commands that ask the client for resources, and print each as a line or as JSON."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from typing import Annotated, Any, TypeVar, cast

import typer
from google.protobuf.message import Message

from responsa_server.cli.output import Json, print_json, print_text, reporting
from responsa_server.cli.session import open_client

Made = tuple[Mapping[str, Json], str]
"""What is no message: an object for programs, and its text for people."""
Item = TypeVar("Item", bound=Message | Made | str)


def text_of(pair: Made) -> str:
    """The text for people."""
    return pair[1]


class CommandGroup:
    """A module's `register`, which adds its group of commands. text: the help of the group."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._commands: dict[str, Callable[..., None]] = {}

    def __call__(self, app: typer.Typer, name: str) -> None:
        group = typer.Typer(no_args_is_help=True, help=self._text, rich_markup_mode=None)
        for word, command in self._commands.items():
            group.command(word)(command)
        app.add_typer(group, name=name)

    def add(self, name: str) -> Callable[[Callable[..., None]], None]:
        """Make a function a command of the group."""
        return functools.partial(self._commands.__setitem__, name)

    def show(
        self, name: str, json_help: str, line: Callable[[Item], str]
    ) -> Callable[[Callable[..., Item | Iterable[Item]]], None]:
        """Make a function a command of the group: see `make_command`."""
        return lambda work: self.add(name)(make_command(work, json_help, line))


def make_command(
    work: Callable[..., Item | Iterable[Item]], json_help: str, line: Callable[[Item], str]
) -> Callable[..., None]:
    """Make a command that prints what a function returns or yields, each item as soon as it is there, and reports a
    failure. If the function has the parameter `client`, it gets a client.

    Args:
        json_help: the help of the option --json, which prints the items as JSON; "" for a command without it.
        line: the text of an item for people.
    """
    signature = inspect.signature(work, eval_str=True)
    parameters = dict(signature.parameters)
    takes_client = parameters.pop("client", None) is not None
    if json_help:
        kind = Annotated[bool, typer.Option("--json", help=json_help)]
        parameters["json"] = inspect.Parameter(
            "json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=kind
        )

    def command(*, json: bool = False, **arguments: Any) -> None:
        with reporting(json=json), open_client() if takes_client else nullcontext() as client:
            result = work(**({"client": client} if takes_client else {}), **arguments)
            single = isinstance(result, (Message, tuple, str))
            for item in cast("Iterable[Item]", [result] if single else result):
                if json and not isinstance(item, str):
                    print_json(item[0] if isinstance(item, tuple) else item)
                else:
                    print_text(line(item))

    command.__doc__ = work.__doc__
    cast("Any", command).__signature__ = signature.replace(parameters=list(parameters.values()))
    return command
