"""Questions grouped by meaning, in PostgreSQL. The transaction that adds ends of turns to the sums writes their
questions' events; this module groups and counts them, each once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, Final
from uuid import UUID

from psycopg import sql
from psycopg.rows import dict_row

from responsa_server.domain import names
from responsa_server.domain.events import Usage
from responsa_server.domain.insight import (
    NO_PATTERN,
    AskedQuestion,
    Grouping,
    PatternLoss,
    PatternReport,
    QuestionGroup,
    QuestionOutcome,
    Span,
    whole_months,
)
from responsa_server.domain.listing import ListQuery
from responsa_server.domain.lists import QUESTION_PATTERNS
from responsa_server.domain.rows import Row, build
from responsa_server.domain.turns import FrameCodec
from responsa_server.stores.postgres.database import Connection, Database, Queries, shielded, uuid_array
from responsa_server.stores.postgres.listing import SqlList
from responsa_server.stores.postgres.resources import ResourceKind, resource_row
from responsa_server.stores.postgres.rows import all_rows

MOST: Final = 500
"""The most patterns of a tenant. Beyond it, those of the fewest questions are dissolved until there are `_KEPT`."""
_KEPT: Final = 450
_MOST_GROUPED: Final = 256
_MOST_RENEWED: Final = 20
_MOST_TITLED: Final = 5
_SAMPLE: Final = 32
_TITLE_SAMPLE: Final = 8
_EXAMPLES: Final = 3
# Many questions of a conversation that is being deleted may be waited for.
_SECONDS: Final = 30
_STATES: Final[Mapping[QuestionOutcome | None, Sequence[str]]] = {
    None: ("answered", "no_support", "refused", "failed", "cancelled"),
    QuestionOutcome.ANSWERED: ("answered",),
    QuestionOutcome.NO_SUPPORT: ("no_support",),
    QuestionOutcome.REFUSED: ("no_support", "refused"),
    QuestionOutcome.FAILED: ("failed",),
    QuestionOutcome.RATED_DOWN: (),
}

_LIST: Final[SqlList[Row]] = SqlList(
    QUESTION_PATTERNS, {"count": "w.count", "state": "p.state", "assignee": "p.assignee_id"}, identity="w.id"
)
PATTERN: Final[ResourceKind[Row, UUID]] = ResourceKind(
    "question_pattern", names.question_pattern, QUESTION_PATTERNS, resource_row
)
_Run = Callable[[str, Mapping[str, Any]], Awaitable[Sequence[dict[str, Any]]]]


class PostgresPatterns:
    """The patterns of questions. All methods raise Unavailable if the store cannot be reached. codec: reads the texts of questions."""

    def __init__(self, database: Database, codec: FrameCodec, *, limit: int = MOST) -> None:
        self._database = database
        self._codec = codec
        self._most = limit
        self._queries = Queries("patterns.sql")

    @shielded
    async def due(self, *, titles: bool) -> Sequence[str]:
        """The tenants for which there is something to do. titles: whether there is a model that gives titles."""
        async with self._database.log() as connection:
            rows = await all_rows(connection, self._queries["due"], {"titles": titles})
        return [row["tenant_id"] for row in rows]

    @shielded
    async def waiting(self, tenant_id: str) -> Sequence[AskedQuestion]:
        """The questions that have waited longest, a limited number."""
        async with self._database.tenant(tenant_id) as connection:
            values = {"tenant": tenant_id, "most": _MOST_GROUPED}
            rows = await all_rows(connection, self._queries["waiting"], values)
        return [AskedQuestion(row["id"], row["turn_id"], self._text(row["request"])) for row in rows]

    @shielded
    async def group(
        self, tenant_id: str, embedding: str, vectors: Mapping[int, bytes | None], grouping: Grouping
    ) -> None:
        """Count questions in their patterns, those that still wait. vectors: by event; None for a question that has no
        text. embedding: the model of the vectors."""
        values: dict[str, Any] = {"tenant": tenant_id, "embedding": embedding}
        async with self._database.locking(tenant_id, _SECONDS) as connection:
            run = partial(self._run, connection)
            await run("lock", values)
            taken = sorted(await run("take", {**values, "events": list(vectors)}), key=lambda row: row["id"])
            turns = [row["turn_id"] for row in taken if row["turn_id"] is not None]
            living = {row["id"] for row in await run("living", {**values, "turns": uuid_array(turns)})}
            questions = [
                (row["turn_id"], vector)
                for row in taken
                if row["turn_id"] in living and (vector := vectors[row["id"]]) is not None
            ]
            known = [build(QuestionGroup, row) for row in await run("patterns", values)] if questions else []
            ids, changed = grouping(known, questions)
            places = {turn_id: id_ for (turn_id, _), id_ in zip(questions, ids, strict=True)}
            await self._count(run, values, taken, places)
            if not changed:
                return
            of_turns = [(row, places[row["turn_id"]]) for row in taken if row["turn_id"] in places]
            values |= {
                "turn_ids": uuid_array([row["turn_id"] for row, _ in of_turns]),
                "pattern_ids": uuid_array([id_ for _, id_ in of_turns]),
                "states": [row["state"] for row, _ in of_turns],
                "times": [row["time"] for row, _ in of_turns],
            }
            times = [[row["time"] for row, id_ in of_turns if id_ == pattern.id] for pattern in changed]
            await run(
                "put_patterns",
                {
                    **values,
                    "ids": uuid_array([pattern.id for pattern in changed]),
                    "vectors": [pattern.vector for pattern in changed],
                    "centrals": [pattern.central for pattern in changed],
                    "turns": [len(some) for some in times],
                    "last_times": [max(some) for some in times],
                },
            )
            await run("put_turns", values)
            await run("reopen", values)
            await run("rate", values)
            moved = {item.id: item.central_turn for item in changed if item.central_turn is not None}
            await self._centre(run, values, moved)
            surplus = await run("surplus", {**values, "most": self._most, "kept": self._most * _KEPT // MOST})
            await self._dissolve(run, values, [row["id"] for row in surplus])

    @shielded
    async def find_lost(self, tenant_id: str) -> Sequence[PatternLoss]:
        """The patterns that have lost turns, a limited number."""
        async with self._database.tenant(tenant_id) as connection:
            values = {"tenant": tenant_id, "most": _MOST_RENEWED}
            rows = await all_rows(connection, self._queries["lost"], values)
            return [
                PatternLoss(
                    row["id"], row["through"], await self._sample(connection, tenant_id, row["id"], _SAMPLE)
                )
                for row in rows
            ]

    @shielded
    async def renew(
        self, tenant_id: str, embedding: str, loss: PatternLoss, vector: bytes, central: bytes, turn_id: UUID
    ) -> None:
        """Store the vectors of a pattern, which were computed without the turns that it has lost. A title that was made
        from one of these is removed. turn_id: the turn that stands for the pattern."""
        values: dict[str, Any] = {
            "tenant": tenant_id,
            "id": loss.id,
            "ids": uuid_array([loss.id]),
            "through": loss.through,
            "embedding": embedding,
            "vector": vector,
            "central": central,
        }
        async with self._database.locking(tenant_id, _SECONDS) as connection:
            run = partial(self._run, connection)
            await run("lock", values)
            await run("renew", values)
            await self._centre(run, values, {loss.id: turn_id})
            await run("settle", values)

    @shielded
    async def dissolve(self, tenant_id: str, loss: PatternLoss) -> None:
        """Remove a pattern that has no turns any more. Its counts stay, for questions that are in no pattern."""
        async with self._database.locking(tenant_id, _SECONDS) as connection:
            run = partial(self._run, connection)
            await run("lock", {"tenant": tenant_id})
            await self._dissolve(run, {"tenant": tenant_id}, [loss.id])

    @shielded
    async def find_untitled(self, tenant_id: str) -> Mapping[UUID, Sequence[tuple[UUID, str]]]:
        """The patterns to which a model may give a title, a limited number, with some of their turns and the texts of
        these. There are none unless the tenant allows texts."""
        async with self._database.tenant(tenant_id) as connection:
            values = {"tenant": tenant_id, "most": _MOST_TITLED}
            rows = await all_rows(connection, self._queries["untitled"], values)
            return {
                row["id"]: await self._sample(connection, tenant_id, row["id"], _TITLE_SAMPLE) for row in rows
            }

    @shielded
    async def put_title(
        self, tenant_id: str, pattern_id: UUID, turns: Sequence[UUID], title: str, model: str, cost: Usage
    ) -> None:
        """Store the title that a model has made from the questions of these turns, unless the tenant no longer allows
        texts, and count what the call has cost. title: "" if the model has failed; it is asked again after an hour.
        """
        values: dict[str, Any] = {
            "tenant": tenant_id,
            "id": pattern_id,
            "turns": uuid_array(turns),
            "title": title,
            "model": model,
            **asdict(cost),
        }
        async with self._database.tenant(tenant_id) as connection:
            if cost != Usage():
                await self._run(connection, "note_cost", values)
            await self._run(connection, "lock", values)
            # A turn that was deleted meanwhile leaves a loss without a title, so the title is not stored.
            living = await self._run(connection, "living", values)
            if title and len(living) < len(turns):
                return
            await self._run(connection, "put_title", values)
            await self._run(connection, "mark_titled", values)

    @shielded
    async def read(
        self, tenant_id: str, span: Span, outcome: QuestionOutcome | None, query: ListQuery
    ) -> PatternReport:
        """Return a page of the patterns of the questions of these days, those of the most questions first. outcome:
        which questions count; None for all. The days (UTC) in which the span begins and ends are whole."""
        start, end = span.days()
        first_month, last_month = whole_months(start, end)
        compiled = _LIST.compile(query)
        values = {
            **compiled.params,
            "tenant": tenant_id,
            "start": start,
            "end": end,
            "first_month": first_month,
            "last_month": last_month,
            "outcome": outcome.value if outcome else "",
            "states": list(_STATES[outcome]),
            "examples": _EXAMPLES,
        }
        statement = sql.SQL(self._queries["read"]).format(where=compiled.where, order=compiled.order)
        rows, [state] = await self._database.together(
            tenant_id, [(statement, values), (self._queries["complete_through"], values)]
        )
        others = sum(row["count"] for row in rows if row["id"] == NO_PATTERN)
        patterns = [self._pattern(row) for row in rows if row["id"] != NO_PATTERN]
        return PatternReport(_LIST.page(patterns, query), others, state["complete_through"])

    def _pattern(self, row: Mapping[str, Any]) -> Row:
        title = row["title"] if row["shows_title"] else ""
        return resource_row({**row, "title": title, "question": self._text(row["request"])})

    def _text(self, request: bytes | None) -> str:
        return "" if request is None else self._codec.decode_question(bytes(request)).text

    async def _sample(
        self, connection: Connection, tenant_id: str, pattern_id: UUID, limit: int
    ) -> Sequence[tuple[UUID, str]]:
        values = {"tenant": tenant_id, "id": pattern_id, "most": limit}
        rows = await all_rows(connection, self._queries["sample"], values)
        return [(row["id"], self._text(row["request"])) for row in rows]

    async def _count(
        self,
        run: _Run,
        values: Mapping[str, Any],
        taken: Sequence[Mapping[str, Any]],
        places: Mapping[UUID, UUID],
    ) -> None:
        if taken:
            columns = {name: [row[name] for row in taken] for name in ("citations", "unsupported")}
            ids = [places.get(row["turn_id"], NO_PATTERN) for row in taken]
            times, states = [row["time"] for row in taken], [row["state"] for row in taken]
            added = {"pattern_ids": uuid_array(ids), "times": times, "states": states, **columns}
            await run("count", {**values, **added})

    async def _centre(self, run: _Run, values: Mapping[str, Any], turns: Mapping[UUID, UUID]) -> None:
        """turns: the turn that stands for each pattern from now on."""
        if turns:
            await run("uncentre", {**values, "ids": uuid_array(turns)})
            await run("centre", {**values, "central_turns": uuid_array(turns.values())})

    async def _dissolve(self, run: _Run, values: Mapping[str, Any], ids: Sequence[UUID]) -> None:
        if ids:
            await run("dissolve", {**values, "ids": uuid_array(ids)})
            await run("forget", {**values, "ids": uuid_array(ids)})

    async def _run(
        self, connection: Connection, name: str, values: Mapping[str, Any]
    ) -> Sequence[dict[str, Any]]:
        cursor = connection.cursor(row_factory=dict_row)
        await cursor.execute(self._queries[name], values)
        return await cursor.fetchall() if cursor.description else []
