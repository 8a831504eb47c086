"""Turns that need an unavailable part. Models are unplugged before and during an answer, and searches fail.

The models are servers that use the vendors' protocols. The database is the instance's own; the test breaks a function in it
and repairs the function again. Each turn ends, reports its fallbacks, and stores no partial answer.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import psycopg
import pytest

from responsa_local.embedded import EmbeddedPostgres, LocalLayout
from tests.instance import eventually
from tests.system.conftest import Bench
from tests.system.unplugging import NAMES, QUESTION, Chain, Harness, detail, of_kind, text_of
from tests.transports import Json, Way, Ways
from tests.transports_ws import Ws
from tests.wire.lab import Plug
from tests.wire.speaking import KEY

QUOTED = "Plus costs 3.90 euros a month, or 39 euros a year."
_CHAIN = 'chain = ["default"]'
_STRONG = 'chain = ["scripted:strong"]'
COPIES = {
    "tutor-strong": {_CHAIN: _STRONG},
    "tutor-impatient": {
        _CHAIN: _STRONG,
        "timeout = 20, retry = { attempts = 3, pause = 0.1 }": "timeout = 1, retry = { attempts = 1 }",
    },
    "chat-cut": {_CHAIN: 'chain = ["scripted:broken-cut"]'},
    "chat-alone": {_CHAIN: 'chain = ["alpha:alone"]'},
}
"""The agents of these tests, each with its differences from the shipped agent."""
CAUSES = {
    Plug.REFUSED: "unreachable",
    Plug.BUSY: "rate_limited",
    Plug.SILENT: "timeout",
    Plug.KEY: "credential",
    Plug.CUT: "cut",
    Plug.STALLED: "timeout",
}
LEAD = "I could not reach the documents, so this answer does not use them."
BROKEN = "RAISE EXCEPTION 'no memory is left' USING ERRCODE = '53200';"
"""Replaces the body of a function. The function then fails as if the database had run out of memory."""


@pytest.fixture(scope="module")
def harness(bench: Bench) -> Iterator[Harness]:
    """The bench with the shipped agents, which use the models of these tests. One of the agents waits at most a second
    for the documents."""
    for name, changes in COPIES.items():
        bench.copied(name.partition("-")[0], name, changes)
    eventually(lambda: all(map(bench.version, COPIES)), lambda: bench.instance.log("server")[-2000:])
    target = bench.instance.target
    with Ways(target, {Way.WS: Ws(target)}) as ways:
        harness = Harness(bench, ways, [])
        yield harness
    bench.lab.plug()
    for name in (*COPIES, *harness.made):
        shutil.rmtree(bench.agents / name)


def provider(source: str, target: str, plug: Plug) -> Json:
    return {
        "kind": "FALLBACK_KIND_PROVIDER",
        "source": source,
        "target": target,
        "cause": CAUSES[plug],
    }


def check_unplugged(harness: Harness, chain: Chain, plugs: Sequence[Plug], way: Way = Way.GRPC) -> None:
    """If the first models of the chain fail in this way, the next model answers, or the documents are quoted. Every switch is reported."""
    agent, models = chain.agent, chain.models
    before = {kind: harness.counted(agent, kind) for kind in ("provider", "passages")}
    harness.bench.lab.plug(*plugs)
    events, turn = harness.ask(agent, way)
    answer = turn["terminalEvent"]["answer"]
    moves = [provider(*pair, plug) for pair, plug in zip(pairwise(models), plugs, strict=False)]
    switched = [{key: value for key, value in move.items() if key != "kind"} for move in moves]
    assert of_kind(events, "providerSwitched") == switched
    assert text_of(events) == answer["text"]
    assert answer["citations"]
    fell = list(moves)
    if len(plugs) < len(models):
        station = harness.bench.lab.stations[len(plugs)]
        assert (answer["model"], answer["text"]) == (
            models[len(plugs)],
            f"I am {station.name}. Plus costs 3.90 euros a month.",
        )
        assert len(station.asked) == 1
    else:
        assert answer["model"] == "passages"
        assert QUOTED in answer["text"]
        cause = f"model_unavailable:{CAUSES[plugs[-1]]}"
        fell.append(
            {"kind": "FALLBACK_KIND_PASSAGES", "source": "model", "target": "passages", "cause": cause}
        )
    assert turn.get("fallbacks", []) == fell
    name, log = turn["name"], harness.bench.instance.log

    def lines() -> list[dict[str, Any]]:
        found = map(json.loads, (line for line in log("server").splitlines() if name in line))
        return [line for line in found if line["event"] == "agent_fell_back" and line.get("turn") == name]

    eventually(lambda: len(lines()) == len(fell), lambda: f"{len(fell)} lines about fallbacks, not {lines()}")
    assert all(line["tenant"] and line["version"] for line in lines())
    assert answer["outcome"] == "ANSWER_OUTCOME_COMPLETE"
    after = {kind: harness.counted(agent, kind) for kind in before}
    gone = {"provider": len(moves), "passages": len(fell) - len(moves)}
    assert {kind: after[kind] - before[kind] for kind in before} == gone
    asked, replied = harness.messages(turn["conversation"])
    assert (asked["text"], replied["text"]) == (QUESTION, answer["text"])


def test_nothing_is_unplugged(harness: Harness) -> None:
    check_unplugged(harness, harness.chain(), [])


@pytest.mark.parametrize(("plug", "place"), [(Plug.SILENT, 0), (Plug.BUSY, 1), (Plug.REFUSED, 2)])
def test_each_is_unplugged_before_it_says_a_word(harness: Harness, plug: Plug, place: int) -> None:
    """One model fails in this way, and the models before it are unavailable. A last one that is silent is waited for: it
    may be loading."""
    check_unplugged(harness, harness.chain(), [*[Plug.REFUSED] * place, plug])


def test_each_does_not_take_its_key(harness: Harness) -> None:
    chain = harness.chain("-too")
    for place in range(3):
        check_unplugged(harness, chain, [Plug.KEY] * (place + 1))
    # A provider that rejected a key is not called again. Its message about the key appears nowhere.
    assert [len(station.asked) for station in harness.bench.lab.stations] == [0, 0, 1]
    assert KEY not in harness.bench.instance.log("server")


@pytest.mark.parametrize(("way", "left"), [(Way.WEB, 1), (Way.REST, 0)])
def test_the_same_over_other_ways(harness: Harness, way: Way, left: int) -> None:
    check_unplugged(harness, harness.chain(), [Plug.BUSY, Plug.REFUSED, Plug.BUSY][: 3 - left], way)


def over_socket(harness: Harness, chain: Chain, conversation: str = "") -> list[Json]:
    request = {"text": QUESTION, "agent": f"agents/{chain.agent}", "includeDeltas": True}
    return harness.call(
        "ChatService/Ask", request | ({"conversation": conversation} if conversation else {}), Way.WS
    )


def test_the_same_over_a_socket(harness: Harness) -> None:
    chain = harness.chain()
    harness.bench.lab.plug(Plug.REFUSED, Plug.BUSY)
    *_, end = over_socket(harness, chain)
    assert "I am gamma. Plus costs 3.90 euros a month." in end["content"]
    harness.bench.lab.plug(*[Plug.REFUSED] * 3)
    *_, end = over_socket(harness, chain)
    assert end["type"] == "message"
    assert QUOTED in end["content"]
    assert any(QUOTED in one["quote"] for one in end["metadata"]["sources"])


def check_failed(failed: Json, model: str, plug: Plug) -> None:
    """The error says what happened, and that the caller may ask again."""
    assert failed["retriable"]
    status = failed["status"]
    assert status["code"] == 14
    info = detail(status, "ErrorInfo")
    assert info["reason"] == "MODEL_UNAVAILABLE"
    assert info["metadata"] == {"model": model, "cause": CAUSES[plug]}
    assert detail(status, "RetryInfo")
    assert model in status["message"]


@pytest.mark.parametrize(("plug", "place"), [(Plug.CUT, 0), (Plug.STALLED, 1), (Plug.CUT, 2)])
def test_each_is_unplugged_in_the_midst_of_its_answer(harness: Harness, plug: Plug, place: int) -> None:
    """The next model writes the answer in place of these three words. If no model is left, the turn fails, and the
    conversation is unchanged."""
    chain = harness.chain()
    harness.bench.lab.plug()
    _, first = harness.ask(chain.agent)
    talk = first["conversation"]
    before = harness.messages(talk)
    harness.bench.lab.plug(*[Plug.REFUSED] * place, plug)
    events, turn = harness.ask(chain.agent, conversation=talk)
    moves = [provider(*pair, Plug.REFUSED) for pair in pairwise(chain.models[: place + 1])]
    if place + 1 < len(chain.models):
        moves.append(provider(chain.models[place], chain.models[place + 1], plug))
        answer = turn["terminalEvent"]["answer"]
        assert text_of(events) == answer["text"] == f"I am {NAMES[place + 1]}. Plus costs 3.90 euros a month."
        assert answer["model"] == chain.models[place + 1]
        assert [one.get("midAnswer", False) for one in of_kind(events, "providerSwitched")] == [
            False
        ] * place + [True]
        before = harness.messages(talk)
    else:
        # A space that may come before a mark is sent only with the text that follows.
        assert text_of(events) == f"I am {NAMES[place]}."
        check_failed(turn["terminalEvent"]["failed"], chain.models[place], plug)
        assert harness.messages(talk) == before
    assert turn.get("fallbacks", []) == moves
    # When the model is available again, a new question gets its answer.
    harness.bench.lab.plug()
    _, again = harness.ask(chain.agent, conversation=talk)
    assert again["terminalEvent"]["answer"]["model"] == chain.models[0]
    assert len(harness.messages(talk)) == len(before) + 2


def test_the_last_is_unplugged_in_the_midst_over_other_ways(harness: Harness) -> None:
    chain = harness.chain()
    harness.bench.lab.plug()
    _, first = harness.ask(chain.agent)
    talk = first["conversation"]
    before = harness.messages(talk)
    harness.bench.lab.plug(Plug.REFUSED, Plug.REFUSED, Plug.CUT)
    for way in (Way.WEB, Way.REST):
        events, turn = harness.ask(chain.agent, way, conversation=talk)
        assert text_of(events) == "I am gamma."
        check_failed(turn["terminalEvent"]["failed"], chain.models[2], Plug.CUT)
    *_, told_text, end = over_socket(harness, chain, talk)
    assert (told_text["type"], told_text["text"]) == ("delta", "I am gamma.")
    assert (end["type"], end["code"]) == ("error", "LLM_ERROR")
    assert detail(end["status"], "ErrorInfo")["reason"] == "MODEL_UNAVAILABLE"
    assert harness.messages(talk) == before


def test_chat_saves_nothing_of_an_error(harness: Harness) -> None:
    events, turn = harness.ask("chat-cut")
    assert text_of(events)
    assert turn["terminalEvent"]["failed"]["retriable"]
    assert harness.messages(turn["conversation"]) == []


def test_chat_without_its_one_model(harness: Harness) -> None:
    """A classifier chooses the intent, and the answer is a template or passages of the documents. A post needs a model."""
    harness.bench.lab.plug(Plug.REFUSED)
    for question, *instead in (
        ("Hello, how are you today?", ("TEMPLATE", "write", "small_talk")),
        ("Write a LinkedIn post about winter mode.",),
        (QUESTION, ("PASSAGES", "model", "passages")),
    ):
        _, turn = harness.ask("chat-alone", question=question)
        if instead:
            assert turn["terminalEvent"]["answer"]["text"]
        else:
            assert turn["terminalEvent"]["refused"]["reason"] == "REFUSAL_REASON_NEEDS_MODEL"
        assert turn["fallbacks"] == [
            {
                "kind": f"FALLBACK_KIND_{kind}",
                "source": source,
                "target": target,
                "cause": "model_unavailable:unreachable",
            }
            for kind, source, target in (("CLASSIFIER", "alpha:alone", "intent"), *instead)
        ]


def superuser(bench: Bench) -> psycopg.Connection[tuple[Any, ...]]:
    """A connection to the instance's database with all rights."""
    return psycopg.connect(
        EmbeddedPostgres(LocalLayout.of(bench.instance.home)).dsn("superuser"), autocommit=True
    )


