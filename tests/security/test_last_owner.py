"""A campaign of races for the last owner of the installation. tests/contract/test_tenants.py has a short one."""

from __future__ import annotations

import os

import pytest

from responsa_server.stores.postgres.database import Database
from tests.contract.test_identity import identity_of
from tests.contract.test_tenants import contest


@pytest.mark.soak
@pytest.mark.timeout(3600)
async def test_one_owner_remains_in_a_thousand_races(database: Database) -> None:
    rounds = int(os.environ.get("RESPONSA_SOAK_COUNT") or 1000)
    await contest(identity_of(database), database, rounds)
