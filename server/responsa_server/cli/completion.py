"""Suggestions for the word that a user is typing, when the shell asks for them.

The server must suggest quickly. Otherwise there is no suggestion, and no message either, because the shell would show the
message in the middle of the user's line.

The shells' scripts evaluate parts of the output, so nothing that another user may have written passes unchecked: names
must have the form of a name, and descriptions keep only letters, digits, spaces and a few signs.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

import typer

from responsa_client import Responsa
from responsa_client.errors import ResponsaError
from responsa_server.cli.labels import escaped
from responsa_server.cli.output import CommandFailed, valid_text
from responsa_server.cli.session import open_client

_SECONDS = 0.5
"""The time within which the server must answer."""
_MOST = 50
"""The maximum number of suggestions."""
_WIDTH = 60
_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_CONVERSATION = re.compile(r"conversations/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_KEY = re.compile(r"\w[\w./-]{0,199}")
_REMOVED = re.compile(r"[^\w .,?-]+")

Suggestions = Sequence[tuple[str, str]]
"""Values with their descriptions."""


def agents(incomplete: str) -> Suggestions:
    """Suggest ids of agents."""
    return _suggested(
        incomplete,
        _ID,
        lambda client: (
            (agent.name.removeprefix("agents/"), agent.display_name) for agent in client.agents()
        ),
    )


def collections(incomplete: str) -> Suggestions:
    """Suggest ids of the collections that the user may read."""
    return _suggested(
        incomplete,
        _ID,
        lambda client: (
            (collection.name.removeprefix("collections/"), collection.display_name)
            for collection in client.collections()
        ),
    )


def documents(ctx: typer.Context, incomplete: str) -> Suggestions:
    """Suggest source keys of the command's collection. Keys with characters that a shell could evaluate are left out."""
    collection = str(ctx.params.get("collection") or "default")

    def found(client: Responsa) -> Iterator[tuple[str, str]]:
        begin = escaped(valid_text(incomplete, "The key"))
        documents = client.documents(
            valid_text(collection, "The collection"), filter_by=f'source_key = "{begin}*"' if begin else ""
        )
        return ((document.source_key, document.title) for document in documents)

    return _suggested(incomplete, _KEY, found)


def conversations(incomplete: str) -> Suggestions:
    """Suggest the user's conversations, the most recently changed first."""
    return _suggested(
        incomplete,
        _CONVERSATION,
        lambda client: ((conversation.name, conversation.title) for conversation in client.conversations()),
    )


def _suggested(
    incomplete: str, form: re.Pattern[str], found: Callable[[Responsa], Iterable[tuple[str, str]]]
) -> Suggestions:
    with contextlib.suppress(ResponsaError, CommandFailed), open_client(timeout=_SECONDS) as client:
        fitting = (
            (value, _REMOVED.sub(" ", said)[:_WIDTH].strip())
            for value, said in islice(found(client), 4 * _MOST)
            if form.fullmatch(value) and value.startswith(incomplete)
        )
        return list(islice(fitting, _MOST))
    return []
