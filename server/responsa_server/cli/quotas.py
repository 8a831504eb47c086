"""The commands `responsa admin quotas show | set`."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Annotated, Final

import typer

from responsa.admin.v1 import user_quota_pb2
from responsa_server.cli.output import (
    EXIT_USAGE,
    CommandFailed,
    as_json,
    print_json,
    print_text,
    reporting,
)
from responsa_server.cli.rendering import dollars
from responsa_server.cli.session import open_client
from responsa_server.cli.usage import usage_lines
from responsa_server.cli.users import User, found_name

_UNLIMITED: Final = "unlimited"
_ROLE: Final = "role"
_KEYWORDS: Final = "`unlimited` lifts the limit; `role` gives the user the limit of the role again."
AsJson = Annotated[bool, typer.Option("--json", help="Print the UserQuota, as proto-JSON.")]


def register(app: typer.Typer, name: str) -> None:
    """Add the group."""
    group = typer.Typer(
        no_args_is_help=True,
        help="Show and change the quotas of single users. These commands need the role ADMIN. The settings `quotas` contain the quotas of the roles.",
        rich_markup_mode=None,
    )
    group.command("show")(show_quota)
    group.command("set")(set_quota)
    app.add_typer(group, name=name)


def show_quota(user: User, json: AsJson = False) -> None:
    """Show what a user has used, the limits that apply, and which limits were set for this user."""
    with reporting(json=json), open_client() as client:
        _print(client.user_quota(found_name(client, user)), json=json)


def set_quota(
    user: User,
    tokens_per_day: Annotated[
        str, typer.Option(help=f"The most tokens of language models in a day (UTC). {_KEYWORDS}")
    ] = "",
    tokens_per_month: Annotated[
        str, typer.Option(help=f"The most tokens of language models in a month (UTC). {_KEYWORDS}")
    ] = "",
    cost_per_day: Annotated[
        str, typer.Option(help=f"The most money in a day (UTC), in US dollars, e.g. 0.50. {_KEYWORDS}")
    ] = "",
    cost_per_month: Annotated[
        str, typer.Option(help=f"The most money in a month (UTC), in US dollars, e.g. 10. {_KEYWORDS}")
    ] = "",
    etag: Annotated[
        str,
        typer.Option(
            help="The etag from `show --json`. If the limits have changed since then, the command changes nothing."
        ),
    ] = "",
    json: AsJson = False,
) -> None:
    """Change the given limits of a user. They apply from the user's next question on."""
    with reporting(json=json):
        given = {
            "tokens_per_day": (tokens_per_day, 1),
            "tokens_per_month": (tokens_per_month, 1),
            "cost_usd_micros_per_day": (cost_per_day, 1_000_000),
            "cost_usd_micros_per_month": (cost_per_month, 1_000_000),
        }
        limits = {
            name: None if text == _UNLIMITED else _whole(text, unit)
            for name, (text, unit) in given.items()
            if text not in ("", _ROLE)
        }
        dropped = [name for name, (text, _) in given.items() if text == _ROLE]
        if not limits and not dropped:
            raise CommandFailed(
                "There is nothing to change.",
                "Give --tokens-per-day, --tokens-per-month, --cost-per-day or --cost-per-month.",
                EXIT_USAGE,
            )
        with open_client() as client:
            changed = client.update_user_quota(found_name(client, user), limits, dropped=dropped, etag=etag)
            _print(changed, json=json)


def _whole(text: str, unit: int) -> int:
    """A limit in tokens or in millionths of a dollar. unit: how many of these one of the given number is. Raises CommandFailed."""
    try:
        found = Decimal(text) * unit
        if found.is_finite() and 0 <= found < 2**63 and found == int(found):
            return int(found)
    except InvalidOperation:
        pass
    what = (
        "an amount of money in US dollars, such as 0.50" if unit > 1 else "a number of tokens, such as 100000"
    )
    raise CommandFailed(f"“{text}” is not a limit.", f"Give {what}, or {_UNLIMITED}, or {_ROLE}.", EXIT_USAGE)


def _print(quota: user_quota_pb2.UserQuota, *, json: bool) -> None:
    if json:
        print_json(as_json(quota))
        return
    for line in usage_lines(quota.usage):
        print_text(line)
    limits: dict[str, user_quota_pb2.QuotaLimit] = {one.name: limit for one, limit in quota.ListFields()}
    own = [
        f"{label} {_shown(limits[name], money=name.startswith('cost'))}"
        for name, label in _LABELS.items()
        if name in limits
    ]
    print_text(f"set for this user: {', '.join(own) or 'nothing (the limits of the role apply)'}")


_LABELS: Final = {
    "tokens_per_day": "tokens a day",
    "tokens_per_month": "tokens a month",
    "cost_usd_micros_per_day": "cost a day",
    "cost_usd_micros_per_month": "cost a month",
}


def _shown(limit: user_quota_pb2.QuotaLimit, *, money: bool) -> str:
    if limit.unlimited:
        return _UNLIMITED
    return dollars(limit.at_most) if money else f"{limit.at_most:,}"
