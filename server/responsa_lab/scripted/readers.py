"""Two readers that measure everything but a model: one that answers exactly if the labelled text stands in its prompt,
and one that always answers and always invents something."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from responsa_lab.scripted.reading import NumberedPassage, ParsedPrompt, sentences, words
from responsa_lab.scripted.strong import Strong, rank, write
from responsa_server.domain.models import ModelError, ModelFault

NO_ANSWER: Final = "[[no answer]]"
"""What the engine's prompts ask for if the passages do not answer."""
JUDGING: Final = "answer_verification"
"""The purpose of a prompt that asks for a verdict on an answer."""
LABELS: Final = "SCRIPTED_LABELS"
"""The environment variable that names the file with the labels of `scripted:labelled`."""


class Label(BaseModel):
    """A question with the texts that answer it, each of them by itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    question: str
    texts: tuple[str, ...]


_FILE: Final = TypeAdapter(list[Label])
_LONGEST: Final = 400
"""The most characters of a quotation."""
_SPACE: Final = re.compile(r"\s+")
_FENCES: Final = ("```", "~~~")
_TAG: Final = re.compile(r"</?[a-zA-Z][^<>]*>")
_LINK: Final = re.compile(r"!?\[([^\[\]]*)\]\([^()]*\)")
_BULLET: Final = re.compile(r"^(?:[-*+#>]+|\d+[.)])\s+")


class _PassageReader(Strong):
    """Reads passages as its subclass does, and judges answers. Its other replies are those of the strong model."""

    def says(self, reading: ParsedPrompt) -> str:
        if reading.prompt.purpose == JUDGING:
            # Right if all words of the answer stand in one of the references, and partly right if most do.
            answer = set(words(reading.fence_text("answer")))
            references = [set(words(fence.text)) for fence in reading.fences if fence.kind == "reference"]
            known = max((len(answer & reference) for reference in references), default=0)
            verdict = "right" if known == len(answer) else "partly" if 2 * known > len(answer) else "wrong"
            return json.dumps({"reason": f"{known} of {len(answer)} words", "verdict": verdict})
        if reading.prompt.schema is not None or not reading.prompt.cites:
            return super().says(reading)
        return self.reads(reading)

    def reads(self, reading: ParsedPrompt) -> str:
        """The answer from the passages."""
        raise NotImplementedError


class LabelledReader(_PassageReader):
    """A `ChatModel` with the name `labelled`. Its other replies, such as those with a schema, are those of the strong model.

    labels: the texts that answer each question. If None, they are read from the file that LABELS names: one JSON object
    {question, texts} a line. The file is read again whenever it has changed.
    """

    def __init__(self, labels: Mapping[str, Sequence[str]] | None = None) -> None:
        super().__init__("labelled")
        self._labels = None if labels is None else {_plain(key): texts for key, texts in labels.items()}
        self._read: tuple[float, Mapping[str, Sequence[str]]] | None = None

    def reads(self, reading: ParsedPrompt) -> str:
        """The label's text and its mark, or the mark for no answer. Raises ModelError: there is no file of labels, or it cannot be read."""
        for text in self._texts(reading.question):
            for passage in reading.passages:
                if part := common(text, passage):
                    sentence = quotation(text, part)
                    return f"{sentence} {mark(passage.number, sentence)}"
        return NO_ANSWER

    def _texts(self, question: str) -> Sequence[str]:
        labels = self._labels if self._labels is not None else self._load()
        return labels.get(_plain(question), ())

    def _load(self) -> Mapping[str, Sequence[str]]:
        file = Path(os.environ.get(LABELS, ""))
        try:
            changed = file.stat().st_mtime
            if self._read is None or self._read[0] != changed:
                written = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
                labels = {_plain(line.question): line.texts for line in _FILE.validate_python(written)}
                self._read = changed, labels
        except (OSError, ValueError, ValidationError) as error:
            raise ModelError(ModelFault.REFUSED, f"{LABELS} names no file with labels: {error}") from error
        return self._read[1]


