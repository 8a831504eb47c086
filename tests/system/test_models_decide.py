"""The default agent answers with the model that `models.default` names, as README shows, and with the passages if the
model cannot be reached."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from openai import BadRequestError, InternalServerError, OpenAI, RateLimitError

from responsa_client import Responsa
from responsa_server.app.models import model_table
from responsa_server.app.settings import load
from responsa_server.domain.models import Stop
from tests.docs.reader import block_with, blocks, fits, settings_in
from tests.instance import ROOT, Instance, instance_in
from tests.system.echo import Echo
from tests.wire.speaking import Scene

QUESTION = "How do I get my expenses back?"
UNKNOWN = "Who may fly first class?"

READ: Final[list[Any]] = []
"""The messages that the model has read, by call."""
FORMATS: Final[list[Any]] = []
"""What the model was told of the form of its JSON, by call."""


TITLE: Final = (
    "### Task:\nGenerate a concise, 3-5 word title with an emoji summarizing the chat "
    'history.\n### Guidelines:\n- Be brief.\n### Output:\nJSON format: { "title": "…" }\n'
    "### Chat History:\n<chat_history>\nUSER: How do I get my expenses "
    "back?\n</chat_history>"
)
"""A chore of a front end, as Open WebUI words it."""


BRIEF: Final = 5
GENERATIONS: Final = 7
CLAIM: Final = {
    "title": "Claim",
    "type": "object",
    "properties": {"days": {"type": "integer"}, "address": {"type": "string"}},
    "required": ["days", "address"],
    "additionalProperties": False,
}
FOUND: Final = {"days": 30, "address": "finance@example.org"}


def _reply(body: Any) -> str | Scene:
    """JSON for a request that wants it, in a fence as small models write it. As many words as the request allows, if
    these are few. A title for a chore. An answer about expenses from the passage that has it. To every other question,
    the mark for \"the passages do not answer\", as the instructions give it."""
    READ.append(body["messages"])
    if "one JSON object" in str(body["messages"][0]["content"]):
        FORMATS.append(body.get("response_format"))
        if body["messages"][-1]["content"] == UNKNOWN:
            return "I do not know."
        return f"```json\n{json.dumps(FOUND)}\n```"
    if (most := body.get("max_tokens")) == BRIEF:
        return Scene(["Send "] * most, stop=Stop.LIMIT, usage=(7, 0, 0, most))
    if body["messages"][-1]["content"] == TITLE:
        return '{"title": "Expenses"}'
    instructions = "\n".join(str(message["content"]) for message in body["messages"])
    if QUESTION not in str(body["messages"][-1]["content"]):
        (mark,) = {*re.findall(r"\[\[[a-z ]+\]\]", instructions)}
        return mark
    (number,) = {*re.findall(r"\[(\d+)\](?:(?!\[\d+\]).)*Send your receipts", instructions, re.DOTALL)}
    return (
        "Send your receipts to finance@example.org within 30 days of the trip "
        f'[{number}: "Send your receipts to finance@example.org within 30 days of the trip."]. '
        "Without a receipt, at most 20 euros per day are refunded "
        f'[{number}: "Without a receipt, we refund at most 20 euros per day."].'
    )


@pytest.fixture(scope="module")
def echo() -> Iterator[Echo]:
    made = Echo(_reply)
    yield made
    made.close()


@pytest.fixture(scope="module")
def ollama(echo: Echo, folder: Path) -> Iterator[Instance]:
    """An instance with README's document, and its settings for Ollama, which is our own server."""
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    notes = next(block for block in blocks(page) if block.path == "notes/trips.md")
    settings = {
        "RESPONSA_DOCS": "none",
        "RESPONSA_MODELS__RETRIES": "0",
        **settings_in(block_with(ROOT / "README.md", "ollama pull")),
        "RESPONSA_MODELS__SERVERS__OLLAMA__URL": echo.url,
        "RESPONSA_LIMITS__GENERATIONS_PER_MINUTE": str(GENERATIONS),
    }
    with instance_in(folder, **settings) as made:
        (folder / notes.path).parent.mkdir()
        (folder / notes.path).write_text(notes.text, encoding="utf-8")
        made.run("ingest", str(folder / "notes"))
        yield made


def test_the_settings_of_the_pages_name_a_vendor_and_the_server_behind_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """tests/system/test_fallbacks.py unplugs models of such a chain."""
    alone = settings_in(block_with(ROOT / "README.md", "OPENAI_API_KEY"))
    both = settings_in(block_with(ROOT / "docs" / "providers.md", "OPENAI_API_KEY"))
    first, _, second = both["RESPONSA_MODELS__DEFAULT"].partition(",")
    assert alone == {**dict.fromkeys(alone, first), "OPENAI_API_KEY": both["OPENAI_API_KEY"]}
    for name, value in {**both, "OPENAI_API_KEY": "a-key"}.items():
        monkeypatch.setenv(name, value)
    settings = load()
    assert tuple(settings.models.default) == (first, second)
    assert model_table(settings.models).chain(["default"]) is not None


