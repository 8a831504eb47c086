"""Collections that are shared with groups: who reads them, in every place that decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from responsa_server.domain.errors import InvalidRequest, NotFound
from responsa_server.domain.knowledge import Chunking, CollectionFields, CollectionReader
from responsa_server.domain.people import Principal, Role
from responsa_server.stores.postgres.groups import PostgresGroups
from tests.contract.library_harness import Harness
from tests.contract.test_access import ELBE, admin_of, put, readable, share
from tests.raising import raises


@pytest.fixture
def groups(harness: Harness) -> PostgresGroups:
    return PostgresGroups(harness.database, uuid7)


async def make(groups: PostgresGroups, caller: Principal, *members: Principal) -> UUID:
    """A group with these members."""
    made = await groups.create(caller, {"display_name": "Sales"})
    if members:
        await groups.add(caller, made.id, [member.user_id for member in members])
    return made.id


async def share_with_group(
    harness: Harness, groups: PostgresGroups, *members: Principal
) -> tuple[UUID, UUID]:
    """A document of Ann's, in a collection that she shares with a group. Returns the document and the group."""
    group = await make(groups, harness.ann, *members)
    await harness.library.create_collection(harness.ann, "rivers", CollectionFields("Rivers"), Chunking())
    document = await put(harness, harness.ann, ELBE)
    await share(harness, harness.ann, CollectionReader(group_id=group))
    return document, group


async def test_the_members_of_a_group_read_and_nobody_else(harness: Harness, groups: PostgresGroups) -> None:
    document, group = await share_with_group(harness, groups)
    admin = admin_of(harness)
    outsiders = (harness.bob, harness.eve, admin, admin_of(harness, Role.SERVICE))
    for outsider in outsiders:
        assert await readable(harness, outsider) == set()
    shown = (await harness.library.collections.get(harness.ann, "rivers")).readers
    assert [(reader.group_id, reader.display_name) for reader in shown] == [(group, "Sales")]
    await groups.add(harness.ann, group, [harness.bob.user_id])
    assert (
        await readable(harness, harness.bob) == await readable(harness, harness.bob, "rivers") == {document}
    )
    for outsider in outsiders[1:]:
        assert await readable(harness, outsider) == set()
    # A widget reads what is shared with its user by name alone.
    assert await readable(harness, replace(harness.bob, widget=True)) == set()
    await groups.remove(harness.ann, group, [harness.bob.user_id])
    assert await readable(harness, harness.bob) == set()
    await raises(NotFound, readable(harness, harness.bob, "rivers"))
    # The membership of another group is none of this one.
    await make(groups, harness.ann, harness.bob)
    assert await readable(harness, harness.bob) == set()
    await groups.add(harness.ann, group, [harness.bob.user_id])
    await groups.delete(harness.ann, group, "")
    assert await readable(harness, harness.bob) == set()
    assert (await harness.library.collections.get(harness.ann, "rivers")).readers == ()


async def test_groups_and_members_are_of_the_tenant(harness: Harness, groups: PostgresGroups) -> None:
    foreign = await make(groups, harness.eve, harness.eve)
    own = await make(groups, harness.ann)
    for unknown in (harness.eve.user_id, uuid7()):
        caught = await raises(InvalidRequest, groups.add(harness.ann, own, [harness.bob.user_id, unknown]))
        assert caught.violations[0].field == "users[1]"
    assert (await groups.get(harness.ann, own)).member_count == 0
    await harness.library.create_collection(harness.ann, "rivers", CollectionFields("Rivers"), Chunking())
    for unknown in (foreign, uuid7()):
        caught = await raises(
            InvalidRequest, share(harness, harness.ann, CollectionReader(group_id=unknown)), "not a group"
        )
        assert caught.violations[0].field == "collection.readers[0].group"
        await raises(NotFound, groups.add(harness.ann, unknown, [harness.bob.user_id]))
        await raises(NotFound, groups.remove(harness.ann, unknown, [harness.bob.user_id]))


async def test_a_membership_by_a_provider_ends_with_its_time(
    harness: Harness, groups: PostgresGroups
) -> None:
    document, group = await share_with_group(harness, groups, harness.bob)
    assert await readable(harness, harness.bob) == {document}
    harness.ask(
        "UPDATE responsa.group_member SET issuer = 'https://i', value = 'v', expire_time = now() + interval '1 hour'"
    )
    assert await readable(harness, harness.bob) == {document}
    # An administrator does not end it.
    assert (await groups.remove(harness.ann, group, [harness.bob.user_id])).member_count == 1
    assert await readable(harness, harness.bob) == {document}
    harness.ask("UPDATE responsa.group_member SET expire_time = now()")
    assert await readable(harness, harness.bob) == set()
    assert (await groups.get(harness.ann, group)).member_count == 0
    async with harness.database.reading(harness.bob) as connection:
        cursor = await connection.execute("SELECT responsa.unreadable_documents(%s)", ([document],))
        assert await cursor.fetchone() == ([document],)


async def test_the_audit_log_names_who_became_and_ceased_to_be_a_member(
    harness: Harness, groups: PostgresGroups
) -> None:
    def changes() -> Sequence[tuple[list[str], list[str]]]:
        return harness.ask(
            "SELECT added_readers, removed_readers FROM responsa.audit_event WHERE resource_name = %s ORDER BY id",
            f"groups/{group}",
        )

    ann, bob = f"users/{harness.ann.user_id}", f"users/{harness.bob.user_id}"
    group = await make(groups, harness.ann, harness.bob)
    await groups.add(harness.ann, group, [harness.ann.user_id, harness.bob.user_id])
    await groups.remove(harness.ann, group, [harness.bob.user_id])
    await groups.remove(harness.ann, group, [harness.bob.user_id])  # changes nothing
    assert changes() == [([], []), ([bob], []), ([ann], []), ([], [bob])]


async def test_a_deleted_document_stays_with_the_group_that_could_read_it(
    harness: Harness, groups: PostgresGroups
) -> None:
    document, group = await share_with_group(harness, groups, harness.bob)
    await harness.library.delete_collection(harness.ann, "rivers", force=True)

    async def withheld(caller: Principal) -> bool:
        async with harness.database.reading(caller) as connection:
            cursor = await connection.execute("SELECT responsa.unreadable_documents(%s)", ([document],))
            row = await cursor.fetchone()
        return row == ([document],)

    assert not await withheld(harness.bob)
    assert await withheld(replace(harness.bob, widget=True))
    await groups.remove(harness.ann, group, [harness.bob.user_id])
    assert await withheld(harness.bob)
