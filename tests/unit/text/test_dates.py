"""Dates and times in the forms that texts give them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from responsa_server.text.dates import (
    Date,
    find_dates,
    find_stated,
    find_times,
    find_wanted,
    list_asked_dates,
)
from responsa_server.text.lexical import Analyzer

WHOLE = ["2026-03-12", "2026-03", "--03-12", "2026"]


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "12 March 2026"),
        ("en", "March 12th, 2026"),
        ("en", "12-Mar-2026"),
        ("en", "2026-03-12T14:30:00Z"),
        ("de", "12.03.2026"),
        ("de", "12. 3. 2026"),
        ("de", "12. März 2026"),
        ("es", "12 de marzo de 2026"),
        ("ca", "12 de març del 2026"),
        ("fi", "12. maaliskuuta 2026"),
        ("hu", "2026. március 12."),
        ("ru", "12 марта 2026 г."),
        ("he", "12 במרץ 2026"),
        ("hi", "12 मार्च 2026"),
        ("ar", "١٢ مارس ٢٠٢٦"),
        ("th", "12 มีนาคม 2569"),
        ("ja", "2026年3月12日"),
        ("ko", "2026년 3월 12일"),
        ("vi", "12 tháng 3 năm 2026"),
        ("", "12 mars 2026"),
    ],
)
def test_a_date_is_the_same_in_every_form(language: str, text: str) -> None:
    assert [*find_dates(text, language)[-1].list_terms()] == WHOLE


@pytest.mark.parametrize(
    ("language", "text", "terms"),
    [
        ("en", "03/04/2026", ["2026-03-04", "2026-03", "--03-04", "2026-04-03", "2026"]),
        ("de", "03/04/2026", ["2026-04-03", "2026-04", "--04-03", "2026-03-04", "2026"]),
        ("en", "on 3 May", ["--05-03"]),
        ("de", "am 24.12. zu", ["--12-24"]),
        ("en", "in March 2026", ["2026-03", "2026"]),
        ("en", "30 March – 2 April", ["--03-30", "--04-02", "--03-31", "--04-01"]),
        (
            "en",
            "1 February to 1 March 2026",
            ["2026-02-01", "2026-02", "--02-01", "2026-03-01", "2026-03", "--03-01", "2026"],
        ),
    ],
)
def test_two_readings_parts_and_ranges(language: str, text: str, terms: Sequence[str]) -> None:
    assert {*find_dates(text, language)[0].list_terms()} == {*terms}


@pytest.mark.parametrize(
    "text", ["may 12 people come", "v1.2.2026.3", "10.12.14.3", "section 3.2. Tools", "31.02.2026", "12 2026"]
)
def test_other_figures_are_no_dates(text: str) -> None:
    assert not find_dates(text, "en")


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("26/03/2026 – 01/04/2026", (2026, 3, 26), (2026, 4, 1)),
        ("20/12/2026-05/01/2027", (2026, 12, 20), (2027, 1, 5)),
        ("2028-02-26/2028-03-03", (2028, 2, 26), (2028, 3, 3)),
        ("24.12.2026-06.01.2027", (2026, 12, 24), (2027, 1, 6)),
        ("24.12.-06.01.2027", (2026, 12, 24), (2027, 1, 6)),
        ("20 December – 5 January 2027", (2026, 12, 20), (2027, 1, 5)),
        ("between 22 January 2027 and 28 January 2027", (2027, 1, 22), (2027, 1, 28)),
    ],
)
def test_both_ends_of_a_range_are_read_in_one_way(
    text: str, first: tuple[int, int, int], last: tuple[int, int, int]
) -> None:
    (found,) = find_dates(text, "en")
    assert (found.readings[0], found.until) == (Date(*first), Date(*last))


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("| 13.03.2026 | Voss |", -1),
        ("| 12 March 2026 |", 0),
        ("| 1–14 March 2026 |", 0),
        ("| 13.03.2026 | 12.03.2026 |", 1),
        ("| Voss | 4 |", None),
    ],
)
def test_a_row_of_another_date_is_known(text: str, place: int | None) -> None:
    assert find_wanted(text, "de" if "." in text else "en", list_asked_dates(WHOLE)) == place


def test_times_have_one_form() -> None:
    found = [readings for *_, readings in find_times("2:30 pm, 14:30, 14.30 Uhr, 14h30, 9 o'clock, 25:00")]
    assert found == [["14:30"]] * 4 + [["9:00", "21:00"]]


def test_a_question_asks_for_no_name_of_a_month_that_a_passage_writes_in_digits() -> None:
    analyzer = Analyzer()
    assert analyzer.query_terms("who on 12 March 2026?", "en") == WHOLE
    assert [*analyzer.terms("12 March 2026", "en")] == [*WHOLE, "march"]


@pytest.mark.parametrize(
    ("language", "text", "day"),
    [
        ("en", "# Travel policy\n\nPrinted 30 November 2026. Approved on 3 March 2025 by the board.", "2025-03-03"),
        ("en", "Valid from 1 May 2024 until 30 April 2025", "2024-05-01"),
        ("de", "Stand: 1. Juni 2026", "2026-06-01"),
        ("de", "Gültig bis 31.12.2026. Die Sitzung war am 4. Mai 2026.", ""),
        ("en", "The approved budget.\nThe meeting was on 4 May 2026.", ""),
        ("en", "x " * 1_500 + "Approved on 3 March 2025", ""),
    ],
)  # fmt: skip
def test_the_first_page_calls_a_day_that_of_the_document(language: str, text: str, day: str) -> None:
    stated = find_stated(text, language)
    assert (stated.date().isoformat() if stated else "") == day
