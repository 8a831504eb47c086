"""Conversions from requests to the domain and from the domain to responses."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from google.protobuf.struct_pb2 import ListValue, Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp

from responsa.admin.v1 import insight_pb2, system_status_pb2
from responsa.auth.v1 import user_pb2
from responsa.chat.v1 import (
    chat_service_pb2,
    citation_pb2,
    excerpt_pb2,
    turn_pb2,
)
from responsa.knowledge.v1 import (
    document_pb2,
    generation_pb2,
)
from responsa_server.calls import status
from responsa_server.calls.convert import chat, enums, insight, knowledge, structs, values
from responsa_server.calls.convert.values import EnumMap
from responsa_server.domain.errors import CallCancelled, InvalidRequest, Reason
from responsa_server.domain.events import (
    Answered,
    AnswerOutcome,
    CancelCause,
    Failed,
    Fallback,
    FallbackKind,
    NumberedEvent,
    RefusalReason,
    Refused,
    Terminal,
    Usage,
)
from responsa_server.domain.events import Cancelled as CancelledTurn
from responsa_server.domain.knowledge import (
    Document,
    DocumentMetadata,
    DocumentState,
    IngestStage,
    Operation,
    OperationKind,
)
from responsa_server.domain.people import Role
from responsa_server.domain.rows import Row
from responsa_server.domain.turns import Question, Turn, TurnState
from responsa_server.domain.uris import safe_uri

NOW = datetime(2026, 11, 20, tzinfo=UTC)
OPERATION = Operation(
    UUID(int=1),
    "acme",
    UUID(int=2),
    UUID(int=3),
    1,
    IngestStage.EMBEDDING,
    2,
    5,
    None,
    False,
    1,
    NOW,
    NOW,
    4,
    NOW - timedelta(seconds=6),
)
DOCUMENT = Document(
    UUID(int=3),
    "acme",
    "default",
    UUID(int=2),
    "a.md",
    "A",
    "",
    "text/markdown",
    1,
    DocumentState.READY,
    None,
    5,
    b"x" * 32,
    1,
    NOW,
    NOW,
    "e",
)


def test_enums_are_the_same_inside_and_outside() -> None:
    assert enums.ROLE.number(Role.ADMIN) == user_pb2.USER_ROLE_ADMIN
    assert enums.ROLE.value(user_pb2.USER_ROLE_ADMIN) is Role.ADMIN
    assert (enums.ROLE.number(None), enums.ROLE.value(0), enums.ROLE.value(99)) == (0, None, None)


def test_enums_with_other_names_are_no_pair() -> None:
    with pytest.raises(ValueError, match="Role differ from the contract's names that begin with HEALTH_"):
        EnumMap(system_status_pb2.Health, Role)


def test_a_text_in_the_request_is_markdown_unless_told_otherwise() -> None:
    def media_type(metadata: DocumentMetadata) -> str:
        return knowledge.inline(metadata).media_type

    assert media_type(DocumentMetadata("default", "notes")) == "text/markdown"
    assert media_type(DocumentMetadata("default", "notes.txt")) == ""
    assert media_type(DocumentMetadata("default", "notes", media_type="text/html")) == "text/html"


def test_operations() -> None:
    running = knowledge.ingest_operation(OPERATION, None)
    metadata = document_pb2.IngestMetadata()
    assert running.metadata.Unpack(metadata)
    assert (running.done, metadata.stage, metadata.passages_done) == (
        False,
        document_pb2.INGEST_STAGE_EMBEDDING,
        2,
    )
    assert running.WhichOneof("result") is None
    assert metadata.time_left.ToTimedelta() == timedelta(
        seconds=9
    )  # two passages took six seconds, and three are left
    building = replace(OPERATION, kind=OperationKind.REINDEX, collection_id="notes")
    built = generation_pb2.ReindexMetadata()
    assert knowledge.reindex_operation(building, None).metadata.Unpack(built)
    assert (built.generation, built.time_left) == ("collections/notes/generations/1", metadata.time_left)
    # A clock that went back makes no negative time, and before the first passage nothing is known.
    assert replace(OPERATION, update_time=NOW - timedelta(hours=1)).time_left is None
    assert replace(OPERATION, passages_done=0).time_left is None

    done = replace(OPERATION, stage=IngestStage.DONE, unchanged=True)
    result = document_pb2.IngestResult()
    assert knowledge.ingest_operation(done, DOCUMENT).response.Unpack(result)
    assert (result.unchanged, result.document.source_key) == (True, "a.md")
    assert knowledge.ingest_operation(done, None).response.Unpack(result)
    assert result.document == document_pb2.Document(name=f"documents/{UUID(int=3)}")
    said = replace(done, counts={"comment": 2, "ocr_pages": 3}, charset="windows-1252")
    assert knowledge.ingest_operation(said, None).response.Unpack(result)
    assert [(one.kind, one.count) for one in result.left_out] == [(document_pb2.LEFT_OUT_KIND_COMMENT, 2)]
    assert (result.ocr_pages, result.guessed_charset) == (3, "windows-1252")

    cancelled = CallCancelled(Reason.OPERATION_CANCELLED, "Cancelled.")
    encoded = knowledge.ingest_operation(replace(done, error=cancelled), None)
    assert encoded.WhichOneof("result") == "error"
    assert encoded.error == status.of(cancelled)


@pytest.mark.parametrize("time", [Timestamp(seconds=2**62), Timestamp(seconds=-(2**62)), Timestamp(nanos=-5)])
def test_times_that_are_none(time: Timestamp) -> None:
    with pytest.raises(InvalidRequest):
        values.to_datetime("api_key.expire_time", time)


def struct(**fields: object) -> Struct:
    return structs.of(fields)


def nested(depth: int) -> dict[str, object]:
    """An object whose innermost value is at this depth."""
    return {"a": 1} if depth == 1 else {"a": nested(depth - 1)}


def test_parameters_have_one_form() -> None:
    given = struct(level="beginner", age=12, share=0.5, tags=["b", None, {"z": 1, "a": True}])
    text = structs.text("options.parameters", given)
    assert text == '{"age":12,"level":"beginner","share":0.5,"tags":["b",null,{"a":true,"z":1}]}'
    assert structs.of_text(text) == given
    assert structs.text("options.parameters", Struct()) == ""
    asked = chat_service_pb2.AskRequest(text="Why?", options=chat_service_pb2.AskOptions(parameters=Struct()))
    assert chat.question(asked).parameters == ""


@pytest.mark.parametrize(
    ("parameters", "field", "rule"),
    [
        (struct(x="y" * 4089), "options.parameters", "struct.max_bytes"),
        (struct(x="é" * 2045), "options.parameters", "struct.max_bytes"),
        (
            Struct(fields={"far": Value(list_value=ListValue(values=[Value(number_value=math.inf)]))}),
            "options.parameters.far[0]",
            "struct.number",
        ),
        (Struct(fields={"n": Value(number_value=math.nan)}), "options.parameters.n", "struct.number"),
        (structs.of(nested(17)), "options.parameters" + ".a" * 17, "struct.depth"),
    ],
)
def test_parameters_that_cannot_be_kept(parameters: Struct, field: str, rule: str) -> None:
    request = chat_service_pb2.AskRequest(
        text="?", options=chat_service_pb2.AskOptions(parameters=parameters)
    )
    with pytest.raises(InvalidRequest) as caught:
        chat.question(request)
    (violation,) = caught.value.violations
    assert (caught.value.reason, violation.field, violation.rule) == (Reason.INVALID_FIELD, field, rule)


class Field(str):
    """A path that counts how often a part is appended to it."""

    extended = 0

    def __add__(self, other: str) -> str:
        Field.extended += 1
        return str.__add__(self, other)

    def __format__(self, form: str) -> str:
        Field.extended += 1
        return str.__format__(self, form)


def test_paths_in_parameters_are_made_for_errors_alone() -> None:
    field = Field("options.parameters")
    structs.plain(field, struct(**{f"k{number}": [None, 1, {"a": "b"}] for number in range(100)}))
    assert Field.extended == 0
    with pytest.raises(InvalidRequest) as caught:
        structs.plain(field, struct(a={"b": [[1, math.inf]]}))
    assert (caught.value.violations[0].field, Field.extended) == ("options.parameters.a.b[0][1]", 1)


@pytest.mark.parametrize(
    "parameters",
    [
        struct(x="y" * 4088),
        structs.of(nested(16)),
        # These fit as JSON, and would not as protobuf.
        *(
            structs.of({"": json.loads(f"[{item * times}1]")})
            for item, times in (("1,", 2040), ("[],", 1300), ('"",', 1300))
        ),
    ],
    ids=["bytes", "depth", "numbers", "lists", "strings"],
)
def test_parameters_at_their_limit(parameters: Struct) -> None:
    assert structs.of_text(structs.text("options.parameters", parameters)) == parameters


FALLBACK = Fallback(FallbackKind.PROVIDER, "openai:large", "extractive", "rate_limited")


@pytest.mark.parametrize(
    ("end", "count"),
    [
        (Answered("", b"", (), AnswerOutcome.COMPLETE, 0, Usage(), fallbacks=[FALLBACK] * 20), 16),
        (Refused(RefusalReason.BUDGET, "", Usage(), fallbacks=[FALLBACK]), 1),
        (Failed(InvalidRequest(Reason.INTERNAL, ""), retriable=True, fallbacks=[FALLBACK]), 1),
        (CancelledTurn(CancelCause.OWNER), 0),
    ],
)
def test_a_turn_tells_what_its_end_tells(end: Terminal, count: int) -> None:
    terminal = chat.event(NumberedEvent(4, 1, NOW, end)).SerializeToString()
    question = Question("Why?", parameters='{"level":"expert"}', max_cost_micros=5)
    usage = Usage(1, 2, 3, 4, 5)
    turn = chat.turn(
        Turn(UUID(int=1), "acme", UUID(int=2), UUID(int=3), None, question, "agents/a/versions/1",
             TurnState.ANSWERED, 1, 4, terminal, usage, NOW, NOW)
    )  # fmt: skip
    told = turn_pb2.Fallback(
        kind=turn_pb2.FALLBACK_KIND_PROVIDER, source="openai:large", target="extractive", cause="rate_limited"
    )
    assert list(turn.fallbacks) == [told] * count
    assert turn.parameters == struct(level="expert")
    assert (turn.usage.cost_usd_micros, turn.usage.unpriced_tokens) == (4, 5)


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("https://example.org/a?b=data:c", True),
        ("notes: a.md", True),
        ("C:/database: 1.csv", True),
        ("javascript:alert(1)", False),
        (" \x01JavaScript:alert(1)", False),
        ("java\nscript:alert(1)", False),
        ("data:text/html,<p>", False),
        ("blob:https://example.org/1", False),
    ],
)
def test_a_source_has_no_uri_that_a_browser_would_run(uri: str, shown: bool) -> None:
    assert safe_uri(uri) == (uri if shown else "")


FELL = turn_pb2.Fallback(kind=turn_pb2.FALLBACK_KIND_PASSAGES, source="lab:m", cause="timeout")


@pytest.mark.parametrize(
    ("terminal", "shown"),
    [
        (
            turn_pb2.TurnEvent(
                answer=turn_pb2.TurnAnswer(
                    text="secret",
                    model="lab:m",
                    passages_used=2,
                    citations=[citation_pb2.Citation()],
                    unsupported_sentences=1,
                    fallbacks=[FELL],
                )
            ),
            {
                "model": "lab:m",
                "passages": 2,
                "citations": 1,
                "unsupported_sentences": 1,
                "fallbacks": [FELL],
            },
        ),
        (
            turn_pb2.TurnEvent(
                refused=turn_pb2.TurnRefused(message="secret", excerpts=[excerpt_pb2.Excerpt()])
            ),
            {"passages": 1},
        ),
        (
            turn_pb2.TurnEvent(
                failed=turn_pb2.TurnFailed(
                    status=status.of(InvalidRequest(Reason.MALFORMED_MESSAGE, "secret"))
                )
            ),
            {"error_reason": "MALFORMED_MESSAGE"},
        ),
        (turn_pb2.TurnEvent(), {}),
    ],
)
def test_administrators_see_how_a_turn_ended_and_none_of_its_texts(
    terminal: turn_pb2.TurnEvent, shown: dict[str, object]
) -> None:
    columns = ("create_time", "agent_version", "state", "refusal", "rating", "user_id", "request")
    numbers = dict.fromkeys(("first_words_ms", "latency_ms", "cost_usd_micros"), 0)
    row = Row(turn_id=UUID(int=1), terminal=terminal.SerializeToString(), **dict.fromkeys(columns), **numbers)
    row.slowest_tool, row.slowest_tool_ms = "", 0
    wanted = insight_pb2.TenantTurn(turn=f"turns/{UUID(int=1)}", **shown)
    assert insight.tenant_turn(row) == wanted
