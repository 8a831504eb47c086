"""A campaign of races for the last administrator of a tenant. tests/contract/test_users.py has a short one."""

from __future__ import annotations

import os

import pytest
from uuid_utils.compat import uuid7

from responsa_server.identity.credentials import CredentialCache
from responsa_server.identity.users import UserAdministration
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.users import PostgresUsers
from tests.contract.test_identity import identity_of
from tests.contract.test_users import struggle


@pytest.mark.soak
@pytest.mark.timeout(3600)
async def test_one_administrator_remains_in_a_thousand_races(database: Database) -> None:
    cache = CredentialCache()
    users = UserAdministration(PostgresUsers(database), uuid7, cache)
    rounds = int(os.environ.get("RESPONSA_SOAK_COUNT") or 1000)
    await struggle(identity_of(database, cache), users, rounds)
