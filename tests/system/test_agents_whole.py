"""The shipped agents with their samples: each agent runs without a model, with a scripted strong model, and in `make
soak` with the embedded model.

The embedded model is small, so the tests do not check its wording. They check four things. An answer about documents
cites the right document, whether a model wrote the answer or the answer shows passages. Messages are classified in the
same way as without a model. No marks of a prompt are left in a text. Questions without a matching document are refused.
"""

from __future__ import annotations

import re
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from responsa.chat.v1 import turn_pb2
from responsa_server.agents.config.files import SHIPPED
from responsa_server.system.instance import CHECKOUT, no_language_model
from tests.instance import eventually
from tests.system.conftest import Bench

AGENTS: Final = ("chat", "tutor")
KNOWLEDGE: Final = "knowledge"
CODE: Final = ("cairo", "scarb")
MODES: Final = {"none": "passages", "strong": "scripted:strong", "embedded": "embedded:smollm2"}


EMBEDDED: Final = pytest.param("embedded", marks=pytest.mark.soak)
REFUSING: Final = pytest.mark.parametrize("mode", ["none", EMBEDDED], indirect=True)
"""Strong models decide themselves what to refuse, and the scripted one answers from whatever passages it reads."""


def agents_in(mode: str) -> tuple[str, ...]:
    """The agents that are tested in a mode. The others are left out with the embedded model: it would use up the time
    limit of each of their turns."""
    return AGENTS if mode == "embedded" else (*AGENTS, KNOWLEDGE, *CODE)


ASHDOWN: Final = "62f746b4-84e6-4ceb-95bd-447e7184d454"
"""A teacher from the samples."""


