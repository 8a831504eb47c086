from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from typing import SupportsIndex

import pytest

from responsa_formats.text.languages import UNKNOWN, language_of
from responsa_server.text.lexical import MAX_QUERY_TERMS, MAX_TERM_CHARS, Analyzer, tsvector_literal


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("How does a client go on after its connection was cut?", "en"),
        ("¿Cómo sigue un cliente después de que se corta la conexión?", "es"),
        ("Wie macht ein Client weiter, nachdem die Verbindung getrennt wurde?", "de"),
        ("Comment un client continue-t-il après la coupure de la connexion ?", "fr"),
        ("Как клиент продолжает после обрыва соединения?", "ru"),
        ("连接中断后客户端如何继续？", "zh"),
        ("接続が切れたあとクライアントはどう続けますか", "ja"),
        ("كيف يستمر العميل بعد انقطاع الاتصال؟", "ar"),
        ("कनेक्शन टूटने के बाद क्लाइंट कैसे आगे बढ़ता है?", "hi"),
        ("i am interested in a new plan", "en"),
        ("responsa.toml 42", UNKNOWN),
        ("", UNKNOWN),
    ],
)
def test_languages_are_told_by_script_and_common_words(text: str, code: str) -> None:
    assert language_of(text) == code


@pytest.mark.parametrize(
    ("text", "language", "terms"),
    [
        ("Connections are connected", "en", ["connect", "are", "connect"]),
        ("Newton's client doesn't", "en", ["newton", "client", "doesn"]),
        ("1,000 passages, 3.5 ms", "en", ["1000", "passag", "3.5", "ms"]),
        ("the U.S. office", "en", ["the", "us", "offic"]),
        ("max_tokens", "en", ["max_token", "max", "token"]),
        ("getPassageById", "en", ["getpassagebyid", "get", "passag", "by", "id"]),
        ("rope¹ of H₂O", "en", ["rope1", "rope", "of", "h2o"]),
        ("Café naïve", "en", ["cafe", "naiv"]),
        ("Verbindungen", "de", ["verbind"]),
        ("世界很大 ok", "zh", ["世界", "界很", "很大", "ok"]),
        ("नमस्ते दुनिया", "hi", ["नमस्त", "दुनिय"]),
        ("환불은 3일 안에", "ko", ["환불", "불은", "3", "일", "안에"]),
        ("ห้องสมุด", "th", ["ห้อ", "้อง", "องส", "งสม", "สมุ", "มุด"]),
        ("Kündigungsfrist", "de", ["kundigungsfrist", "kundig", "frist"]),
        (
            "Besucherparkplatz, Verbindungen",
            "de",
            ["besucherparkplatz", "besuch", "park", "platz", "verbind"],
        ),
        ("Kündigungsfrist", "en", ["kundigungsfrist"]),
        ("Depo anahtarları", "tr", ["depo", "anahtar"]),
        ("ISITMA, ısıtma, İstanbul, istanbul", "tr", ["isitma", "isitma", "istanbul", "istanbul"]),
        ("İstanbul ısıtma", "en", ["istanbul", "isitma"]),
        ("۴۵۱۲ ٤٥١٢ ４５１２ ४५१२", "fa", ["4512"] * 4),
        ("٣٫٥ ١٬٠٠٠ ٢٠٪", "ar", ["3.5", "1000", "20"]),
        ("", "en", []),
    ],
)
def test_terms(text: str, language: str, terms: list[str]) -> None:
    assert list(Analyzer().terms(text, language)) == terms


def test_tokens_know_their_characters() -> None:
    text = "Größe: 世界很大, getName"
    for token in Analyzer().tokens(text, "de"):
        assert text[token.start : token.end]
    assert [text[token.start : token.end] for token in Analyzer().tokens(text, "de")][:3] == [
        "Größe",
        "世界",
        "界很",
    ]


def test_no_term_is_empty_or_longer_than_the_limit() -> None:
    analyzer = Analyzer()
    odd = [
        "x" * 5000,
        "U.S." * 5000,
        "1,000" * 5000,
        "و",
        "في السنة للتي",
        "ﷺ",
        "ª º",
        "_",
        "__init__",
        "a_",
        "٠١٢",
    ]
    for text in odd:
        for language in ("en", "ar", ""):
            assert all(0 < len(term) <= MAX_TERM_CHARS * 4 for term in analyzer.terms(text, language))