class Eager(_PassageReader):
    """A `ChatModel` with the name `eager`. It never declines: it takes the sentence of the passages that shares most
    with the question, puts another number or an invented name in, and cites the passage with the invented words as its
    quote. Its other replies are those of the strong model.
    """

    def __init__(self) -> None:
        super().__init__("eager")

    def reads(self, reading: ParsedPrompt) -> str:
        """The altered sentence and its mark. Without passages, the strong model's reply."""
        if not reading.passages:
            return write(reading)
        if best := rank(reading):
            text, number = best[0].text, best[0].number
        else:
            first = reading.passages[0]
            text, number = next(iter(sentences(first.text)), first.text), first.number
        sentence = invent(quotation(text, _plain(text)))
        return f"{sentence} {mark(number, sentence)}"


_QUOTED: Final = 6
"""How many words a quote has."""


def mark(number: int, sentence: str) -> str:
    """The mark of a passage, with words of the sentence as its quote: those around its first figure, or its first ones.
    Words with a quotation mark are not quoted."""
    words = sentence.strip("`").rstrip(".").split(" ")
    figure = next((index for index, word in enumerate(words) if re.search(r"\d", word)), 0)
    start = max(min(figure - _QUOTED // 2, len(words) - _QUOTED), 0)
    quote = " ".join(words[start : start + _QUOTED])
    return f"[{number}]" if re.search('["“”„]', quote) else f'[{number}: "{quote}"]'


_FIGURE: Final = re.compile(r"(?<![\w.,])\d+(?![\w]|[.,]\d)")
_NAME: Final = re.compile(r"(?<=[a-z,] )[A-Z][a-z]{2,}\b")
_END: Final = re.compile(r"[.!?:…]*$")


def invent(sentence: str) -> str:
    """The sentence with another number or name. A hash of the sentence decides which of them. A sentence without one
    gets one at its end."""
    number = hashlib.sha256(sentence.encode()).digest()[0] % 2 == 0
    if number:
        if match := _FIGURE.search(sentence):
            return f"{sentence[: match.start()]}{int(match[0]) * 3 + 4}{sentence[match.end() :]}"
        return _END.sub(" in 4173 cases.", sentence, count=1)
    if match := _NAME.search(sentence):
        return f"{sentence[: match.start()]}Venninck{sentence[match.end() :]}"
    return _END.sub(" at Venninck.", sentence, count=1)


def common(text: str, passage: NumberedPassage) -> str:
    """The longest run of words of the text that stands in the passage, if it has at least half of the text's characters; otherwise ""."""
    words, shown = _plain(text).split(" "), f" {_plain(passage.text)} "
    whole = len(" ".join(words))
    best = ""
    for start in range(len(words)):
        end = start + best.count(" ") + 1
        while end <= len(words) and (run := " ".join(words[start:end])) in shown:
            best, end = max(best, run, key=len), end + 1
    return best if 2 * len(best) >= whole else ""


def _plain(text: str) -> str:
    return _SPACE.sub(" ", text).strip()


def quotation(text: str, part: str) -> str:
    """A sentence as a model would write it from the text: its longest sentence or cell of a table, or its longest line
    of code, of what stands in `part`."""
    candidates: list[str] = []
    code = False
    for line in text.splitlines():
        if line.lstrip().startswith(_FENCES):
            code = not code
            continue
        shown = _LINK.sub(r"\1", _TAG.sub("", line)).strip()
        if code or "<pre" in line:
            candidates += [f"`{shown}`"] if _plain(shown) in part or "<" in line else []
            continue
        for cell in shown.split(" | "):
            candidates += [
                sentence
                for sentence in sentences(cell.strip(" |"))
                if _plain(sentence) in _LINK.sub(r"\1", _TAG.sub("", part))
            ]
    longest = max(
        (text for text in candidates if len(text) <= _LONGEST),
        key=len,
        default=part[:_LONGEST].rpartition(" ")[0],
    )
    flat = _BULLET.sub("", longest)
    return flat if flat.endswith((".", "!", "?")) else f"{flat.rstrip(':…')}."
