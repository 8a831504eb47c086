"""The commands `responsa admin tenants list | show | create | invite | suspend | resume | erase`."""

from __future__ import annotations

import time
from typing import Annotated, Final

import typer

from responsa.admin.v1 import tenant_pb2
from responsa_client import Responsa
from responsa_server.cli.output import as_json, one_line, print_json, print_text, reporting, valid_text
from responsa_server.cli.session import open_client

Tenant = Annotated[str, typer.Argument(help="The tenant, as tenants/{id} or as the id alone.")]
Email = Annotated[
    str, typer.Option(help="The only e-mail address that may register with the code. Default: any.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the Tenant, as proto-JSON.")]
_PAUSE_SECONDS: Final = 0.5


def register(app: typer.Typer, name: str) -> None:
    """Add the group."""
    group = typer.Typer(
        no_args_is_help=True,
        help="Show, create, suspend, resume and erase the tenants of the installation. These commands need an owner of the installation.",
        rich_markup_mode=None,
    )
    group.command("list")(list_tenants)
    group.command("show")(show_tenant)
    group.command("create")(create_tenant)
    group.command("invite")(invite_administrator)
    group.command("suspend")(suspend_tenant)
    group.command("resume")(resume_tenant)
    group.command("erase")(erase_tenant)
    app.add_typer(group, name=name)


def list_tenants(
    matching: Annotated[
        str, typer.Option("--filter", help="A filter in AIP-160 syntax, e.g. 'state = SUSPENDED'.")
    ] = "",
    json: Annotated[bool, typer.Option("--json", help="Print one Tenant per line, as proto-JSON.")] = False,
) -> None:
    """List all tenants, oldest first, erased ones included."""
    with reporting(json=json), open_client() as client:
        for tenant in client.tenants(filter_by=matching):
            _print(tenant, json=json)


def show_tenant(tenant: Tenant, json: AsJson = False) -> None:
    """Show one tenant, and the receipt if it was erased."""
    with reporting(json=json), open_client() as client:
        _show(client.tenant(valid_text(tenant, "The tenant")), json=json)


def create_tenant(
    tenant_id: Annotated[
        str, typer.Argument(help="The id, 1 to 63 characters of a-z, 0-9 and hyphen, which stays for ever.")
    ],
    display_name: Annotated[str, typer.Option(help="The tenant's display name. Default: the id.")] = "",
    email: Email = "",
    administrator: Annotated[
        str,
        typer.Option(
            help="The name of the first administrator, who gets an API key. Default: an invitation by code."
        ),
    ] = "",
    json: Annotated[
        bool, typer.Option("--json", help="Print the CreateTenantResponse, as proto-JSON.")
    ] = False,
) -> None:
    """Create a tenant. Print the code with which its first administrator registers, or the administrator's API key. The code or key is never shown again."""
    with reporting(json=json), open_client() as client:
        made = client.create_tenant(
            valid_text(tenant_id, "The id"),
            valid_text(display_name, "The name"),
            valid_text(email, "The address"),
            valid_text(administrator, "The administrator's name"),
        )
        if json:
            print_json(made)
        else:
            print_text(_line(made.tenant))
            print_text(made.invitation_code or made.api_key_secret)


def invite_administrator(
    tenant: Tenant,
    email: Email = "",
    json: Annotated[
        bool, typer.Option("--json", help="Print the InviteTenantAdministratorResponse, as proto-JSON.")
    ] = False,
) -> None:
    """Print a code with which an administrator of a tenant registers. The code is never shown again."""
    with reporting(json=json), open_client() as client:
        invited = client.invite_tenant_administrator(
            valid_text(tenant, "The tenant"), valid_text(email, "The address")
        )
        if json:
            print_json(invited)
        else:
            print_text(invited.invitation_code)


def suspend_tenant(tenant: Tenant, json: AsJson = False) -> None:
    """Refuse all calls of a tenant's users, and stop its work. Nothing is deleted."""
    with reporting(json=json), open_client() as client:
        _print(client.suspend_tenant(valid_text(tenant, "The tenant")), json=json)


def resume_tenant(tenant: Tenant, json: AsJson = False) -> None:
    """Let the users of a suspended tenant make calls again."""
    with reporting(json=json), open_client() as client:
        _print(client.resume_tenant(valid_text(tenant, "The tenant")), json=json)


def erase_tenant(
    tenant: Tenant,
    confirm: Annotated[
        str,
        typer.Option(
            help="The tenant's id, once more. Without it, nothing is erased.",
            prompt="Type the tenant's id to confirm that all its data is erased",
        ),
    ],
    wait: Annotated[
        bool, typer.Option(help="Wait until the erasure has ended, and print the receipt.")
    ] = True,
    json: AsJson = False,
) -> None:
    """Erase all that belongs to a tenant. This cannot be undone, and ending this command does not stop it."""
    with reporting(json=json), open_client() as client:
        found = client.erase_tenant(valid_text(tenant, "The tenant"), valid_text(confirm, "The id"))
        _show(_erased(client, found) if wait else found, json=json)


def _erased(client: Responsa, tenant: tenant_pb2.Tenant) -> tenant_pb2.Tenant:
    while tenant.state == tenant_pb2.TENANT_STATE_ERASING:
        time.sleep(_PAUSE_SECONDS)
        tenant = client.tenant(tenant.name)
    return tenant


def _show(tenant: tenant_pb2.Tenant, *, json: bool) -> None:
    _print(tenant, json=json)
    if not json:
        for kind, number in sorted(tenant.erased_counts.items()):
            print_text(f"  {number:>9}  {one_line(kind, 60)}")


def _print(tenant: tenant_pb2.Tenant, *, json: bool) -> None:
    if json:
        print_json(tenant)
    else:
        print_text(_line(tenant))


def _line(tenant: tenant_pb2.Tenant) -> str:
    state = tenant_pb2.TenantState.Name(tenant.state).removeprefix("TENANT_STATE_").lower()
    parts = [tenant.name.removeprefix("tenants/"), f"{state:9}", one_line(tenant.display_name, 60)]
    times = as_json(tenant)
    if tenant.home:
        parts.append("the installation's own")
    for field, word in (("eraseEndTime", "erased at"), ("suspendTime", "suspended since")):
        if field in times:
            parts.append(f"{word} {times[field]}")
            break
    return "  ".join(one for one in parts if one)
