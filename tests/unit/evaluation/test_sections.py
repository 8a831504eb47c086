"""The figures of `responsa eval sections`."""

from __future__ import annotations

from responsa.chat.v1 import citation_pb2
from responsa.type.v1 import byte_range_pb2
from responsa_lab.evaluation.metrics import Span
from responsa_lab.evaluation.sections import Asked, SectionQuestion, meets, section_scores, sections_of


def cited(document: str, source: tuple[int, int], answer: tuple[int, int]) -> citation_pb2.Citation:
    return citation_pb2.Citation(
        document_version=f"documents/{document}/versions/1",
        source_range=byte_range_pb2.ByteRange(start=source[0], end=source[1]),
        answer_range=byte_range_pb2.ByteRange(start=answer[0], end=answer[1]),
    )


def test_the_pieces_of_a_long_section_are_one_section() -> None:
    keys = {"documents/a": "a.md", "documents/b": "b.md"}
    given = [
        cited("a", (100, 200), (0, 300)),
        cited("a", (200, 350), (0, 300)),
        cited("b", (0, 50), (302, 350)),
    ]
    assert sections_of(given, keys) == [Span("a.md", 100, 350), Span("b.md", 0, 50)]


def test_half_of_the_shorter_one_must_be_the_same() -> None:
    place = [Span("a.md", 100, 200)]
    assert meets(Span("a.md", 150, 1000), place)
    assert meets(Span("a.md", 120, 130), place)
    assert not meets(Span("a.md", 151, 1000), place)
    assert not meets(Span("b.md", 100, 200), place)


def test_figures_count_the_first_section_and_the_first_five() -> None:
    gold = {"text": "x", "doc_id": "a.md", "byte_start": 0, "byte_end": 10}
    question = SectionQuestion.model_validate(
        {"id": "q", "question": "?", "answers": [gold], "kind": "code", "part": "fit"}
    )
    right, wrong = Span("a.md", 0, 10), Span("a.md", 20, 30)
    found = [
        Asked(question, [right], answered=True, shown=True),
        Asked(question, [wrong, right], answered=True, shown=False),
        Asked(question, [wrong] * 5 + [right], answered=False, shown=False),
        Asked(question, [], answered=False, shown=False),
    ]
    figures = {name: value.value for name, value in section_scores(found).items() if value is not None}
    assert figures == {"first": 0.25, "inFive": 0.5, "answered": 0.5, "answerRight": 0.25}
    assert set(section_scores([]).values()) == {None}