@contextmanager
def broken(bench: Bench, *functions: str) -> Generator[None]:
    """During the block, these search functions fail. The rest of the database works."""
    with superuser(bench) as connection:
        whole: list[Any] = []
        for function in functions:
            found = connection.execute(
                "SELECT pg_get_functiondef(oid), prosrc FROM pg_proc WHERE proname = %s AND pronamespace = 'responsa'::regnamespace",
                [function],
            ).fetchone()
            assert found is not None, function
            whole.append(found)
        try:
            for text, body in whole:
                connection.execute(text.replace(body, f" BEGIN {BROKEN} END "))
            yield
        finally:
            for text, _ in whole:
                connection.execute(text)


def tutored(harness: Harness, way: Way = Way.GRPC, agent: str = "tutor-strong") -> tuple[list[Json], Json]:
    parameters = {"teacher_id": "62f746b4-84e6-4ceb-95bd-447e7184d454"}
    question = "How many chromosomes does a human body cell have?"
    options = {"parameters": parameters}
    return harness.ask(agent, way, question, options=options)


@pytest.mark.parametrize("way", [Way.GRPC, Way.REST])
def test_without_the_documents_a_model_answers_and_says_so(harness: Harness, way: Way) -> None:
    before = harness.counted("tutor-strong", "without_retrieval")
    with broken(harness.bench, "search_words", "search_nearest_within"):
        events, turn = tutored(harness, way)
    answer = turn["terminalEvent"]["answer"]
    assert answer["text"].startswith(f"{LEAD}\n\n")
    assert text_of(events) == answer["text"]
    assert "citations" not in answer
    assert answer["model"] == "scripted:strong"
    (fell,) = turn["fallbacks"]
    assert fell == {
        "kind": "FALLBACK_KIND_WITHOUT_RETRIEVAL",
        "source": "retrieve",
        "target": "write",
        "cause": "part_unavailable:postgresql",
    }
    assert harness.counted("tutor-strong", "without_retrieval") == before + 1
    # After the repair, the answer has citations again. On a busy machine, words alone may have found them.
    _, turn = tutored(harness, way)
    assert turn["terminalEvent"]["answer"]["citations"]
    assert [one for one in turn.get("fallbacks", ()) if one["kind"] != "FALLBACK_KIND_TEXT_ONLY"] == []


def test_with_neither_documents_nor_a_model_the_turn_fails(harness: Harness) -> None:
    with broken(harness.bench, "search_words", "search_nearest_within"):
        _, turn = harness.ask("default")
    failed = turn["terminalEvent"]["failed"]
    assert failed["retriable"]
    assert detail(failed["status"], "ErrorInfo")["reason"] == "PART_UNAVAILABLE"
    assert harness.messages(turn["conversation"]) == []
