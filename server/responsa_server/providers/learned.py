"""What models do not take, and how requests do without it. It is learned from refusals, by the server's address and the
model, and kept for a day."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Final, TypeAlias

import structlog

from responsa_server.domain.models import ModelError, ModelFault, ModelPrompt, PromptMessage, Provenance, Role
from responsa_server.providers.settings import CompatibleSettings

Facts: TypeAlias = Mapping[str, float]
"""What was learned of a model: 0 for each name of FIELDS that its server refuses; `window`, in tokens; `ratio`, the greatest
of the tokens that the server counts to those of `count_tokens`; `texts`, the most in a request for vectors; `text_calls`,
1 if it writes calls of tools as text. By the provider's name instead of the address: `failures`, the calls that have failed in
a row, up to three, and `cause`, the place of their ModelFault."""
Key: TypeAlias = tuple[str, str]
"""A server's address, or a provider's name; and its name of the model."""
TEST: Final = "model_test"
"""The purpose of prompts without texts of users. Of these, nothing is left out that an error does not name."""
TOKEN: Final = re.compile(
    r" ?[A-Za-z]{1,5}| ?[0-9]{1,3}| ?[\u0080-\u07FF]{1,2}|[ \t\r\n]{1,6}|.", re.ASCII | re.DOTALL
)
"""About a token of any script."""
_SCHEMA: Final = r"response_?format|json_?schema|structured.output|output_config"
_ROLES: Final = r"system.(?:role|message|prompt|instruct)|role.{0,12}system|roles? (?:must alternate|are)"
FIELDS: Final = {
    "temperature": (re.compile("temperature", re.I), ""),
    "response_format": (re.compile(_SCHEMA, re.I), ""),
    "stream_options": (re.compile("stream_options|include_usage", re.I), ""),
    # A request has one of the two: the other one if one is refused, none if both are.
    "max_tokens": (re.compile(r"\bmax_tokens", re.I), "completion_limit"),
    "max_completion_tokens": (re.compile("max_completion_tokens", re.I), "completion_limit"),
    "tools": (re.compile(r"\btools?\b|function.call|tool_c", re.I), "tools"),
    "system": (re.compile(_ROLES, re.I), ""),
    "reasoning": (re.compile("reasoning|extra_content", re.I), ""),
}
"""What a server may refuse: its words in an error, and the setting that decides instead if it is given; "" for none."""
_LIMITS: Final = ("max_tokens", "max_completion_tokens")
_MOST_TRIES: Final = 4
_LEAST_SHARE: Final = 1 / 8
_MESSAGE_TOKENS: Final = 8
_TOO_LARGE, _LONG_PROMPT = 413, 1000
# A ratio counts from so many estimated tokens, and up to so much.
_LEAST_COUNTED, _MOST_RATIO = 500, 3.0
_LEAST_WINDOW: Final = 1_000
_IN_A_ROW: Final = 3
_FAULTS: Final = tuple(ModelFault)
# A last line that is no longer may end the marks around a text, so it is not cut off.
_LONGEST_MARK: Final = 80
# 404 and 500 are gateways' and templates' answers to what they do not take.
_REFUSALS: Final = (400, 422, 404, 500, _TOO_LARGE)
_TOO_LONG: Final = re.compile(
    r"context.?(?:length|size|window)|too many (?:input )?tokens|(?:prompt|input) is too long|reduce the length|"
    r"maximum (?:prompt length|number of tokens|context)|inputs`? tokens|tokens? .{0,40}exceed|exceed.{0,40} tokens",
    re.I | re.S,
)
_WINDOW: Final = re.compile(
    r".*n_ctx\D{0,4}(\d{3,8})|.*?(?:context (?:length|size|window)|prompt length|length of only|allowed|must be <=|cannot exceed|tokens >)"
    r"[^\d.;]{0,24}(\d{3,8})|.*?(\d{3,8}) (?:tokens? )?maximum",
    re.I | re.S,
)


class Learned:
    """The facts of all models, for one process. `take_new` and `replace` exchange them with the other ones."""

    def __init__(self) -> None:
        self._facts: Mapping[Key, Facts] = {}
        self._new: dict[Key, Facts] = {}

    def of(self, key: Key, settings: Collection[str] = ()) -> Facts:
        """The facts of a model, without those that settings decide. settings: the names of those that are given."""
        known = {**self._facts.get(key, {}), **self._new.get(key, {})}
        return {name: value for name, value in known.items() if FIELDS.get(name, ("", ""))[1] not in settings}

    def note(self, key: Key, facts: Facts) -> None:
        known = self.of(key)
        if new := {name: value for name, value in facts.items() if known.get(name) != value}:
            self._new[key] = {**self._new.get(key, {}), **new}
            if "failures" not in facts:
                structlog.get_logger("models").info("model_learned", model=key[1], **new)

    def note_call(self, name: str, fault: ModelFault | None) -> None:
        """Count a call of `provider:model` that has failed; with another fault than before, the count begins again. fault: None for a
        call that has not failed."""
        provider, _, model = name.partition(":")
        known = self.of((provider, model))
        cause = known.get("cause", 0.0) if fault is None else float(_FAULTS.index(fault))
        count = known.get("failures", 0.0) if known.get("cause") == cause else 0.0
        if fault is not None or count:
            failures = 0.0 if fault is None else min(count + 1, _IN_A_ROW)
            self.note((provider, model), {"failures": failures, "cause": cause})

    def list_failing(self) -> Mapping[str, ModelFault]:
        """The models that have failed three times in a row, as `provider:model`, with the cause."""
        known = {key: self.of(key) for key in {**self._facts, **self._new}}
        return {
            ":".join(key): _FAULTS[int(facts["cause"])]
            for key, facts in sorted(known.items())
            if facts.get("failures", 0.0) >= _IN_A_ROW
        }

    def take_new(self) -> Mapping[Key, Facts]:
        """What is to be stored. It stays until `replace`."""
        return dict(self._new)

    def replace(self, stored: Mapping[Key, Facts], sent: Mapping[Key, Facts]) -> None:
        """Take what is stored. sent: what was taken before, and is stored by now."""
        self._facts = stored
        self._new = {key: facts for key, facts in self._new.items() if sent.get(key) is not facts}


def limit_name(without: Collection[str], *, completion: bool) -> str:
    """The name of the limit of an answer in a request; "" for none. completion: whether the second one is preferred."""
    return next((name for name in _LIMITS[:: -1 if completion else 1] if name not in without), "")


def count_tokens(prompt: ModelPrompt) -> int:
    """An estimate of the tokens of a prompt with its tools and its schema."""
    texts = [*(message.text for message in prompt.messages), prompt.prefix]
    texts += [f"{card.id} {card.description} {json.dumps(dict(card.parameters))}" for card in prompt.tools]
    texts += [json.dumps(dict(call.arguments)) for message in prompt.messages for call in message.requests]
    texts += [json.dumps(dict(prompt.schema))] if prompt.schema else []
    return sum(len(TOKEN.findall(text)) + _MESSAGE_TOKENS for text in texts if text)


def shorten(prompt: ModelPrompt, share: float) -> ModelPrompt:
    """The prompt with about this share of its history, the latest, and of its passages and results of tools, the first."""
    if share == 1:
        return prompt
    left = share * sum(len(message.text) for message in prompt.messages if message.history)
    messages = list[PromptMessage]()
    for message in reversed(prompt.messages):
        left -= len(message.text) if message.history else 0
        if message.place in (Provenance.RETRIEVED, Provenance.TOOL):
            last = message.text[max(0, message.text.rfind("\n")) :]
            last = last if len(last) <= _LONGEST_MARK else ""
            text = message.text[: min(int(share * len(message.text)), len(message.text) - len(last))] + last
            documents = message.documents[: max(1, int(share * len(message.documents)))]
            messages.append(replace(message, text=text, documents=documents))
        elif left >= 0 or not message.history:
            messages.append(message)
    return replace(prompt, messages=messages[::-1])


def _fit(prompt: ModelPrompt, window: int, ratio: float) -> ModelPrompt:
    """The prompt, so short that it has a place with its answer in a window. ratio: see Facts."""
    reserve, size, shorter = min(prompt.max_tokens, window // 4), 0, prompt
    for share in (1.0, *(0.8**step for step in range(1, 20)), 0.0):
        shorter = shorten(prompt, share)
        if (size := int(count_tokens(shorter) * ratio)) <= window - reserve:
            break
    return replace(shorter, max_tokens=max(1, min(reserve, window - size)))


@dataclass(slots=True)
class Trial:
    """The tries of one call. new: what is learned if the latest try has an answer."""

    prompt: ModelPrompt
    facts: Facts
    server: CompatibleSettings
    new: dict[str, float] = field(default_factory=dict[str, float])
    sent: ModelPrompt = field(init=False)
    _own: set[str] = field(default_factory=set[str])
    _tries: int = 0
    _share: float = 1.0

    def request(self) -> ModelPrompt:
        """The prompt of the next try."""
        facts = {**self.facts, **self.new}
        without = self.prompt.without | self._own | {name for name in FIELDS if facts.get(name) == 0}
        without |= set[str]() if self.server.tools else {"tools"}
        sent = reduce(_leave_out, without, shorten(replace(self.prompt, without=without), self._share))
        if window := self.server.window or int(facts.get("window", 0)):
            sent = _fit(sent, window, facts.get("ratio", 1.0))
        self.sent = sent
        return sent

    def count(self, counted: int) -> Facts:
        """What the usage of an answer shows. counted: the tokens of the prompt that its server reports; 0 if it does not."""
        estimated = (
            count_tokens(self.sent) if counted and (self.server.window or "window" in self.facts) else 0
        )
        ratio = round(min(counted / estimated, _MOST_RATIO), 2) if estimated >= _LEAST_COUNTED else 0.0
        return {"ratio": ratio} if ratio > self.facts.get("ratio", 0.0) else {}

    def cures(self, error: ModelError) -> bool:
        """Whether the next try may cure the error: with a shorter prompt, or without what the error names, or else, in a turn and
        for this call alone, with half of the prompt and without all that it may mean."""
        status = error.status or (_REFUSALS[0] if error.fault is ModelFault.REFUSED else 0)
        self._tries += 1
        if status not in _REFUSALS or error.fault is ModelFault.CREDENTIAL or self._tries > _MOST_TRIES:
            return False
        if status == _TOO_LARGE or _TOO_LONG.search(error.detail):
            return self._shorten(error.detail)
        return self._leave_out_named(error.detail) or (status in _REFUSALS[:2] and self._try_unnamed())

    def _shorten(self, detail: str) -> bool:
        match = None if self.server.window else _WINDOW.match(detail)
        window = (match[1] or match[2] or match[3]) if match else "0"
        if int(window) >= _LEAST_WINDOW and not self._echoes(window):
            self.new["window"] = int(window)
        # The test of a window that is set tells that it is too large.
        if self.server.window and self.prompt.purpose == TEST:
            return False
        self._share /= 2
        return self._share >= _LEAST_SHARE

    def _leave_out_named(self, detail: str) -> bool:
        for name in self._list_sent():
            if match := FIELDS[name][0].search(detail):
                # An error of a call that was made does not say that the model takes no tools.
                called = name == "tools" and any(each.requests for each in self.sent.messages)
                if called or self._echoes(match.group()):
                    self._own.add(name)
                else:
                    self.new[name] = 0
                return True
        return False

    def _try_unnamed(self) -> bool:
        if self.prompt.purpose == TEST or (self._own and self._share < 1):
            return False
        if self._share == 1 and (self._own or count_tokens(self.sent) > _LONG_PROMPT):
            self._share = 0.5
            return True
        self._own.update(name for name in self._list_sent() if name not in _LIMITS)
        return bool(self._own)

    def _list_sent(self) -> Sequence[str]:
        """The fields of the latest try that no setting decides."""
        limit = limit_name(self.sent.without, completion=self.server.completion_limit)
        absent = self.sent.without | set(_LIMITS) - {limit}
        return [
            name
            for name, (_, setting) in FIELDS.items()
            if name not in absent
            and setting not in self.server.model_fields_set
            and (name in (limit, "stream_options") or _leave_out(self.sent, name) is not self.sent)
        ]

    def _echoes(self, words: str) -> bool:
        """Whether a user or a document writes these words, so that nothing is learned from an error that has them: it may quote
        the prompt, in whatever notation. A test's prompts are the server's own."""
        if self.prompt.purpose == TEST:
            return False
        others = (each.text for each in self.prompt.messages if each.place is not Provenance.INSTRUCTION)
        return any(words.lower() in text.lower() for text in others)


def _leave_out(prompt: ModelPrompt, name: str) -> ModelPrompt:
    """The prompt without a field; the same object if it does not have it. Without tools, calls and their results are text."""
    messages = prompt.messages
    match name:
        case "system" if system := [each for each in messages if each.role is Role.SYSTEM]:
            # Messages of one role are joined.
            first = PromptMessage(Role.USER, "\n\n".join(each.text for each in system))
            return replace(prompt, messages=[first, *(each for each in messages if each not in system)])
        case "tools" if prompt.tools or any(each.role is Role.TOOL for each in messages):
            return replace(prompt, tools=(), messages=list(_plain(messages)))
        case "reasoning" if any(call.signature for each in messages for call in each.requests):
            bare = [[replace(call, signature="") for call in each.requests] for each in messages]
            pairs = zip(messages, bare, strict=True)
            return replace(prompt, messages=[replace(each, requests=calls) for each, calls in pairs])
        case "temperature" if prompt.temperature is not None:
            return replace(prompt, temperature=None)
        case "response_format" if prompt.schema:
            return replace(prompt, schema=None)
        case _:
            return prompt


def _plain(messages: Sequence[PromptMessage]) -> Iterator[PromptMessage]:
    asked = {request.call_id: request for message in messages for request in message.requests}
    for message in messages:
        if message.role is Role.TOOL:
            call = asked.get(message.answers)
            words = (
                call and f" {call.tool}, called with {json.dumps(dict(call.arguments), ensure_ascii=False)}"
            )
            text = f"The result of the tool{words or ''}:\n\n{message.text}"
            yield PromptMessage(Role.USER, text, place=Provenance.RETRIEVED)
        elif not message.requests:
            yield message
        elif message.text:
            yield replace(message, requests=())
