"""The command `responsa usage`, and the lines in which other commands show a usage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated

import typer

from responsa.auth.v1 import user_usage_pb2
from responsa_server.cli.output import as_json, print_json, print_text, reporting
from responsa_server.cli.rendering import dollars
from responsa_server.cli.session import open_client
from responsa_server.domain.formatting import counted


def register(app: typer.Typer, name: str) -> None:
    """Add the command."""
    app.command(name)(usage)


def usage(
    json: Annotated[bool, typer.Option("--json", help="Print the UserUsage, as proto-JSON.")] = False,
) -> None:
    """Show what your questions have used today and this month (UTC), what you have stored, and your limits."""
    with reporting(json=json), open_client() as client:
        found = client.usage()
        if json:
            print_json(as_json(found))
        else:
            for line in usage_lines(found):
                print_text(line)


def usage_lines(usage: user_usage_pb2.UserUsage) -> Iterator[str]:
    """One line for the day, one for the month, and one for what is stored."""
    for name, period in (("today", usage.day), ("month", usage.month)):
        reset = period.reset_time.ToDatetime()
        questions = counted(period.message_count, "question")
        tokens = _used(period.tokens, lambda value: f"{value:,}", "tokens")
        money = _used(period.cost_usd_micros, lambda value: dollars(value).removesuffix(" USD"), "USD")
        yield f"{name}  {questions}; {tokens}; {money}; ends {reset:%Y-%m-%d %H:%M} UTC"
    stored = usage.storage
    limit = f" of {stored.limit_bytes:,}" if stored.HasField("limit_bytes") else ""
    conversations = _numbered(stored.conversation_count, stored.conversation_limit, "conversation")
    collections = _numbered(stored.collection_count, stored.collection_limit, "collection")
    yield f"stored {stored.stored_bytes:,}{limit} bytes; {counted(stored.document_count, 'document')}; {collections}; {conversations}"


def _numbered(count: int, limit: int, noun: str) -> str:
    """A number with its noun. limit: 0 for no limit."""
    return f"{count:,} of {counted(limit, noun)}" if limit else counted(count, noun)


def _used(usage: user_usage_pb2.QuotaUsage, shown: Callable[[int], str], unit: str) -> str:
    limit = f" of {shown(usage.limit)}" if usage.HasField("limit") else ""
    reserved = f" ({shown(usage.reserved)} more reserved)" if usage.reserved else ""
    return f"{shown(usage.used)}{limit} {unit}{reserved}"
