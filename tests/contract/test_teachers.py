from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from uuid_utils.compat import uuid7

from responsa_server.domain.errors import (
    Conflict,
    Unavailable,
)
from responsa_server.domain.listing import Order
from responsa_server.domain.teachers import (
    NewTeacher,
    TeacherChange,
)
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.teachers import PostgresTeachers
from tests.conftest import DatabaseUrls
from tests.contract.conftest import People
from tests.contract.cut_database import CutDatabase
from tests.contract.turn_steps import value

ADA = NewTeacher("Ada", "Explains by examples.", {"subject": "Physics", "level": 2, "tags": ["a", None, 0.5]})
BY_TIME = Order("create_time")


@pytest.fixture
def teachers(database: Database) -> PostgresTeachers:
    return PostgresTeachers(database, uuid7)


async def test_the_etag_of_an_earlier_teacher_with_the_same_id_is_refused(
    teachers: PostgresTeachers, people: People
) -> None:
    made = await teachers.create(people.ann, replace(ADA, id=uuid7()), None)
    await teachers.delete(people.ann, made.id, made.etag)
    again = await teachers.create(people.ann, replace(ADA, id=made.id), None)
    assert again.revision == made.revision
    with pytest.raises(Conflict):
        await teachers.delete(people.ann, again.id, made.etag)


async def test_updates_that_race_all_count_and_with_one_etag_one_wins(
    teachers: PostgresTeachers, people: People
) -> None:
    made = await teachers.create(people.ann, ADA, None)
    changes = [TeacherChange(display_name=f"Ada {number}") for number in range(6)]
    outcomes = await asyncio.gather(
        *(teachers.update(people.ann, made.id, one, made.etag) for one in changes), return_exceptions=True
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == [*["Conflict"] * 5, "Teacher"]
    await asyncio.gather(*(teachers.update(people.ann, made.id, one, "") for one in changes))
    assert (await teachers.get(people.ann, made.id)).revision == 8


async def test_a_request_id_makes_one_teacher_however_often_it_is_sent(
    teachers: PostgresTeachers, people: People, database_urls: DatabaseUrls
) -> None:
    request_id = uuid7()
    made = await asyncio.gather(*(teachers.create(people.ann, ADA, request_id) for _ in range(6)))
    assert len({one.id for one in made}) == 1
    # A request_id belongs only to its user.
    assert (await teachers.create(people.bob, ADA, request_id)).id != made[0].id
    assert value(database_urls, "SELECT count(*) FROM responsa.teacher") == 2


async def test_a_create_whose_commit_was_not_heard_of_is_repeated_without_doubling(
    cut_database: CutDatabase, people: People, database_urls: DatabaseUrls
) -> None:
    teachers, request_id = PostgresTeachers(cut_database, uuid7), uuid7()
    cut_database.cut = 1
    with pytest.raises(Unavailable):
        await teachers.create(people.ann, ADA, request_id)
    made = await teachers.create(people.ann, ADA, request_id)
    assert value(database_urls, "SELECT array_agg(id) FROM responsa.teacher") == [made.id]
