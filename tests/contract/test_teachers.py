from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import psycopg
import pytest
from uuid_utils.compat import uuid7

from responsa_server.domain import names
from responsa_server.domain.errors import (
    AlreadyExists,
    Conflict,
    InvalidRequest,
    NotFound,
    Reason,
    Unavailable,
)
from responsa_server.domain.filters import parse_filter
from responsa_server.domain.listing import ListQuery, Operator, Order, Position
from responsa_server.domain.lists import TEACHERS
from responsa_server.domain.teachers import (
    MAX_PERSONA_BYTES,
    NewTeacher,
    Teacher,
    TeacherChange,
)
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.teachers import PostgresTeachers
from tests.conftest import DatabaseUrls
from tests.contract.conftest import People
from tests.contract.cut_database import CutDatabase
from tests.contract.turn_steps import change, value

ADA = NewTeacher("Ada", "Explains by examples.", {"subject": "Physics", "level": 2, "tags": ["a", None, 0.5]})
BY_TIME = Order("create_time")


@pytest.fixture
def teachers(database: Database) -> PostgresTeachers:
    return PostgresTeachers(database, uuid7)


async def test_a_teacher_is_kept_as_given_and_changed_by_what_is_named(
    teachers: PostgresTeachers, people: People
) -> None:
    made = await teachers.create(people.ann, ADA, None)
    assert (made.display_name, made.persona, made.parameters) == (
        ADA.display_name,
        ADA.persona,
        ADA.parameters,
    )
    assert (made.revision, made.create_time) == (1, made.update_time)
    assert await teachers.get(people.bob, made.id) == made
    renamed = await teachers.update(people.ann, made.id, TeacherChange(display_name="Ada L."), made.etag)
    assert (renamed.display_name, renamed.persona, renamed.parameters) == (
        "Ada L.",
        made.persona,
        made.parameters,
    )
    assert renamed.update_time > made.update_time
    whole = TeacherChange("B", "Strict.", {})
    changed = await teachers.update(people.ann, made.id, whole, "")
    assert (changed.display_name, changed.persona, changed.parameters) == ("B", "Strict.", {})
    assert len({made.etag, renamed.etag, changed.etag}) == 3
    # An update without fields changes nothing.
    assert await teachers.update(people.ann, made.id, TeacherChange(), changed.etag) == changed
    await teachers.delete(people.ann, made.id, changed.etag)
    with pytest.raises(NotFound):
        await teachers.get(people.ann, made.id)


async def test_an_etag_that_is_not_the_teachers_changes_nothing(
    teachers: PostgresTeachers, people: People
) -> None:
    made = await teachers.create(people.ann, replace(ADA, id=uuid7()), None)
    current = await teachers.update(people.ann, made.id, TeacherChange(persona="Strict."), made.etag)
    for etag in (made.etag, "1", "no-etag"):
        for call in (
            teachers.update(people.ann, made.id, TeacherChange("B"), etag),
            teachers.delete(people.ann, made.id, etag),
        ):
            with pytest.raises(Conflict) as caught:
                await call
            assert caught.value.reason is Reason.ETAG_MISMATCH
            assert caught.value.metadata == {"resource_name": names.teacher(made.id)}
    assert await teachers.get(people.ann, made.id) == current
    # The etag of an earlier teacher with the same id is also refused.
    await teachers.delete(people.ann, made.id, "")
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
    assert sorted(type(one).__name__ for one in outcomes) == [*["Conflict"] * 5, "Teacher"]
    await asyncio.gather(*(teachers.update(people.ann, made.id, one, "") for one in changes))
    assert (await teachers.get(people.ann, made.id)).revision == 8


async def test_what_is_not_there_is_told_as_such(teachers: PostgresTeachers, people: People) -> None:
    nobody = uuid7()
    for call in (
        teachers.get(people.ann, nobody),
        teachers.update(people.ann, nobody, TeacherChange("B"), ""),
        teachers.delete(people.ann, nobody, ""),
    ):
        with pytest.raises(NotFound) as caught:
            await call
        assert caught.value.reason is Reason.TEACHER_NOT_FOUND
        assert caught.value.metadata == {
            "resource_type": "teacher",
            "resource_name": names.teacher(nobody),
        }


