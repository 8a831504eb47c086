"""The group `responsa admin`: users, limits, quotas, keys, sessions, invitations, service grants, tenants and the audit log of a running server, and the commands that work on the server's machine without a server."""

from __future__ import annotations

import typer

from responsa_server.cli import (
    audit,
    grants,
    invitations,
    keys,
    limits,
    quotas,
    tenant_sessions,
    tenants,
    users,
)


def register(app: typer.Typer, name: str) -> None:
    """Add the group."""
    from responsa_server.cli.local import admin as local

    group = typer.Typer(
        no_args_is_help=True,
        help="Administer users, limits, quotas, keys, sessions, invitations, service grants and tenants, and read the audit log. Most commands call a server and need the role ADMIN; "
        "`tenants` needs an owner of the installation. create-tenant, create-user and create-key work on the server's machine, without a server. Every action is audited.",
        rich_markup_mode=None,
    )
    users.register(group, "users")
    quotas.register(group, "quotas")
    limits.register(group, "limits")
    keys.register(group, "keys")
    tenant_sessions.register(group, "sessions")
    invitations.register(group, "invitations")
    grants.register(group, "grants")
    tenants.register(group, "tenants")
    audit.register(group, "audit")
    local.register(group, name)
    app.add_typer(group, name=name)
