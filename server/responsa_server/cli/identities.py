"""The commands `responsa identities list | unlink`."""

from __future__ import annotations

from typing import Annotated

import typer

from responsa.auth.v1 import sign_in_pb2
from responsa_server.cli.output import as_json, one_line, print_json, print_text, reporting, valid_text
from responsa_server.cli.session import open_client


def register(app: typer.Typer, name: str) -> None:
    """Add the group."""
    group = typer.Typer(
        no_args_is_help=True,
        help="Show and unlink the identities at OpenID Connect providers with which you sign in.",
        rich_markup_mode=None,
    )
    group.command("list")(list_identities)
    group.command("unlink")(unlink_identity)
    app.add_typer(group, name=name)


def list_identities(
    json: Annotated[bool, typer.Option("--json", help="Print one Identity per line, as proto-JSON.")] = False,
) -> None:
    """List your identities, oldest first."""
    with reporting(json=json), open_client() as client:
        found = client.identities()
        for one in found:
            if json:
                print_json(one)
            else:
                print_text(_line(one))
        if not found and not json:
            print_text("You have no identities at OpenID Connect providers.")


def unlink_identity(
    identity: Annotated[str, typer.Argument(help="The identity, as identities/{uuid} or as the UUID alone.")],
) -> None:
    """Remove an identity from your account. You then no longer sign in with it. This needs `responsa login` within the last ten minutes. You cannot remove
    your last way to sign in.
    """
    with reporting(), open_client() as client:
        given = valid_text(identity, "The identity")
        name = given if "/" in given else f"identities/{given}"
        client.unlink_identity(name)
        print_text(f"{name} no longer signs in to your account")


def _line(one: sign_in_pb2.Identity) -> str:
    used = as_json(one).get("signInTime")
    provider = one.provider.removeprefix("oidcProviders/") or one.issuer
    parts = [one.name.removeprefix("identities/"), one_line(provider, 100), one_line(one.sub, 100)]
    return "  ".join([*parts, f"used {used}" if used else "not used yet"])