def golden(agent: str) -> dict[str, Any]:
    return yaml.safe_load((SHIPPED / agent / "golden.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module", params=["none", "strong", EMBEDDED])
def mode(bench: Bench, request: pytest.FixtureRequest) -> Iterator[str]:
    """Copies of the agents under other names, such as `chat-strong`, with a different chain of models."""
    mode = str(request.param)
    if mode == "embedded" and (why := no_language_model()) is not None:
        pytest.skip(why)
    changes = {'chain = ["default"]': f'chain = ["{MODES[mode]}"]'}
    if mode == "embedded":
        # The model uses all of its time, nearly always without a result. Therefore the test gives the model only a part of the usual time.
        changes |= {"limits = { seconds = 60,": "limits = { seconds = 8,"}
    # Small talk is the model's alone, so it has to end within that time.
    shorter = {"chitchat": 24} if mode == "embedded" else {}
    agents = agents_in(mode)
    for agent in agents:
        bench.copied(agent, f"{agent}-{mode}", changes, shorter if agent == "chat" else None)
    eventually(
        lambda: all(bench.version(f"{agent}-{mode}") for agent in agents),
        lambda: bench.instance.log("server")[-2000:],
    )
    yield mode
    for agent in agents:
        shutil.rmtree(bench.agents / f"{agent}-{mode}")


def test_the_agents_that_come_along_answer_in_a_fresh_installation(bench: Bench) -> None:
    """The commands of the README work without an API key for a model."""
    assert [line.partition(":")[0] for line in bench.loaded.splitlines()] == ["chat", "knowledge", "tutor"]
    chromosomes = "How many chromosomes does a human body cell have?"
    battery = "How long does the battery of Wren 2 last?"
    for arguments, quote in (
        (
            ["--agent", "tutor", "--param", f"teacher_id={ASHDOWN}", chromosomes],
            "46 chromosomes, in 23 pairs",
        ),
        (
            ["--agent", "tutor", "--param", "teacher_id=Ms Ashdown", chromosomes],
            "46 chromosomes, in 23 pairs",
        ),
        (["--agent", "chat", battery], "lasts about 18 months"),
        (["--agent", "knowledge", battery], "lasts about 18 months"),
    ):
        done = bench.instance.run("ask", *arguments)
        assert quote in done.stdout, done
        assert "[1]" in done.stdout, done
    post = bench.instance.run(
        "ask", "--agent", "chat", "Write a LinkedIn post about winter mode.", check=False
    )
    assert "needs a language model" in post.stdout + post.stderr, post
    refused = bench.instance.run("ask", "--json", "--agent", "tutor", chromosomes, check=False)
    assert refused.returncode == 2, refused
    assert "PARAMETERS_INVALID" in refused.stdout, refused


def test_three_are_answered_out_of_the_samples(bench: Bench, mode: str) -> None:
    for agent in agents_in(mode):
        said = golden(agent)
        assert len(said["answered"]) == 3
        for case in said["answered"]:
            end = bench.ask(case["question"], f"{agent}-{mode}", **said["parameters"])
            assert end.WhichOneof("event") == "answer", (agent, case["id"], end)
            _answered(case, end.answer, mode, agent)


def _answered(case: dict[str, Any], answer: Any, mode: str, agent: str) -> None:
    """A golden question's answer is complete, and cites the right document."""
    which = (agent, case["id"])
    assert answer.text, which
    assert "⟦" not in answer.text, which
    assert answer.outcome in (turn_pb2.ANSWER_OUTCOME_COMPLETE, turn_pb2.ANSWER_OUTCOME_OUTPUT_LIMIT)
    if "intent" in case:
        assert answer.intent == case["intent"], which
    assert any(citation.uri.endswith(case["source"]) for citation in answer.citations), (which, answer)
    # A model chooses the sentences that it cites, and the sections of the code assistants have many.
    chooses = mode == "embedded" or (mode == "strong" and agent in CODE)
    if not chooses or answer.model == "passages":
        quotes = [citation.quote for citation in answer.citations]
        assert any(case["quote"] in quote for quote in quotes), (which, quotes, answer.text)
    if mode == "embedded":
        _small(answer)


def _small(answer: Any) -> None:
    """A small model's answer appears only if a document supports this answer. Otherwise the turn shows passages and gives the reason.
    The model makes no decisions.
    """
    instead = [(fallback.kind, fallback.cause) for fallback in answer.fallbacks]
    if answer.model == MODES["embedded"]:
        assert not instead
    else:
        assert [kind for kind, _ in instead] == [turn_pb2.FALLBACK_KIND_PASSAGES], instead
        # On a busy machine, the model may send no word in time, or may write only marks.
        causes = [f"model_unavailable:{one}" for one in ("uncited", "timeout", "empty")]
        assert instead[0][1] in causes, instead


def test_what_the_tutor_proposes_to_ask_is_answered_out_of_the_samples(bench: Bench, mode: str) -> None:
    """If a model rewrites a question, the support of the question must not be lower than without the model."""
    config = tomllib.loads((SHIPPED / "tutor" / "agent.toml").read_text(encoding="utf-8"))
    assert "Explain photosynthesis to me." in config["questions"]
    for question in config["questions"]:
        end = bench.ask(question, f"tutor-{mode}", **golden("tutor")["parameters"])
        assert end.WhichOneof("event") == "answer", (question, end)
        assert end.answer.citations, (question, end.answer.text)


@REFUSING
@pytest.mark.parametrize("question", ["Explain the French Revolution to me.", "Tell me about Napoleon."])
def test_a_subject_that_the_tutor_has_nothing_on_is_looked_for(
    bench: Bench, mode: str, question: str
) -> None:
    end = bench.ask(question, f"tutor-{mode}", **golden("tutor")["parameters"])
    assert end.WhichOneof("event") == "refused", end
    assert end.refused.reason == turn_pb2.REFUSAL_REASON_NO_SUPPORT


@REFUSING
def test_what_no_document_holds_is_refused(bench: Bench, mode: str) -> None:
    for agent in agents_in(mode):
        said = golden(agent)
        (case,) = said["refused"]
        end = bench.ask(case["question"], f"{agent}-{mode}", **said["parameters"])
        assert end.WhichOneof("event") == "refused", (agent, end)
        reason = turn_pb2.RefusalReason.Name(end.refused.reason).removeprefix("REFUSAL_REASON_")
        assert reason in case["reasons"], agent


def test_a_code_assistant_shows_whole_sections_of_the_source_that_was_chosen(bench: Bench) -> None:
    """Without a model, the best section with its code; with `raw`, several sections and no answer; with a source, only its documents."""
    question = "Overload the + operator for a struct of potions."
    whole = bench.ask(question, "cairo").answer
    (uri,) = {citation.uri for citation in whole.citations}
    text = (CHECKOUT / "samples" / "cairo" / "corpus" / uri).read_text(encoding="utf-8")
    code = text[text.index("```cairo") : text.index("```\n", text.index("```cairo") + 3)].partition("\n")[2]
    assert code.rstrip() in whole.text
    assert whole.model == "passages"
    assert whole.category == "explanation"
    assert whole.collection == "collections/cairo"
    raw = bench.ask(question, "cairo", raw=True).answer
    assert raw.citations[0].uri == uri
    assert len({citation.answer_range.start for citation in raw.citations}) == 5
    assert not raw.category
    chosen = bench.ask(question, "cairo", raw=True, source="scarb_docs").answer
    assert all(citation.uri.startswith("scarb_docs/") for citation in chosen.citations)
    refused = bench.ask(question, "cairo", raw=True, source="openzeppelin_docs")
    assert refused.WhichOneof("event") == "refused"


def test_people_are_answered_from_their_own_records(bench: Bench) -> None:
    """As the README says: a script makes the account of a person of the sample database, and the key is that person's."""
    said = golden("personal")
    script = "responsa_etl.samples"
    files = dict[str, Path]()
    for person in sorted({one["person"] for one in said["answered"]}):
        assert ": 3 documents." in bench.instance.run(person, module=script).stdout
        files[person] = bench.instance.home / "people" / f"{person}.key"
        assert files[person].stat().st_mode & 0o777 == 0o600
    keys = {person: file.read_text(encoding="ascii").strip() for person, file in files.items()}
    for case in said["answered"]:
        end = bench.ask_as(keys[case["person"]], case["question"], "personal")
        assert end.WhichOneof("event") == "answer", (case["id"], end)
        shown = [each.markdown for each in end.answer.excerpts if each.uri.endswith(case["source"])]
        # An excerpt has no links within a collection.
        quote = re.sub(r"\[(.+?)\]\(.+?\)", r"\1", case["quote"])
        assert any(quote in text for text in shown), (case["id"], shown)
    for case in said["refused"]:
        end = bench.ask_as(keys[case["person"]], case["question"], "personal")
        assert end.WhichOneof("event") == "refused", (case["id"], end)
        reason = turn_pb2.RefusalReason.Name(end.refused.reason).removeprefix("REFUSAL_REASON_")
        assert reason in case["reasons"], case["id"]
    mira = files["mira.holt"]
    # Without the key, the script does not take the account over unasked.
    mira.unlink()
    refused = bench.instance.run("mira.holt@example.org", module=script, check=False)
    assert refused.returncode == 1
    assert "Give --new-key" in refused.stderr


def test_small_talk_is_answered_without_documents(bench: Bench, mode: str) -> None:
    for one in golden("chat")["chitchat"]:
        end = bench.ask(one["question"], f"chat-{mode}")
        assert end.WhichOneof("event") == "answer", end
        assert end.answer.intent == "chitchat"
        assert not end.answer.citations


@pytest.mark.parametrize("agent", [*AGENTS, KNOWLEDGE])
def test_a_follow_up_is_understood(bench: Bench, mode: str, agent: str) -> None:
    if agent not in agents_in(mode):
        pytest.skip("the embedded model would use up the time limit")
    said = golden(agent)
    for dialogue in said["dialogues"]:
        conversation = ""
        for turn in dialogue["turns"]:
            started, end = bench.ask_in(
                turn["question"], f"{agent}-{mode}", conversation, **said["parameters"]
            )
            conversation = started.conversation
            assert end.WhichOneof("event") == "answer", (dialogue["id"], end)
            citations = end.answer.citations
            # A model chooses the sentences that it uses. Therefore the quote is checked only without a model.
            assert any(citation.uri.endswith(turn["source"]) for citation in citations), (
                dialogue["id"],
                citations,
            )
            if mode == "none":
                assert any(turn["quote"] in citation.quote for citation in citations), (
                    dialogue["id"],
                    citations,
                )
            if turn.get("follow_up") and mode != "none":  # without a model nothing writes the question again
                assert end.answer.standalone_question, dialogue["id"]


def test_posts_and_tools_need_a_model(bench: Bench, mode: str) -> None:
    said = golden("chat")
    for case in (*said["posts"], *(said["tools"] if mode == "none" else ())):
        end = bench.ask(case["question"], f"chat-{mode}")
        # The embedded model may not write a post in its time.
        if mode == "none" or (mode == "embedded" and end.WhichOneof("event") == "refused"):
            assert end.refused.reason == turn_pb2.REFUSAL_REASON_NEEDS_MODEL, (case["id"], end)
            assert end.refused.intent == case["intent"]
            continue
        assert end.WhichOneof("event") == "answer", (case["id"], end)
        assert end.answer.intent == case["intent"]
        assert end.answer.citations
