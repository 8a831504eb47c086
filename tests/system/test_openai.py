"""OpenAI's API on a real instance: its official clients, and the shapes of its errors."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import httpx2
import openai
import pytest
from openai import OpenAI
from uuid_utils.compat import uuid7

from responsa_client import Responsa
from responsa_server.calls.authorisation import RULES
from responsa_server.domain.people import Role
from responsa_server.transports.openai.exchange import MAX_BODY
from responsa_server.transports.openai.routes import ROWS
from tests.callers import Registry
from tests.instance import ROOT, Instance

FERRY: Final = "When does the ferry to Skye leave Mallaig?"
ENDLESS: Final = "tokens=2000 pace_ms=50"
MARK: Final = re.compile(r" \[\d+\]")
QUICK: Final = "tokens=40 pace_ms=1"


@pytest.fixture
def client(second: Instance) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{second.url}/v1", api_key=second.key, max_retries=0) as made:
        yield made


@pytest.fixture
def responsa(second: Instance) -> Iterator[Responsa]:
    with Responsa(second.url, second.key) as made:
        yield made


@pytest.fixture
def http(second: Instance) -> Iterator[httpx2.Client]:
    headers = {"authorization": f"Bearer {second.key}"}
    with httpx2.Client(base_url=second.url, headers=headers, timeout=30) as made:
        yield made


def said(text: str) -> Any:
    return [{"role": "user", "content": text}]


def wrong(reply: httpx2.Response) -> tuple[int, str, str | None]:
    """The status, the reason and the field of an error, whose whole shape is checked."""
    (error,) = reply.json().values()
    assert set(error) == {"message", "type", "param", "code"}
    assert reply.headers["x-request-id"]
    return reply.status_code, error["code"], error["param"]


def test_an_answer_and_its_citations_are_those_of_grpc(
    client: OpenAI, responsa: Responsa, second: Instance
) -> None:
    raw = client.chat.completions.with_raw_response.create(model="default", messages=said(FERRY))
    completion = raw.parse()
    turn = responsa.get_turn(raw.headers["x-responsa-turn"])
    answer = turn.terminal_event.answer
    (choice,) = completion.choices
    content = choice.message.content or ""
    text, _, sources = content.partition("\n\nSources:\n\n")
    why, _, text = text.partition("\n\n")
    assert why == "No language model is configured. Closest passages:"
    assert (MARK.sub("", text), choice.finish_reason) == (answer.text, "stop")
    assert (completion.model, completion.system_fingerprint) == ("default", turn.agent_version)
    assert raw.headers["x-responsa-conversation"] == turn.conversation
    marks = [one.url_citation for one in choice.message.annotations or []]
    assert marks
    data = answer.text.encode()
    assert [(one.title, content[one.start_index : one.end_index]) for one in marks] == [
        (one.title, data[one.answer_range.start : one.answer_range.end].decode()) for one in answer.citations
    ]
    # Each citation has its mark right behind it, and its number stands below, with the address of the document on the page.
    for number, one in enumerate(marks, 1):
        assert content[one.end_index :].startswith(f" [{number}]")
        assert one.url == f"{second.url}/#/{answer.citations[number - 1].document_version}"
    assert sources == "".join(f"{number}. [{one.title}]({one.url})\n" for number, one in enumerate(marks, 1))

    chunks = [
        *client.chat.completions.create(
            model="default", messages=said(FERRY), stream=True, stream_options={"include_usage": True}
        )
    ]
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    assert deltas[0].role == "assistant"
    assert "".join(delta.content or "" for delta in deltas) == content
    sent = [one for delta in deltas for one in getattr(delta, "annotations", None) or []]
    assert sent == [one.model_dump() for one in choice.message.annotations or []]
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage is not None

    # A program that reads the answer, and whoever asks the plain model, gets the text alone.
    for options in (
        {"model": "default:plain"},
        {"model": f"{turn.agent_version}:plain"},
        {"model": "default", "response_format": {"type": "text"}},
        {"model": "default", "tools": [{"type": "function", "function": {"name": "f"}}]},
    ):
        plain = client.chat.completions.create(messages=said(FERRY), **options)
        message = plain.choices[0].message
        assert message.content == answer.text
        assert [one.url_citation.title for one in message.annotations or []] == [one.title for one in marks]
        assert plain.model == ("default:plain" if ":" in options["model"] else "default")


def test_a_long_chat_stays_one_conversation_and_nothing_piles_up(client: OpenAI, responsa: Responsa) -> None:
    chat = said(f"{FERRY} {uuid7()}")
    turns: list[str] = []
    for number in range(10):
        if number % 2:
            reply = client.chat.completions.with_raw_response.create(model="default", messages=chat)
            text = reply.parse().choices[0].message.content or ""
        else:
            reply = client.chat.completions.with_raw_response.create(
                model="default", messages=chat, stream=True
            )
            text = "".join(chunk.choices[0].delta.content or "" for chunk in reply.parse())
        turns.append(reply.headers["x-responsa-turn"])
        assert MARK.search(text)
        assert text.count("Sources:") == 1
        chat += [
            {"role": "assistant", "content": text.strip() if number % 3 else text},
            *said(f"{FERRY} ({number})"),
        ]
    (conversation,) = {responsa.get_turn(turn).conversation for turn in turns}
    assert len([*responsa.messages(conversation)]) == 20


def test_a_refusal_is_a_message(client: OpenAI) -> None:
    # There is no document about the caller.
    found = client.chat.completions.create(model="personal", messages=said("What is my openness?"))
    message = found.choices[0].message
    assert message.refusal
    assert message.content == message.refusal
    response = client.responses.create(model="personal", input="What is my openness?")
    (part,) = response.output[0].content
    assert (part.type, response.output_text) == ("refusal", "")


def test_below_a_refusal_stand_the_closest_passages_and_the_chat_goes_on(client: OpenAI) -> None:
    chat = said("Which football club won the championship of Patagonia in 1998?")
    first = client.chat.completions.with_raw_response.create(model="default", messages=chat)
    message = first.parse().choices[0].message
    assert message.refusal
    assert (message.content or "").startswith(f"{message.refusal}\n\n**")
    chat += [{"role": "assistant", "content": message.content}, *said(FERRY)]
    second = client.chat.completions.with_raw_response.create(model="default", messages=chat)
    assert second.headers["x-responsa-conversation"] == first.headers["x-responsa-conversation"]
    (part,) = client.responses.create(model="default", input=chat[0]["content"]).output[0].content
    assert part.type == "refusal"
    assert "\n\n> " in part.refusal


def test_a_text_ends_where_the_request_says(client: OpenAI, responsa: Responsa) -> None:
    def completed(**options: Any) -> tuple[str, str, str]:
        raw = client.chat.completions.with_raw_response.create(
            model="testing", messages=said(ENDLESS), **options
        )
        (choice,) = raw.parse().choices
        return choice.message.content or "", choice.finish_reason, raw.headers["x-responsa-turn"]

    text, reason, turn = completed(max_completion_tokens=30)
    assert (len(text.encode()), reason) == (120, "length")
    assert responsa.get_turn(turn).terminal_event.HasField("cancelled")
    stop = text[60:80]
    assert completed(stop=[stop, "never said"])[:2] == (text[: text.index(stop)], "stop")
    stream = client.chat.completions.create(model="testing", messages=said(ENDLESS), stop=stop, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == text[: text.index(stop)]


def test_a_key_belongs_to_one_question(client: OpenAI, responsa: Responsa) -> None:
    key = {"Idempotency-Key": str(uuid7())}
    raw = client.chat.completions.with_raw_response.create(
        model="testing", messages=said(QUICK), extra_headers=key
    )
    assert responsa.get_turn(raw.headers["x-responsa-turn"]).request_id == key["Idempotency-Key"]
    with pytest.raises(openai.ConflictError) as caught:
        client.chat.completions.create(model="testing", messages=said(ENDLESS), extra_headers=key)
    assert (caught.value.code, caught.value.param) == ("REQUEST_ID_REUSED", "Idempotency-Key")
    assert "messages[0].content" in caught.value.message
    assert caught.value.response.headers["x-should-retry"] == "false"


def test_a_chat_goes_on_in_its_conversation(client: OpenAI, responsa: Responsa) -> None:
    def ask(messages: Any, **headers: str) -> tuple[str, str, str]:
        raw = client.chat.completions.with_raw_response.create(
            model="default", messages=messages, extra_headers=headers
        )
        text = raw.parse().choices[0].message.content or ""
        return raw.headers["x-responsa-conversation"], raw.headers["x-responsa-turn"], text

    chat = [{"role": "system", "content": "You are a pirate."}, *said(f'{FERRY} *{uuid7()}* "\\')]
    conversation, _, text = ask(chat)
    chat += [{"role": "assistant", "content": f"{text}\n"}, *said("And when does it leave in winter?")]
    key = {"Idempotency-Key": "a key of the user's own"}
    same, turn, reply = ask(chat, **key)
    assert same == conversation
    assert len([*responsa.messages(conversation)]) == 4
    # A repetition comes when the conversation has gone on.
    assert ask(chat, **key) == (conversation, turn, reply)
    with pytest.raises(openai.ConflictError):
        client.chat.completions.create(model="chat", messages=chat, extra_headers=key)
    # The same question after the same messages is asked anew, elsewhere, with these messages.
    branch, _, again = ask(chat)
    assert branch != conversation
    assert again == reply
    longer = [*chat, {"role": "assistant", "content": again}, *said("And in summer?")]
    assert ask(longer)[0] in (conversation, branch)
    assert ask(said(FERRY), **{"responsa-conversation": branch})[0] == branch


def test_a_response_is_followed_from_a_place_and_cancelled(client: OpenAI, http: httpx2.Client) -> None:
    events = [*client.responses.create(model="testing", input=QUICK, stream=True)]
    numbers = [event.sequence_number for event in events]
    assert numbers == sorted(set(numbers))
    kinds = [event.type for event in events]
    assert kinds[:4] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ]
    assert kinds[-4:] == [
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    whole = events[-1].response
    assert (
        "".join(event.delta for event in events if event.type == "response.output_text.delta")
        == whole.output_text
    )
    stored = client.responses.retrieve(whole.id)
    assert (stored.status, stored.output_text) == ("completed", whole.output_text)
    assert stored.background is whole.background is True
    for after in (numbers[0], numbers[len(numbers) // 2], numbers[-2], numbers[4] + 5):
        rest = [*client.responses.retrieve(whole.id, stream=True, starting_after=after)]
        assert rest[0].sequence_number > after
        text = "".join(event.delta for event in rest if event.type == "response.output_text.delta")
        assert text == whole.output_text[max(0, after - 3) :]
        assert rest[-1].response.output_text == whole.output_text

    key = {"Idempotency-Key": str(uuid7())}
    for _ in range(2):
        running = client.responses.create(model="testing", input=ENDLESS, background=True, extra_headers=key)
        assert running.status == "in_progress"
    for one in (whole, running):
        with pytest.raises(openai.BadRequestError) as caught:
            client.responses.retrieve(one.id, stream=True, starting_after=99_999)
        assert (caught.value.code, caught.value.param) == ("AFTER_SEQ_BEYOND_END", "starting_after")
    with client.responses.retrieve(running.id, stream=True) as stream:
        assert next(iter(stream)).type == "response.created"
    assert client.responses.cancel(running.id).status == "cancelled"
    assert client.responses.retrieve(running.id).status == "cancelled"
    for reply in (http.get("/v1/responses/resp_0"), http.post("/v1/responses/resp_0/cancel")):
        assert wrong(reply) == (400, "INVALID_FIELD", "response_id")
    assert wrong(http.get(f"/v1/responses/{uuid7()}")) == (404, "RESOURCE_NOT_FOUND", "response_id")
    for reply in (
        http.delete(f"/v1/responses/{running.id}"),
        http.get(f"/v1/responses/{running.id}/input_items"),
        http.post("/v1/completions", json={}),
        http.get("/v1/files"),
    ):
        assert wrong(reply) == (404, "ROUTE_NOT_FOUND", None)
    with pytest.raises(openai.NotFoundError, match="messages to /v1/chat/completions"):
        client.completions.create(model="default", prompt="Hello")
    # The contract has this path too, and OpenAI's client would take its answer for a conversation without an id.
    with pytest.raises(openai.NotFoundError, match="the response names the one that it begins"):
        client.conversations.create()
    assert http.post("/v1/conversations", json={}).json()["name"]


def test_the_end_of_a_cited_response_is_sent_once_under_the_same_numbers(client: OpenAI) -> None:
    events: list[Any] = [*client.responses.create(model="default", input=FERRY, stream=True)]
    end = [event for event in events if event.type != "response.output_text.delta"][3:]
    kinds = [event.type for event in end]
    assert kinds.count("response.output_text.annotation.added") == len(
        events[-1].response.output[0].content[0].annotations
    )
    assert len(end) > 5
    first = end[1].sequence_number - 1
    for after in range(first, events[-1].sequence_number + 1):
        rest = client.responses.retrieve(events[-1].response.id, stream=True, starting_after=after)
        assert [*rest] == [event for event in end if event.sequence_number > after]
    beyond = events[-1].sequence_number + 1
    with pytest.raises(openai.BadRequestError, match=f"ends at {beyond - 1}"):
        client.responses.retrieve(events[-1].response.id, stream=True, starting_after=beyond)


def test_an_administrator_cancels_a_response_and_reads_nothing_of_it(
    second: Instance, http: httpx2.Client, responsa: Responsa
) -> None:
    registry = Registry(second)
    try:
        _, key = registry.key_of(responsa.me().tenant.partition("/")[2], "Cara", Role.USER)
    finally:
        registry.close()
    with OpenAI(base_url=f"{second.url}/v1", api_key=key, max_retries=0) as cara:
        ended = cara.responses.create(model="testing", input=QUICK)
        running = cara.responses.create(model="testing", input=ENDLESS, background=True)
    path = f"/v1/responses/{ended.id}"
    hidden = (404, "RESOURCE_NOT_FOUND", "response_id")
    assert wrong(http.get(path)) == wrong(http.post(f"{path}/cancel")) == hidden
    told = http.post(f"/v1/responses/{running.id}/cancel").json()
    assert (told["status"], told["conversation"], told["model"]) == ("cancelled", None, "")


def test_a_response_follows_another(client: OpenAI) -> None:
    first = client.responses.create(model="default", input=FERRY, instructions="Be brief.")
    second = client.responses.create(model="default", input="And in winter?", previous_response_id=first.id)
    branch = client.responses.create(model="default", input="And in winter?", previous_response_id=first.id)
    places = [one.conversation.id for one in (first, second, branch) if one.conversation]
    assert places[0] == places[1] != places[2]
    assert branch.output_text == second.output_text
    assert [one.previous_response_id for one in (first, second, branch)] == [None, first.id, first.id]
    assert client.responses.retrieve(second.id).previous_response_id == first.id
    with pytest.raises(openai.NotFoundError) as unknown:
        client.responses.create(model="default", input="And?", previous_response_id=f"resp_{uuid7()}")
    assert (unknown.value.code, unknown.value.param) == ("RESOURCE_NOT_FOUND", "previous_response_id")
    with pytest.raises(openai.BadRequestError, match="the id of a response") as caught:
        client.responses.create(model="default", input="And?", previous_response_id="zzz")
    assert caught.value.param == "previous_response_id"


def test_models_are_agents_and_embeddings_those_of_the_installation(
    client: OpenAI, responsa: Responsa, http: httpx2.Client
) -> None:
    agents = [agent.name.partition("/")[2] for agent in responsa.agents() if agent.listed]
    assert "tutor" not in agents
    assert client.models.retrieve("tutor").id == "tutor"
    assert {one.id for one in client.models.list()} == {
        f"{agent}{kind}" for agent in agents for kind in ("", ":chores")
    }
    assert client.models.retrieve("testing:chores").id == "testing:chores"
    assert client.models.retrieve("testing").owned_by == "responsa"
    texts = [f"text {place}" for place in range(70)]
    coded = client.embeddings.create(model="", input=texts)
    plain = client.embeddings.create(
        model=coded.model, input=texts[69], encoding_format="float", dimensions=384
    )
    assert [one.index for one in coded.data] == [*range(70)]
    assert coded.data[69].embedding == pytest.approx(plain.data[0].embedding, abs=1e-6)
    assert coded.usage.prompt_tokens == coded.usage.total_tokens >= 140
    for body, code, param in (
        ({"input": [1, 2, 3]}, "INVALID_FIELD", "input"),
        ({"input": "a", "dimensions": 12}, "INVALID_FIELD", "dimensions"),
        ({"input": "a", "model": "text-embedding-3-small"}, "EMBEDDING_UNKNOWN", "model"),
    ):
        reply = http.post("/v1/embeddings", json=body)
        assert wrong(reply) == (400, code, param)
    assert f"empty for {coded.model}" in reply.json()["error"]["message"]


IMAGE: Final = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}]
FUNCTION: Final = {"type": "function", "function": {"name": "f"}}
WRONG: Final[Mapping[str, tuple[Mapping[str, Any], int, str, str | None]]] = {
    "no messages": ({"messages": []}, 400, "INVALID_FIELD", "messages"),
    "ends with an answer": (
        {"messages": [*said("a"), {"role": "assistant", "content": "b"}]},
        400,
        "INVALID_FIELD",
        "messages",
    ),
    "an image": (
        {"messages": [{"role": "user", "content": IMAGE}]},
        400,
        "INVALID_FIELD",
        "messages[0].content[0]",
    ),
    "a strange role": (
        {"messages": [{"role": "narrator", "content": "a"}]},
        400,
        "INVALID_FIELD",
        "messages[0].role",
    ),
    "half a character": ({"messages": said("\ud800")}, 400, "INVALID_FIELD", "messages[0].content"),
    "a long question": ({"messages": said("a" * 16_385)}, 400, "INVALID_FIELD", "messages[0].content"),
    "a megabyte": ({"messages": said("a" * MAX_BODY)}, 400, "MALFORMED_MESSAGE", None),
    "two choices": ({"n": 2}, 400, "INVALID_FIELD", "n"),
    "probabilities": ({"logprobs": True}, 400, "INVALID_FIELD", "logprobs"),
    "a tool that must be called": (
        {"tools": [FUNCTION, {"function": {"name": "g"}}], "tool_choice": "required"},
        400,
        "INVALID_FIELD",
        "tool_choice",
    ),
    "a tool that is not there": (
        {"tools": [FUNCTION], "tool_choice": {"type": "function", "function": {"name": "g"}}},
        400,
        "INVALID_FIELD",
        "tool_choice",
    ),
    "sound": ({"modalities": ["text", "audio"]}, 400, "INVALID_FIELD", "modalities"),
    "XML": ({"response_format": {"type": "xml"}}, 400, "INVALID_FIELD", "response_format"),
    "JSON without a model": (
        {"response_format": {"type": "json_object"}},
        400,
        "AGENT_WITHOUT_MODEL",
        None,
    ),
    "no tokens": ({"max_tokens": 0}, 400, "INVALID_FIELD", "max_tokens"),
    "a word for a flag": ({"stream": "yes"}, 400, "INVALID_FIELD", "stream"),
    "an unknown agent": ({"model": "gpt-4"}, 404, "RESOURCE_NOT_FOUND", "model"),
    "a bad name": ({"model": "GPT 4"}, 400, "INVALID_FIELD", "model"),
    "an unknown collection": (
        {"responsa": {"options": {"scope": {"collections": ["collections/none"]}}}},
        404,
        "RESOURCE_NOT_FOUND",
        None,
    ),
    "an unknown option": ({"responsa": {"colour": 1}}, 400, "INVALID_FIELD", "responsa.colour"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_request_gets_an_error_of_this_api(http: httpx2.Client, name: str) -> None:
    change, code, reason, param = WRONG[name]
    body = json.dumps({"model": "default", "messages": said("a"), **change})
    reply = http.post("/v1/chat/completions", content=body, headers={"content-type": "application/json"})
    assert wrong(reply) == (code, reason, param)
    if name == "an unknown agent":
        assert "testing" in reply.json()["error"]["message"]


def test_what_has_no_effect_is_accepted_and_named(http: httpx2.Client, second: Instance) -> None:
    body = {
        "messages": [{"role": "developer", "content": "Shout."}, *said(QUICK)],
        "temperature": 0.2,
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "tool_choice": "auto",
        "unheard_of": {"a": 1},
    }
    reply = http.post("/v1/agents/testing/chat/completions", json=body)
    assert reply.json()["model"] == "testing"
    assert reply.headers["x-responsa-ignored"] == "messages[0], temperature, unheard_of"
    anyone = httpx2.post(f"{second.url}/chat/completions", json=body)
    assert wrong(anyone) == (401, "CREDENTIAL_MISSING", None)
    assert wrong(http.post("/v1/chat/completions", data={"messages": "a"})) == (
        400,
        "MALFORMED_MESSAGE",
        None,
    )


def test_each_path_has_a_rule() -> None:
    assert {row.call for row in ROWS} <= set(RULES)


def test_the_client_of_node(second: Instance) -> None:
    environment = {**os.environ, "OPENAI_BASE_URL": f"{second.url}/v1", "OPENAI_API_KEY": second.key}
    done = subprocess.run(
        ["node", ROOT / "tests/system/openai_client.mjs", QUICK],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["streamed"] == found["answer"] == found["response"] != ""
    assert found["resumed"] == found["response"][7:]
    assert found["models"]
    assert found["dimensions"] == 384
    assert found["error"] == ["INVALID_FIELD", "n"]


def test_llm_of_the_command_line(second: Instance, tmp_path: Path) -> None:
    model = {
        "model_id": "responsa",
        "model_name": "testing",
        "api_base": f"{second.url}/v1",
        "api_key_name": "responsa",
    }
    (tmp_path / "extra-openai-models.yaml").write_text(json.dumps([model]))
    (tmp_path / "keys.json").write_text(json.dumps({"responsa": second.key}))
    environment = {**os.environ, "LLM_USER_PATH": str(tmp_path), "LLM_LOAD_PLUGINS": ""}
    command = [Path(sys.executable).with_name("llm"), "--model", "responsa", "--system", "Shout.", QUICK]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == 40
