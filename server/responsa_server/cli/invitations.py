"""The commands `responsa admin invitations list | revoke`."""

from __future__ import annotations

from typing import Annotated

import typer

from responsa.auth.v1 import invitation_pb2, user_pb2
from responsa_server.cli.output import as_json, one_line, print_json, print_text, reporting, valid_text
from responsa_server.cli.session import open_client
from responsa_server.cli.users import UserLabels


def register(app: typer.Typer, name: str) -> None:
    """Add the group."""
    group = typer.Typer(
        no_args_is_help=True,
        help="Show and revoke the open invitations of your tenant; `responsa admin users invite` makes them. These commands need the role ADMIN.",
        rich_markup_mode=None,
    )
    group.command("list")(list_invitations)
    group.command("revoke")(revoke_invitations)
    app.add_typer(group, name=name)


def list_invitations(
    matching: Annotated[
        str,
        typer.Option("--filter", help="A filter in AIP-160 syntax, e.g. 'email = \"ada@example.org\"'."),
    ] = "",
    json: Annotated[
        bool, typer.Option("--json", help="Print one Invitation per line, as proto-JSON.")
    ] = False,
) -> None:
    """List the invitations that are neither used nor expired, newest first."""
    with reporting(json=json), open_client() as client:
        labels = UserLabels(client)
        found = client.invitations(filter_by=matching)
        for one in labels.ahead(found, lambda invitation: (invitation.creator,), wanted=not json):
            if json:
                print_json(one)
            else:
                print_text(_line(one, labels))


def revoke_invitations(
    invitations: Annotated[
        list[str], typer.Argument(help="The invitations, each as invitations/{uuid} or as the UUID alone.")
    ],
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object with the revoked name per line.")
    ] = False,
) -> None:
    """Revoke invitations, so that nobody can register with their codes."""
    with reporting(json=json), open_client() as client:
        for given in dict.fromkeys(valid_text(one, "The invitation") for one in invitations):
            name = given if "/" in given else f"invitations/{given}"
            client.revoke_invitation(name)
            if json:
                print_json({"revoked": name})
            else:
                print_text(f"revoked {name}")


def _line(invitation: invitation_pb2.Invitation, labels: UserLabels) -> str:
    role = user_pb2.UserRole.Name(invitation.role).removeprefix("USER_ROLE_").lower()
    parts = [invitation.name.removeprefix("invitations/"), f"{role:7}"]
    parts.append(f"<{one_line(invitation.email, 254)}>" if invitation.email else "any address")
    parts.append(f"expires {as_json(invitation)['expireTime']}")
    if invitation.creator:
        parts.append(f"by {labels.of(invitation.creator)}")
    return "  ".join(parts)