def compounds(count: int, length: int) -> Iterator[str]:
    """Distinct words of many parts each."""
    for number in range(count):
        distinct = "".join(f"{chr(97 + int(digit))}Z" for digit in f"{number:05}")
        yield (distinct + f"a{distinct[0]}B{distinct[-2]}cdEf" * length)[:length]


@pytest.mark.parametrize(
    "texts",
    [
        pytest.param(lambda: compounds(120, 16 * 1024), id="words of 16 KiB"),
        pytest.param(lambda: (f"{word}の" for word in compounds(8000, 63)), id="words that are cached"),
        pytest.param(lambda: (f"word{number}" for number in range(20_000)), id="short words"),
    ],
)
def test_an_analyzer_keeps_a_limited_number_of_bytes(texts: Callable[[], Iterator[str]]) -> None:
    languages = ("en", "de", "ru", "")
    analyzer = Analyzer()
    tracemalloc.start()
    try:
        for number, text in enumerate(texts()):
            assert analyzer.terms(text, languages[number % len(languages)])
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 5 * 1024 * 1024


def test_a_compound_has_at_most_32_parts() -> None:
    first = Analyzer().terms("_".join(f"part{chr(97 + one)}" for one in range(26)), "")
    assert len(first) == 27
    assert len(Analyzer().terms("aaBb" * 5000, "")) == 33


def test_a_question_keeps_its_content_words_once() -> None:
    analyzer = Analyzer()
    assert analyzer.query_terms("How is a turn cancelled, and by whom is the turn cancelled?", "en") == [
        "turn",
        "cancel",
    ]
    assert analyzer.query_terms("Who are they?", "en") == ["who", "are", "they"]
    assert analyzer.query_terms("Is the US in it?", "en") == ["us"]


def test_a_tsvector_has_titles_apart_and_quotes_what_must_be() -> None:
    assert tsvector_literal(["turn"], ["a", "o'neil", "back\\slash", "turn"]) == (
        "'turn':1A,6 'a':3 'o''neil':4 'back\\\\slash':5"
    )
    many = tsvector_literal([], ["spam"] * 100_000)
    assert many.count(",") == 254


@pytest.mark.parametrize(
    "text",
    [" ".join(f"word{one}x" for one in range(2000)), "".join(chr(0x4E00 + one) for one in range(5000))],
)
def test_a_searched_text_has_a_limited_number_of_terms(text: str) -> None:
    found = Analyzer().query_terms(text)
    assert len(found) == MAX_QUERY_TERMS
    # They are the first ones.
    assert found == list(dict.fromkeys(token.term for token in Analyzer().tokens(text)))[:MAX_QUERY_TERMS]


def test_a_long_compound_is_looked_at_once_and_not_once_for_each_part() -> None:
    class Counted(str):
        """A text that counts the characters that are copied from it."""

        copied = 0
        __slots__ = ()

        def __getitem__(self, key: SupportsIndex | slice) -> str:
            piece = super().__getitem__(key)
            Counted.copied += len(piece)
            return piece

    text = Counted("aBc" * 4000)
    assert Analyzer().query_terms(text)
    assert Counted.copied <= 2 * len(text)


@pytest.mark.parametrize(
    ("language", "text", "terms"),
    [
        ("de", "1.200,50 und 1.200 und 12,5", ["1200.50", "und", "1200", "und", "12.5"]),
        ("en", "1,200.50 1,200 12.5 5.00 3.10.2", ["1200.50", "1200", "12.5", "5", "3.10.2"]),
        ("fr", "12\u202f000", ["12000"]),
        ("en", "DE12 5001 0517 5407 3249 33", ["de12500105175407324933"]),
        ("en", "DE12500105175407324933", ["de12500105175407324933"]),
        ("en", "DE-1234/5 00420", ["de-1234/5", "de12345", "de", "1234", "5", "00420"]),
        ("de", "T-12 T12", ["t-12", "t12", "t", "12", "t12", "12"]),
        ("en", "24-hour 10-12", ["24", "hour", "10", "12"]),
        ("da", "Smørrebrød", ["smorrebrod"]),
        ("pl", "Łódź", ["lodz"]),
    ],
)
def test_values_signs_and_letters_are_alike(language: str, text: str, terms: list[str]) -> None:
    assert [*Analyzer().terms(text, language)] == terms
