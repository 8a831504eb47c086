from __future__ import annotations

import asyncio

import psycopg
import pytest
from uuid_utils.compat import uuid7

from responsa_server.domain import names
from responsa_server.domain.errors import (
    AlreadyExists,
    Conflict,
    NotFound,
    Reason,
    Unavailable,
)
from responsa_server.domain.listing import ListQuery, Order, Position
from responsa_server.domain.teachers import (
    MAX_PERSONA_BYTES,
    Teacher,
)
from responsa_server.stores.postgres import teachers as stored_teachers
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.resources import ResourceTable
from tests.conftest import DatabaseUrls
from tests.contract.conftest import People
from tests.contract.cut_database import CutDatabase
from tests.contract.turn_steps import change, value

ADA = {
    "display_name": "Ada",
    "persona": "Explains by examples.",
    "parameters": {"subject": "Physics", "level": 2, "tags": ["a", None, 0.5]},
}
BY_TIME = Order("create_time")


@pytest.fixture
def teachers(database: Database) -> ResourceTable[Teacher]:
    return ResourceTable(database, stored_teachers.KIND, uuid7)


async def test_an_etag_that_is_not_the_teachers_changes_nothing(
    teachers: ResourceTable[Teacher], people: People
) -> None:
    made = await teachers.create(people.ann, ADA, uuid7())
    current = await teachers.update(people.ann, made.id, {"persona": "Strict."}, made.etag)
    for etag in (made.etag, "1", "no-etag"):
        for call in (
            teachers.update(people.ann, made.id, {"display_name": "B"}, etag),
            teachers.delete(people.ann, made.id, etag),
        ):
            with pytest.raises(Conflict) as caught:
                await call
            assert caught.value.reason is Reason.ETAG_MISMATCH
            assert caught.value.metadata == {"resource_name": names.teacher(made.id)}
    assert await teachers.get(people.ann, made.id) == current
    # The etag of an earlier teacher with the same id is also refused.
    await teachers.delete(people.ann, made.id, "")
    again = await teachers.create(people.ann, ADA, made.id)
    assert again.revision == made.revision
    with pytest.raises(Conflict):
        await teachers.delete(people.ann, again.id, made.etag)


async def test_updates_that_race_all_count_and_with_one_etag_one_wins(
    teachers: ResourceTable[Teacher], people: People
) -> None:
    made = await teachers.create(people.ann, ADA)
    changes = [{"display_name": f"Ada {number}"} for number in range(6)]
    outcomes = await asyncio.gather(
        *(teachers.update(people.ann, made.id, one, made.etag) for one in changes), return_exceptions=True
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == [*["Conflict"] * 5, "Teacher"]
    await asyncio.gather(*(teachers.update(people.ann, made.id, one, "") for one in changes))
    assert (await teachers.get(people.ann, made.id)).revision == 8


async def test_other_tenants_see_change_and_delete_nothing_and_may_use_the_same_id(
    teachers: ResourceTable[Teacher], people: People
) -> None:
    identity = uuid7()
    made = await teachers.create(people.ann, ADA, identity)
    for call in (
        teachers.get(people.eve, identity),
        teachers.update(people.eve, identity, {"display_name": "B"}, ""),
        teachers.delete(people.eve, identity, ""),
    ):
        with pytest.raises(NotFound):
            await call
    assert (await teachers.list(people.eve, ListQuery(10, BY_TIME))).items == []
    theirs = await teachers.create(people.eve, ADA | {"display_name": "Eve"}, identity)
    assert theirs.id == identity
    await teachers.delete(people.eve, identity, theirs.etag)
    assert (await teachers.list(people.bob, ListQuery(10, BY_TIME))).items == [made]


async def test_a_request_id_makes_one_teacher_however_often_it_is_sent(
    teachers: ResourceTable[Teacher], people: People, database_urls: DatabaseUrls
) -> None:
    request_id = uuid7()
    made = await asyncio.gather(*(teachers.create(people.ann, ADA, request_id=request_id) for _ in range(6)))
    assert len({one.id for one in made}) == 1
    others = {
        "teacher_id": (ADA, uuid7()),
        "display_name": (ADA | {"display_name": "B"}, None),
        "persona": (ADA | {"persona": "B"}, None),
        "parameters": (ADA | {"parameters": {}}, None),
    }
    for difference, (other, identity) in others.items():
        with pytest.raises(AlreadyExists) as caught:
            await teachers.create(people.ann, other, identity, request_id)
        assert caught.value.reason is Reason.REQUEST_ID_REUSED
        assert caught.value.metadata == {
            "request_id": str(request_id),
            "resource_name": names.teacher(made[0].id),
            "difference": difference,
        }
    # A request_id belongs only to its user.
    assert (await teachers.create(people.bob, ADA, request_id=request_id)).id != made[0].id
    assert value(database_urls, "SELECT count(*) FROM responsa.teacher") == 2


async def test_a_create_whose_commit_was_not_heard_of_is_repeated_without_doubling(
    cut_database: CutDatabase, people: People, database_urls: DatabaseUrls
) -> None:
    teachers, request_id = ResourceTable(cut_database, stored_teachers.KIND, uuid7), uuid7()
    cut_database.cut = 1
    with pytest.raises(Unavailable):
        await teachers.create(people.ann, ADA, request_id=request_id)
    made = await teachers.create(people.ann, ADA, request_id=request_id)
    assert value(database_urls, "SELECT array_agg(id) FROM responsa.teacher") == [made.id]


@pytest.mark.parametrize(
    "order",
    [BY_TIME, Order("create_time", descending=True), Order("display_name"), Order("display_name", True)],
)
async def test_pages_hold_every_teacher_once_in_order(
    teachers: ResourceTable[Teacher], people: People, database_urls: DatabaseUrls, order: Order
) -> None:
    for name in ("b", "a", "ä", "B", "a", "c"):
        await teachers.create(people.ann, ADA | {"display_name": name})
    # Two teachers have the same create_time. Their ids decide their order.
    change(
        database_urls,
        "UPDATE responsa.teacher SET create_time = '2026-01-01T00:00Z' WHERE display_name = 'a'",
    )
    whole = (await teachers.list(people.ann, ListQuery(50, order))).items
    assert len({one.id for one in whole}) == 6
    seen: list[Teacher] = []
    after: Position | None = None
    while True:
        page = await teachers.list(people.ann, ListQuery(2, order, after))
        seen.extend(page.items)
        after = page.next_after
        if after is None:
            break
    assert seen == whole
    if order.field == "create_time":
        keys = [(one.create_time, one.id) for one in seen]
        assert keys == sorted(keys, reverse=order.descending)


async def test_texts_are_bounded_in_bytes(teachers: ResourceTable[Teacher], people: People) -> None:
    """The contract already refuses such texts; this test checks the constraints of the database."""
    largest = {"display_name": "ä" * 100, "persona": "ä" * (MAX_PERSONA_BYTES // 2), "parameters": {}}
    assert (await teachers.create(people.ann, largest)).persona == largest["persona"]
    for broken in (
        largest | {"display_name": largest["display_name"] + "x"},
        largest | {"persona": largest["persona"] + "x"},
        largest | {"display_name": ""},
        largest | {"persona": ""},
    ):
        with pytest.raises(psycopg.errors.CheckViolation):
            await teachers.create(people.ann, broken)
