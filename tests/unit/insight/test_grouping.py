"""Groups of vectors."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID, uuid4

import numpy as np

from responsa_server.domain.insight import QuestionGroup
from responsa_server.insight.grouping import Grouping, as_bytes, floats, unit

TURNS = [UUID(int=number) for number in range(1, 9)]


def at(*degrees: float) -> Sequence[tuple[UUID, bytes]]:
    """Questions whose vectors point in these directions."""
    vectors = [np.array([np.cos(np.radians(one)), np.sin(np.radians(one))], np.float32) for one in degrees]
    return list(zip(TURNS, map(as_bytes, vectors), strict=False))


def test_a_question_joins_the_closest_group_or_begins_one() -> None:
    ids, changed = Grouping(uuid4, 0.8)((), at(0, 12, 90, 6, 80))
    assert ids[0] == ids[1] == ids[3]
    assert ids[2] == ids[4] != ids[0]
    first, second = changed
    assert (first.central_turn, second.central_turn) == (TURNS[3], TURNS[2])
    assert np.allclose(unit(floats(first.vector)), floats(at(6)[0][1]), atol=1e-6)


def test_batches_give_the_groups_that_all_questions_at_once_give() -> None:
    questions = at(0, 60, 5, 65, 10, 55, 2, 62)
    at_once, groups = Grouping(uuid4, 0.9)((), questions)
    grouping, known, ids = Grouping(uuid4, 0.9), dict[UUID, QuestionGroup](), list[UUID]()
    for question in questions:
        some, changed = grouping(list(known.values()), [question])
        ids += some
        known.update((one.id, one) for one in changed)
    assert [ids.index(one) for one in ids] == [at_once.index(one) for one in at_once]
    assert [one.vector for one in known.values()] == [one.vector for one in groups]
    assert Grouping(uuid4)((), ()) == ((), ())
