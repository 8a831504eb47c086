from __future__ import annotations

import asyncio

import pytest
from uuid_utils.compat import uuid7

from responsa_server.domain.errors import (
    Conflict,
    Unavailable,
)
from responsa_server.domain.listing import Order
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.resources import TEACHERS, ResourceTable
from tests.conftest import DatabaseUrls
from tests.contract.cut_database import CutDatabase
from tests.contract.people import People
from tests.raising import raises

ADA = {
    "display_name": "Ada",
    "persona": "Explains by examples.",
    "parameters": {"subject": "Physics", "level": 2, "tags": ["a", None, 0.5]},
}
BY_TIME = Order("create_time")


@pytest.fixture
def teachers(database: Database) -> ResourceTable:
    return ResourceTable(database, TEACHERS, uuid7)


async def test_the_etag_of_an_earlier_teacher_with_the_same_id_is_refused(
    teachers: ResourceTable, people: People
) -> None:
    made = await teachers.create(people.ann, ADA, uuid7())
    await teachers.delete(people.ann, made.id, made.etag)
    again = await teachers.create(people.ann, ADA, made.id)
    assert again.revision == made.revision
    await raises(Conflict, teachers.delete(people.ann, again.id, made.etag))


async def test_updates_that_race_all_count_and_with_one_etag_one_wins(
    teachers: ResourceTable, people: People
) -> None:
    made = await teachers.create(people.ann, ADA)
    changes = [{"display_name": f"Ada {number}"} for number in range(6)]
    outcomes = await asyncio.gather(
        *(teachers.update(people.ann, made.id, one, made.etag) for one in changes), return_exceptions=True
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == [*["Conflict"] * 5, "Row"]
    await asyncio.gather(*(teachers.update(people.ann, made.id, one, "") for one in changes))
    assert (await teachers.get(people.ann, made.id)).revision == 8


async def test_a_request_id_makes_one_teacher_however_often_it_is_sent(
    teachers: ResourceTable, people: People, database_urls: DatabaseUrls
) -> None:
    request_id = uuid7()
    made = await asyncio.gather(*(teachers.create(people.ann, ADA, request_id=request_id) for _ in range(6)))
    assert len({one.id for one in made}) == 1
    # A request_id belongs only to its user.
    assert (await teachers.create(people.bob, ADA, request_id=request_id)).id != made[0].id
    assert database_urls.value("SELECT count(*) FROM responsa.teacher") == 2


async def test_a_create_whose_commit_was_not_heard_of_is_repeated_without_doubling(
    cut_database: CutDatabase, people: People, database_urls: DatabaseUrls
) -> None:
    teachers, request_id = ResourceTable(cut_database, TEACHERS, uuid7), uuid7()
    cut_database.cut = 1
    await raises(Unavailable, teachers.create(people.ann, ADA, request_id=request_id))
    made = await teachers.create(people.ann, ADA, request_id=request_id)
    assert database_urls.value("SELECT array_agg(id) FROM responsa.teacher") == [made.id]