def test_readme_shows_what_a_model_answers(ollama: Instance) -> None:
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    (shown,) = (
        block.text for block in blocks(page) if block.kind == "console" and "elsewhere" in block.words
    )
    command, _, expected = shown.partition("\n")
    assert QUESTION in command
    done = ollama.run("ask", QUESTION)
    assert fits(expected, done.stdout + done.stderr), done


def test_the_answer_is_the_models_and_is_cited(ollama: Instance) -> None:
    with Responsa(ollama.url, ollama.key) as client:
        answer = client.answer(QUESTION).terminal_event.answer
        assert answer.model == "ollama:qwen3:8b"
        assert len(answer.citations) == 2
        assert all(citation.quote in (ROOT / "README.md").read_text() for citation in answer.citations)
        assert not answer.excerpts


def test_what_the_passages_do_not_answer_is_refused_with_the_closest(ollama: Instance) -> None:
    with Responsa(ollama.url, ollama.key) as client:
        refused = client.answer(UNKNOWN).terminal_event.refused
    assert refused.excerpts
    assert refused.excerpts[0].title == "Business trips"


def test_a_text_alone_carries_marks_and_sources(ollama: Instance) -> None:
    with Responsa(ollama.url, ollama.key) as client:
        answer = client.answer(QUESTION).terminal_event.answer
    first, second = (
        answer.text.encode()[one.answer_range.start : one.answer_range.end].decode()
        for one in answer.citations
    )
    chat: list[Any] = [{"role": "user", "content": QUESTION}]
    with OpenAI(base_url=f"{ollama.url}/v1", api_key=ollama.key, max_retries=0) as client:
        raw = client.chat.completions.with_raw_response.create(model="default", messages=chat)
        text = raw.parse().choices[0].message.content or ""
        marked, _, sources = text.partition("\n\nSources:\n\n")
        assert marked.replace(f"{first} [1]", first).replace(f"{second} [2]", second) == answer.text
        assert [line.partition("(")[0] for line in sources.splitlines()] == [
            "1. [Business trips]",
            "2. [Business trips]",
            "",
            "*Responsa checked that the quotes are there, not that they are right.*",
        ]

        # The citations of a model's text are known at its end. What its stream has sent by then has no marks, and the
        # sources stand below all the same.
        chat += [{"role": "assistant", "content": text}, {"role": "user", "content": QUESTION}]
        stream = client.chat.completions.with_raw_response.create(model="default", messages=chat, stream=True)
        streamed = "".join(chunk.choices[0].delta.content or "" for chunk in stream.parse())
        assert re.sub(r" \[\d\]", "", streamed) == f"{answer.text}\n\nSources:\n\n{sources}"
        conversation = raw.headers["x-responsa-conversation"]
        assert stream.headers["x-responsa-conversation"] == conversation

        # Another branch is another conversation, and its agent reads the answers without marks and sources.
        chat += [{"role": "assistant", "content": streamed}, {"role": "user", "content": QUESTION}]
        branch = client.chat.completions.with_raw_response.create(
            model="default", messages=[{"role": "user", "content": "Hello"}, *chat[1:]]
        )
    assert branch.headers["x-responsa-conversation"] != conversation
    read = str(READ[-1])
    assert read.count("Send your receipts to finance") > 2
    assert "Sources:" not in read


def test_a_limit_is_told_to_the_model(ollama: Instance) -> None:
    chat: list[Any] = [{"role": "user", "content": QUESTION}]
    with (
        Responsa(ollama.url, ollama.key) as responsa,
        OpenAI(base_url=f"{ollama.url}/v1", api_key=ollama.key, max_retries=0) as client,
    ):
        for field in ("max_tokens", "max_completion_tokens"):
            raw = client.chat.completions.with_raw_response.create(
                model="default:plain", messages=chat, extra_body={field: BRIEF}
            )
            completion = raw.parse()
            assert (completion.choices[0].finish_reason, completion.choices[0].message.content) == (
                "length",
                "Send " * BRIEF,
            )
            assert completion.usage is not None
            assert completion.usage.completion_tokens == BRIEF
        # What was sent is what is stored.
        assert responsa.get_turn(raw.headers["x-responsa-turn"]).terminal_event.answer.text == "Send " * BRIEF
        response = client.responses.create(model="default", input=QUESTION, max_output_tokens=BRIEF)
    assert (response.status, response.output_text) == ("incomplete", "Send " * BRIEF)
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"


