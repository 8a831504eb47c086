"""Groups of vectors."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from uuid import UUID, uuid4

import numpy as np
import pytest

from responsa_server.domain.insight import QuestionGroup, Span, whole_months
from responsa_server.insight.grouping import Grouping, as_bytes, floats, unit
from responsa_server.providers.minilm import MiniLmEmbedder

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


def test_a_time_has_whole_days_and_months() -> None:
    def at(text: str) -> datetime:
        return datetime.fromisoformat(f"{text}+00:00")

    span = Span(at("2026-01-15T07:00"), at("2026-04-02T01:00"))
    assert span.whole_days() == (at("2026-01-16T00:00"), at("2026-04-02T00:00"))
    start, end = span.days()
    assert (start, end) == (at("2026-01-15T00:00"), at("2026-04-03T00:00"))
    assert whole_months(start, end) == (at("2026-02-01T00:00"), at("2026-04-01T00:00"))
    assert whole_months(at("2026-01-01T00:00"), at("2026-02-01T00:00")) == (
        at("2026-01-01T00:00"),
        at("2026-02-01T00:00"),
    )
    short = Span(at("2026-01-15T07:00"), at("2026-01-15T09:00"))
    assert short.whole_days() == (short.end, short.end)
    assert whole_months(*short.days()) == (at("2026-01-16T00:00"), at("2026-01-16T00:00"))


@pytest.mark.soak
def test_purity_of_groups(shared_data: Path | None, embedder: MiniLmEmbedder) -> None:
    """Prints, for sets of labelled questions, the share of questions that have the most frequent label of their group."""
    assert shared_data is not None
    for name in ("banking77", "clinc150"):
        lines = (shared_data / name / "utterances.jsonl").read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in random.Random(1).sample(lines, 4000)]
        vectors = embedder.embed_sync([row["text"] for row in rows])
        questions = [(UUID(int=place), as_bytes(one)) for place, one in enumerate(vectors)]
        ids, _ = Grouping(uuid4)((), questions)
        labels: dict[UUID, Counter[str]] = {}
        for id_, row in zip(ids, rows, strict=True):
            labels.setdefault(id_, Counter())[row["intent"]] += 1
        for least in (1, 5):
            some = [one for one in labels.values() if one.total() >= least]
            right, total = sum(one.most_common(1)[0][1] for one in some), sum(one.total() for one in some)
            print(
                f"{name}: {len(some)} groups of {least} or more, {total} questions, purity {right / total:.3f}"
            )
            assert right / total > 0.7
