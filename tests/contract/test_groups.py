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
from tests.conftest import DatabaseUrls
from tests.contract.library_harness import Harness
from tests.contract.people import People
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
    harness: Harness, people: People, groups: PostgresGroups, *members: Principal
) -> tuple[UUID, UUID]:
    """A document of Ann's, in a collection that she shares with a group. Returns the document and the group."""
    group = await make(groups, people.ann, *members)
    await harness.library.create_collection(people.ann, "rivers", CollectionFields("Rivers"), Chunking())
    document = await put(harness, people.ann, ELBE)
    await share(harness, people.ann, CollectionReader(group_id=group))
    return document, group


async def test_the_members_of_a_group_read_and_nobody_else(
    harness: Harness, people: People, groups: PostgresGroups, database_urls: DatabaseUrls
) -> None:
    document, group = await share_with_group(harness, people, groups)
    admin = admin_of(people, database_urls)
    outsiders = (people.bob, people.eve, admin, admin_of(people, database_urls, Role.SERVICE))
    for outsider in outsiders:
        assert await readable(harness, outsider) == set()
    shown = (await harness.library.collections.get(people.ann, "rivers")).readers
    assert [(reader.group_id, reader.display_name) for reader in shown] == [(group, "Sales")]
    await groups.add(people.ann, group, [people.bob.user_id])
    assert await readable(harness, people.bob) == await readable(harness, people.bob, "rivers") == {document}
    for outsider in outsiders[1:]:
        assert await readable(harness, outsider) == set()
    # A widget reads what is shared with its user by name alone.
    assert await readable(harness, replace(people.bob, widget=True)) == set()
    await groups.remove(people.ann, group, [people.bob.user_id])
    assert await readable(harness, people.bob) == set()
    await raises(NotFound, readable(harness, people.bob, "rivers"))
    # The membership of another group is none of this one.
    await make(groups, people.ann, people.bob)
    assert await readable(harness, people.bob) == set()
    await groups.add(people.ann, group, [people.bob.user_id])
    await groups.delete(people.ann, group, "")
    assert await readable(harness, people.bob) == set()
    assert (await harness.library.collections.get(people.ann, "rivers")).readers == ()


async def test_groups_and_members_are_of_the_tenant(
    harness: Harness, people: People, groups: PostgresGroups
) -> None:
    foreign = await make(groups, people.eve, people.eve)
    own = await make(groups, people.ann)
    for unknown in (people.eve.user_id, uuid7()):
        caught = await raises(InvalidRequest, groups.add(people.ann, own, [people.bob.user_id, unknown]))
        assert caught.violations[0].field == "users[1]"
    assert (await groups.get(people.ann, own)).member_count == 0
    await harness.library.create_collection(people.ann, "rivers", CollectionFields("Rivers"), Chunking())
    for unknown in (foreign, uuid7()):
        caught = await raises(
            InvalidRequest, share(harness, people.ann, CollectionReader(group_id=unknown)), "not a group"
        )
        assert caught.violations[0].field == "collection.readers[0].group"
        await raises(NotFound, groups.add(people.ann, unknown, [people.bob.user_id]))
        await raises(NotFound, groups.remove(people.ann, unknown, [people.bob.user_id]))


async def test_a_membership_by_a_provider_ends_with_its_time(
    harness: Harness, people: People, groups: PostgresGroups, database_urls: DatabaseUrls
) -> None:
    document, group = await share_with_group(harness, people, groups, people.bob)
    assert await readable(harness, people.bob) == {document}
    database_urls.ask(
        "UPDATE responsa.group_member SET issuer = 'https://i', value = 'v', expire_time = now() + interval '1 hour'"
    )
    assert await readable(harness, people.bob) == {document}
    # An administrator does not end it.
    assert (await groups.remove(people.ann, group, [people.bob.user_id])).member_count == 1
    assert await readable(harness, people.bob) == {document}
    database_urls.ask("UPDATE responsa.group_member SET expire_time = now()")
    assert await readable(harness, people.bob) == set()
    assert (await groups.get(people.ann, group)).member_count == 0
    async with harness.database.reading(people.bob) as connection:
        cursor = await connection.execute("SELECT responsa.unreadable_documents(%s)", ([document],))
        assert await cursor.fetchone() == ([document],)


async def test_the_audit_log_names_who_became_and_ceased_to_be_a_member(
    harness: Harness, people: People, groups: PostgresGroups
) -> None:
    def changes() -> Sequence[tuple[list[str], list[str]]]:
        return harness.ask(
            "SELECT added_readers, removed_readers FROM responsa.audit_event WHERE resource_name = %s ORDER BY id",
            f"groups/{group}",
        )

    ann, bob = f"users/{people.ann.user_id}", f"users/{people.bob.user_id}"
    group = await make(groups, people.ann, people.bob)
    await groups.add(people.ann, group, [people.ann.user_id, people.bob.user_id])
    await groups.remove(people.ann, group, [people.bob.user_id])
    await groups.remove(people.ann, group, [people.bob.user_id])  # changes nothing
    assert changes() == [([], []), ([bob], []), ([ann], []), ([], [bob])]


async def test_a_deleted_document_stays_with_the_group_that_could_read_it(
    harness: Harness, people: People, groups: PostgresGroups
) -> None:
    document, group = await share_with_group(harness, people, groups, people.bob)
    await harness.library.delete_collection(people.ann, "rivers", force=True)

    async def withheld(caller: Principal) -> bool:
        async with harness.database.reading(caller) as connection:
            cursor = await connection.execute("SELECT responsa.unreadable_documents(%s)", ([document],))
            row = await cursor.fetchone()
        return row == ([document],)

    assert not await withheld(people.bob)
    assert await withheld(replace(people.bob, widget=True))
    await groups.remove(people.ann, group, [people.bob.user_id])
    assert await withheld(people.bob)