def test_an_answer_is_written_as_json(ollama: Instance) -> None:
    chat: list[Any] = [{"role": "user", "content": QUESTION}]
    function = {"type": "function", "function": {"name": "claim", "parameters": CLAIM}}
    schema = {"type": "json_schema", "json_schema": {"name": "claim", "schema": CLAIM, "strict": True}}
    with (
        Responsa(ollama.url, ollama.key) as responsa,
        OpenAI(base_url=f"{ollama.url}/v1", api_key=ollama.key, max_retries=0) as client,
    ):
        raw = client.chat.completions.with_raw_response.create(
            model="default", messages=chat, response_format=schema
        )
        completion = raw.parse()
        answer = responsa.get_turn(raw.headers["x-responsa-turn"]).terminal_event.answer
        assert json.loads(completion.choices[0].message.content or "") == FOUND
        assert completion.choices[0].finish_reason == "stop"
        assert FORMATS[-1]["json_schema"]["schema"] == CLAIM
        # The model has written JSON from the answer that the documents support, and both are billed.
        assert READ[-1][2]["content"] == answer.text
        assert answer.citations
        assert completion.usage is not None
        assert completion.usage.completion_tokens > answer.usage.output_tokens

        chunks = client.chat.completions.create(
            model="default", messages=chat, tools=[function], tool_choice=function, stream=True
        )
        deltas = [chunk.choices[0] for chunk in chunks]
        (call,) = (call for one in deltas for call in one.delta.tool_calls or [])
        assert call.function is not None
        assert (call.function.name, json.loads(call.function.arguments or "")) == ("claim", FOUND)
        assert deltas[-1].finish_reason == "tool_calls"

        any_object: Any = {"type": "json_object"}
        alone = client.chat.completions.create(
            model="default:chores", messages=chat, response_format=any_object
        )
        assert json.loads(alone.choices[0].message.content or "") == FOUND
        assert FORMATS[-1] is None
        with pytest.raises(InternalServerError, match="cannot be read"):
            client.chat.completions.create(
                model="default:chores",
                messages=[{"role": "user", "content": UNKNOWN}],
                response_format=any_object,
            )

        refusal = client.chat.completions.create(
            model="default",
            messages=[{"role": "user", "content": UNKNOWN}],
            tools=[function],
            tool_choice="required",
        )
    assert refusal.choices[0].message.refusal
    assert not refusal.choices[0].message.tool_calls


def test_a_chore_is_the_model_alone(ollama: Instance) -> None:
    chore: list[Any] = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": TITLE}]
    with Responsa(ollama.url, ollama.key) as responsa:
        before, conversations = responsa.usage(), len([*responsa.conversations()])
        with OpenAI(base_url=f"{ollama.url}/v1", api_key=ollama.key, max_retries=0) as client:
            completion = client.chat.completions.create(model="default:chores", messages=chore)
            stream = [
                *client.chat.completions.create(
                    model="default:chores",
                    messages=chore,
                    stream=True,
                    stream_options={"include_usage": True},
                )
            ]
            with pytest.raises(BadRequestError, match="chat completions"):
                client.responses.create(model="default:chores", input=TITLE)
            # Open WebUI asks the model of the chat itself; the frame of the only message says what it is.
            framed: list[Any] = [{"role": "user", "content": TITLE}]
            of_front_end = client.chat.completions.create(model="default", messages=framed)
        after = responsa.usage()
        assert len([*responsa.conversations()]) == conversations
    assert completion.choices[0].message.content == '{"title": "Expenses"}'
    assert (completion.model, completion.choices[0].finish_reason) == ("default:chores", "stop")
    assert (
        "".join(one.choices[0].delta.content or "" for one in stream if one.choices)
        == '{"title": "Expenses"}'
    )
    assert READ[-3:] == [chore, chore, framed]
    assert of_front_end.model == "default:chores"
    used = sum(one.usage.total_tokens for one in (completion, stream[-1], of_front_end) if one.usage)
    assert after.day.tokens.used - before.day.tokens.used == used > 0
    assert (after.day.message_count, after.day.tokens.reserved) == (before.day.message_count, 0)
    with OpenAI(base_url=f"{ollama.url}/v1", api_key=ollama.key, max_retries=0) as client:

        def often() -> None:
            for _ in range(GENERATIONS):
                client.chat.completions.create(model="default:chores", messages=chore)

        with pytest.raises(RateLimitError, match="texts of models a minute"):
            often()
