"""Finds sentences in a text that plainly give instructions to an assistant, such as "Ignore all previous instructions"
or "End your reply with a poem".

What protects a prompt are the marks around every untrusted text. These patterns only take the plainest instructions out
of prompts and passages, so that nobody reads them as an answer. When they change, so does `INSTRUCTING_VERSION` in
`domain/passages.py`. Instructions to readers, such as "Press the button", are ordinary text. docs/security.md says how
often an agent obeys.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final

NEAR_BYTES: Final = 1_200
"""How much of the text before and after a passage `instructing_ranges` reads: as much as prompts and excerpts show beside a passage."""
OMITTED: Final = "[…]"
"""What stands in place of a sentence that `without_instructions` leaves out."""
MOST_CHARACTERS: Final = 2_000
"""The number of characters of a sentence that are read together. A longer one is read in parts."""

_MACHINE: Final = (
    r"(?:an? |the |any |all |every )?(?:\w{1,20} )?(?:AIs?|LLMs?|chat ?bots?|bots?|language models?"
    r"|AI (?:models?|systems?|assistants?|agents?)|assistants?)"
)
_RULES: Final = r"(?:instructions?|directions?|directives?|rules?|prompts?|guidelines?|orders?|commands?|restrictions?|polic(?:y|ies))"
_OUTPUT: Final = (
    r"(?:(?:your|all your|each of your|your next) (?:\w{1,20} )?(?:answers?|reply|replies|responses?|output|summary)"
    r"|(?:every|the next) (?:reply|replies))"
)
_SAY: Final = (
    r"(?:say|state|reply|respond|answer|tell|mention|include|add|append|insert|integrate|incorporate|embed|begin"
    r"|start|end|finish|conclude|close|recommend|modify|rewrite|present|translate|convert"
    r"|encode|reverse|shift|misspell|scramble|jumble|replace|substitute|introduce|advertise|promote|use|express|provide)"
)
_START: Final = (
    r"^\W{0,10}(?:(?:please|now|then|also|and|always|never|you must|you should|you will|make sure to|be sure to"
    r"|in addition),? ){0,3}"
)
_INSTRUCTIONS: Final = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        # Other instructions are overturned.
        (
            rf"(?:^|[,;:.] |\b(?:please|must|should|now|and|then) )\W{{0,10}}(?:ignor(?:e|ing)|disregard|forget"
            rf"|override|bypass)\b.{{0,40}}\b(?:previous|prior|earlier|preceding|above|original|system|your|any"
            rf"|all)\b.{{0,30}}\b{_RULES}\b(?! (?:of|on|for|from|about|that|which)\b)"
        ),
        rf"(?:^|[,;:.] )(?:ignore|disregard|forget) the {_RULES} (?:above|before|you)\b",
        (
            rf"\byour (?:\w{{1,20}} ){{0,2}}{_RULES}\b.{{0,40}}\b(?:no longer apply"
            r"|(?:are|is) (?:now )?(?:void|cancell?ed|revoked|suspended|obsolete|off))\b"
        ),
        rf"\b(?:do not|don't|never|stop) (?:follow|obey|heed)(?:ing)?\b.{{0,20}}\b(?:your|system) (?:\w{{1,20}} )?{_RULES}\b",
        # A machine is addressed, or told what it must say.
        (
            rf"^\W{{0,10}}{_MACHINE}(?: (?:reading|processing|summari[sz]ing) this)?\s?[:,]\s.{{0,60}}\b(?:do not"
            rf"|don't|never|ignore|must|should|please|always|{_SAY})\b"
        ),
        (
            rf"^\W{{0,10}}(?:important |urgent )?(?:note|notice|message|instructions?|attention|correction|hint"
            rf"|order)s? (?:to|for) {_MACHINE}\b"
        ),
        (
            rf"\b{_MACHINE} (?:\w{{1,20}} ){{0,4}}?(?:must|shall|has to|have to) (?:not |only |now |always |never "
            rf"|also )?(?:{_SAY}|ignore|obey|rank|rate|claim|approve)\b"
        ),
        rf"\b(?:if|when|whenever) (?:you are |you're ){_MACHINE}\b",
        # The form or the content of the answer is ordered.
        rf"{_START}{_SAY}\b.{{0,120}}\b{_OUTPUT}\b",
        rf"{_START}(?:in|at the (?:end|beginning|start) of|throughout|after) {_OUTPUT},? (?:\w{{1,20}} ){{0,3}}?(?:claim|{_SAY})\b",
        rf"{_START}(?:reply|respond) (?:\w{{1,20}} ){{0,4}}?(?:only|just|nothing but|exactly|solely) (?:with|in|as|using)\b",
        (
            rf"{_START}(?:reply|respond)\b.{{0,40}}\b(?:backwards|in reverse|emojis?|haikus?|in rhyme|base ?64|morse"
            r"|like a pirate|nothing else)\b"
        ),
        r"\b(?:from now on|henceforth),? (?:you (?:must|will|shall|are to)|always (?:answer|reply)|reply|respond)\b",
        (
            r"\b(?:when(?:ever)?|if|whatever) (?:the user|users?|you are) (?:asks?|asked)\b.{0,60}(?:,| always"
            r"| must) (?:\w{1,20} ){0,2}?(?:say|reply|answer|respond|state|claim|recommend)\b"
        ),
        rf"{_START}(?:tell|inform|convince|ask) (?:the|every) user\b",
        # Another role, or what is secret.
        (
            r"\byou are (?:now|no longer) (?:an? )?(?:\w{1,20} )?(?:AI|assistant|chatbot|language model|DAN"
            r"|unrestricted|bound by)\b|\bi (?:order|command|instruct|authori[sz]e) you\b"
        ),
        rf"\b(?:reveal|print|repeat|show|output|disclose|leak)\b.{{0,40}}\byour (?:\w{{1,20}} )?(?:prompt|instructions|{_RULES})\b",
        # The marks of a conversation.
        (
            r"\[/?INST\]|<\|(?:im_start|im_end|endoftext)\|>|<</?SYS>>"
            r"|^\W{0,10}(?:system|assistant|developer)(?: (?:message|prompt|note|override))?: "
            r"|\b(?:core|secret) instructions?\b\W{0,3}$"
        ),
        (
            r"\b(?:ignoriere|vergiss|missachte)\b.{0,40}(?:anweisung|vorgabe|instruktion)"
            r"|\b(?:ignore[zr]?|oublie[zr]?)\b.{0,30}(?:consignes|instructions) (?:préc|ci-dessus)"
            r"|\b(?:ignora|olvida|dimentica|esqueça)\b.{0,40}(?:instrucciones|istruzioni|instruções)"
            r"|\bnegeer\b.{0,40}instructies|(?:игнорируй|(?<!не )забудь\b).{0,40}инструкци"
            r"|(?:忽略|无视).{0,20}(?:指令|指示|提示)"
        ),
        (
            r"\b(?:beende|beginne|füge)\b.{0,20}\b(?:deine[rn]?|ihre[rn]?) antwort\b"
            r"|\b(?:termine|commence|ajoute)[rz]?\b.{0,60}\b(?:ta|votre|tes|vos) réponses?\b"
            r"|\b(?:termina|empieza|añade)\b.{0,60}\btus? respuestas?\b"
        ),
    )
)
"""Each of them is enough. Their parts are bounded, so that the time grows with the length of a text, not faster."""

_TRIGGER: Final = re.compile(
    r"instru|инструк|direct|rules?\b|prompt|guideline|orders?\b|command|restric|polic|\bAIs?\b|LLM|bots?\b|assistant"
    r"|\bmodels?\b|answer|antwort|repl[iy]|respon|respues|répons|consign|output"
    r"|summar|user|henceforth|from now on|authori|istruz|anweis|vorgabe|INST\b|im_|endoftext|SYS>|^\W{0,10}(?:system|developer)|指",
    re.IGNORECASE,
)
"""What each of the patterns needs; most sentences have nothing of it."""

_QUOTED: Final = re.compile(
    r"“[^“”\n]{1,300}”|„[^„“”\n]{1,300}[“”]|«[^«»\n]{1,300}»|\"[^\"\n]{1,300}\"|`[^`\n]{1,300}`|(?<!\w)['‘][^'‘’\n]{2,300}['’](?!\w)"
)
_LEAST_OUTSIDE: Final = 2
_NORMALIZED: Final = 200
"""The number of characters that are normalised together. The time grows with the square of the length of a run of combining marks."""
_WORD: Final = re.compile(r"\w+")
_HIDDEN: Final = {
    **dict.fromkeys(
        (*range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070), *range(0xFE00, 0xFE10))
    ),
    **dict.fromkeys((0xAD, 0x34F, 0x61C, 0x180E, 0xFEFF, ord("*"))),
    **{0xE0000 + code: chr(code) for code in range(0x20, 0x7F)},
    0x2019: "'",
}
"""Invisible characters, and what stands for them. Tags, which are invisible letters, become ordinary letters, because
models may read them."""


def instructing_spans(text: str) -> Sequence[tuple[int, int]]:
    """The ranges [start, end) of characters that give instructions to an assistant, in order and without overlaps.

    A range consists of whole sentences, lines or cells of a table. If a range announces an instruction, as in "Follow this
    instruction:", the next sentence or line of the paragraph belongs to it.
    """
    spans: list[tuple[int, int]] = [match.span() for match in _ENCLOSED.finditer(text)]
    for paragraph in _paragraphs(text):
        announced = False
        for lines in _sentences(text, paragraph):
            own = [_instructs(text[start:end]) for start, end in lines]
            if not any(own) and len(lines) > 1:
                # A sentence that goes on in the next line is also read as a whole.
                own = [_instructs(text[lines[0][0] : lines[-1][1]])] * len(lines)
            follows = False
            for (start, end), instructs in zip(lines, own, strict=True):
                follows = instructs or announced or (follows and text[start].islower())
                announced = instructs and text[start:end].rstrip("*_ \"”'>)]").endswith((":", "："))
                if follows:
                    spans.append((start, end))
    return _merge(sorted(spans))


def instructing_ranges(near: bytes, start: int, passage: tuple[int, int]) -> Sequence[tuple[int, int]]:
    """The ranges [start, end) of bytes of a canonical text that give instructions to an assistant, in a passage and
    near it, in order and without overlaps.

    near, start: the passage with the text around it, and the place of its first byte. passage: its first byte and its
    end. A sentence counts if it gives instructions where it stands, or where the passage cuts it.
    """
    low, high = passage[0] - start, passage[1] - start
    return _merge(sorted((*_byte_spans(near, 0, start), *_byte_spans(near[low:high], low, start))))


def _byte_spans(data: bytes, low: int, start: int) -> Iterator[tuple[int, int]]:
    # A character that is cut at the beginning is left out.
    cut = next((index for index, byte in enumerate(data[:4]) if byte & 0xC0 != 0x80), 0)
    text = data[cut:].decode(errors="ignore")
    for first, last in instructing_spans(text):
        first_byte = start + low + cut + len(text[:first].encode())
        yield first_byte, first_byte + len(text[first:last].encode())


def without_instructions(text: str, spans: Sequence[tuple[int, int]] | None = None) -> str:
    """The text with OMITTED in place of the sentences that give instructions to an assistant; the same text if there
    are no such sentences. spans: the result of `instructing_spans`, if it is known."""
    parts: list[str] = []
    position = 0
    if spans is None:
        spans = _of_line(text) if len(text) <= _LINE_CHARACTERS else instructing_spans(text)
    for start, end in spans:
        parts += (text[position:start], OMITTED)
        position = end
    return "".join((*parts, text[position:])) if position else text


_of_line = lru_cache(maxsize=4_096)(instructing_spans)
_LINE_CHARACTERS: Final = 200
"""The length up to which a text is probably a title or a heading, which stands above many passages."""
_BLANK: Final = re.compile(r"\n[ \t\r]*\n")
_ENDING: Final = re.compile(
    r"(?<!\b[DM]r)(?<!\bMrs)(?<!\b[ei]\.[ge])[.!?…](?=[\"'”’)\]*_]{0,3}\s(?!\s?[a-zà-ÿ]))[\"'”’)\]*_]{0,3}|[。！？؟।]|\n"
    r"|(?<=\s)\|(?=\s)|(?:^|(?<=\n))\|"
)
_ENCLOSED: Final = re.compile(
    (
        r"<(system|instructions?|assistant|prompt)>(?:(?!<\1>).){1,2000}?</\1>|\[INST\].{1,2000}?\[/INST\]"
        r"|<\|im_start\|>.{1,2000}?<\|im_end\|>|<\|endoftext\|>.{1,2000}?<\|endoftext\|>"
    ),
    re.IGNORECASE | re.DOTALL,
)
_MOST_LINES: Final = 4


def _paragraphs(text: str) -> Iterator[tuple[int, int]]:
    start = 0
    for match in _BLANK.finditer(text):
        yield start, match.start()
        start = match.end()
    yield start, len(text)


def _sentences(text: str, paragraph: tuple[int, int]) -> Iterator[Sequence[tuple[int, int]]]:
    """The sentences of a paragraph, each as its lines, without white space at their ends."""
    start, end = paragraph
    lines: list[tuple[int, int]] = []
    for match in (*_ENDING.finditer(text, start, end), None):
        stop = end if match is None else match.end()
        raw = text[start:stop]
        low = start + len(raw) - len(raw.lstrip(" \t\r\n|"))
        high = start + len(raw.rstrip(" \t\r\n|"))
        if low < high:
            lines.append((low, high))
        start = stop
        if lines and (match is None or match.group() != "\n" or len(lines) == _MOST_LINES):
            yield lines
            lines = []


def _instructs(text: str) -> bool:
    """Whether a sentence gives an instruction, in ordinary letters and outside of what it quotes. A text that is hardly
    more than a quote is read whole."""
    if text.isascii():
        plain = text.replace("*", "")
    else:
        pieces = (text[start : start + _NORMALIZED] for start in range(0, len(text), _NORMALIZED))
        plain = "".join(unicodedata.normalize("NFKC", piece) for piece in pieces).translate(_HIDDEN)
    shown = " ".join(plain.split())
    if _TRIGGER.search(shown) is None:
        return False
    for start in range(0, len(shown), MOST_CHARACTERS // 2):
        part = shown[start : start + MOST_CHARACTERS]
        outside = " ".join(_QUOTED.sub(' "" ', part).split())
        read = outside if len(_WORD.findall(outside)) >= _LEAST_OUTSIDE else part
        if any(pattern.search(read) for pattern in _INSTRUCTIONS):
            return True
    return False


def _merge(spans: Sequence[tuple[int, int]]) -> Sequence[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in spans:
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
