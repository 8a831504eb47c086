"""The people of the contract tests."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import psycopg
from uuid_utils.compat import uuid7

from responsa_server.domain.people import Principal, Role
from tests.conftest import DatabaseUrls


@dataclass(frozen=True, slots=True)
class People:
    """Two users of one tenant, and one user of another tenant."""

    ann: Principal
    bob: Principal
    eve: Principal


@functools.cache
def people_in(urls: DatabaseUrls) -> People:
    """The people of a database. The first call makes them."""
    made: list[Principal] = []
    with psycopg.connect(urls.superuser) as connection:
        for tenant in ("acme", "rival"):
            connection.execute(
                "INSERT INTO responsa.tenant (id, display_name) VALUES (%s, %s)", (tenant, tenant)
            )
        for tenant in ("acme", "acme", "rival"):
            user = uuid7()
            connection.execute(
                "INSERT INTO responsa.app_user (id, tenant_id, display_name, role) VALUES (%s, %s, 'x', 'user')",
                (user, tenant),
            )
            made.append(Principal(tenant, user, Role.USER, "api_key"))
    return People(*made)


class WithPeople:
    """Has the people of its database."""

    urls: DatabaseUrls

    @property
    def ann(self) -> Principal:
        return people_in(self.urls).ann

    @property
    def bob(self) -> Principal:
        return people_in(self.urls).bob

    @property
    def eve(self) -> Principal:
        return people_in(self.urls).eve