async def test_other_tenants_see_change_and_delete_nothing_and_may_use_the_same_id(
    teachers: PostgresTeachers, people: People
) -> None:
    identity = uuid7()
    made = await teachers.create(people.ann, replace(ADA, id=identity), None)
    for call in (
        teachers.get(people.eve, identity),
        teachers.update(people.eve, identity, TeacherChange("B"), ""),
        teachers.delete(people.eve, identity, ""),
    ):
        with pytest.raises(NotFound):
            await call
    assert (await teachers.list(people.eve, ListQuery(10, BY_TIME))).items == []
    theirs = await teachers.create(people.eve, replace(ADA, display_name="Eve", id=identity), None)
    assert theirs.id == identity
    await teachers.delete(people.eve, identity, theirs.etag)
    assert (await teachers.list(people.bob, ListQuery(10, BY_TIME))).items == [made]


async def test_an_id_that_is_taken_makes_no_second_teacher(
    teachers: PostgresTeachers, people: People
) -> None:
    identity = UUID("6e1a3f0e-6b1b-4a58-8d6d-9a3f7f0e2b11")
    made = await teachers.create(people.ann, replace(ADA, id=identity), None)
    request_id = uuid7()
    for given in (None, request_id):
        with pytest.raises(AlreadyExists) as caught:
            await teachers.create(people.bob, replace(ADA, persona="Other.", id=identity), given)
        assert caught.value.reason is Reason.RESOURCE_ALREADY_EXISTS
        assert caught.value.metadata == {
            "resource_type": "teacher",
            "resource_name": names.teacher(identity),
        }
    assert await teachers.get(people.ann, identity) == made
    # A failed call does not use up the request_id.
    assert (await teachers.create(people.bob, ADA, request_id)).display_name == "Ada"


async def test_a_request_id_makes_one_teacher_however_often_it_is_sent(
    teachers: PostgresTeachers, people: People, database_urls: DatabaseUrls
) -> None:
    request_id = uuid7()
    made = await asyncio.gather(*(teachers.create(people.ann, ADA, request_id) for _ in range(6)))
    assert len({one.id for one in made}) == 1
    others = {
        "teacher_id": replace(ADA, id=uuid7()),
        "display_name": replace(ADA, display_name="B"),
        "persona": replace(ADA, persona="B"),
        "parameters": replace(ADA, parameters={}),
    }
    for difference, other in others.items():
        with pytest.raises(AlreadyExists) as caught:
            await teachers.create(people.ann, other, request_id)
        assert caught.value.reason is Reason.REQUEST_ID_REUSED
        assert caught.value.metadata == {
            "request_id": str(request_id),
            "resource_name": names.teacher(made[0].id),
            "difference": difference,
        }
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


@pytest.mark.parametrize(
    "order",
    [BY_TIME, Order("create_time", descending=True), Order("display_name"), Order("display_name", True)],
)
async def test_pages_hold_every_teacher_once_in_order(
    teachers: PostgresTeachers, people: People, database_urls: DatabaseUrls, order: Order
) -> None:
    for name in ("b", "a", "ä", "B", "a", "c"):
        await teachers.create(people.ann, replace(ADA, display_name=name), None)
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


async def test_a_list_is_narrowed_by_name_and_time_and_by_nothing_else(
    teachers: PostgresTeachers, people: People
) -> None:
    ada = await teachers.create(people.ann, ADA, None)
    grace = await teachers.create(people.ann, replace(ADA, display_name="Grace"), None)

    async def found(field: str, operator: Operator, given: str) -> list[UUID]:
        query = ListQuery(10, BY_TIME, filters=parse_filter(TEACHERS, f'{field} {operator} "{given}"'))
        return [one.id for one in (await teachers.list(people.ann, query)).items]

    assert await found("display_name", Operator.HAS, "GRA") == [grace.id]
    assert await found("display_name", Operator.EQ, "Ada") == [ada.id]
    assert await found("create_time", Operator.GT, ada.create_time.isoformat()) == [grace.id]
    assert await found("create_time", Operator.LT, datetime(2020, 1, 1, tzinfo=UTC).isoformat()) == []
    with pytest.raises(InvalidRequest) as caught:
        await found("persona", Operator.HAS, "examples")
    assert caught.value.reason is Reason.FILTER_INVALID


async def test_texts_are_bounded_in_bytes(teachers: PostgresTeachers, people: People) -> None:
    """The contract already refuses such texts; this test checks the constraints of the database."""
    largest = NewTeacher("ä" * 100, "ä" * (MAX_PERSONA_BYTES // 2), {})
    assert (await teachers.create(people.ann, largest, None)).persona == largest.persona
    for broken in (
        replace(largest, display_name=largest.display_name + "x"),
        replace(largest, persona=largest.persona + "x"),
        replace(largest, display_name=""),
        replace(largest, persona=""),
    ):
        with pytest.raises(psycopg.errors.CheckViolation):
            await teachers.create(people.ann, broken, None)
