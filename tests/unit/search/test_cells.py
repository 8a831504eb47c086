"""Which cell of a table an excerpt marks: the one whose row and column the question names."""

from __future__ import annotations

import pytest

from responsa_server.domain.events import Excerpt
from tests.unit.search.test_excerpts import ranked
from tests.unit.search.test_parts import passage_of

PRICES = "| Product | Price 2025 | Price 2026 |\n|---|---|---|\n| Chair | 55 | **59** |\n| Lamp | 20 | 22 |\n"
CORNER = (
    "<table><tr><th></th><th>North</th><th>South</th></tr><tr><th>Lamps</th><td>20</td><td>22</td></tr>"
    "<tr><th>Chairs</th><td>55</td><td>50</td></tr></table>"
)
TEAMS = "Team,Day,Room\nBlue,Monday,R7\nBlue,Tuesday,R8\nRed,Tuesday,R7\nRed,Friday,a|b\n"
FARES = (
    "<table><tr><th rowspan=2>Line<th colspan=2>Zone A<th colspan=2>Zone B<tr><th>adult<th>child<th>adult<th>child"
    "<tr><td>Harbour 3<td>3.10<td>1.60<td>5.40<td>2.80<tr><td>Mill 4<td>4.10<td>2.60<td>6.40<td>3.80</table>"
)
CITIES = "City,Inhabitants,Area\nBonn,331885,141 km²\nKöln,1084831,405 km²\n"


def marked(question: str, text: str, name: str) -> tuple[str, str]:
    """What is marked in the text of the only excerpt, and in its Markdown; '' if nothing is."""
    [excerpt] = ranked(question, [passage_of(text, name=name)]).excerpts
    return _cut(excerpt)


def _cut(excerpt: Excerpt) -> tuple[str, str]:
    if excerpt.marked is None:
        assert excerpt.marked_shown is None
        return "", ""
    start, shown = excerpt.source.start, excerpt.marked_shown
    text = excerpt.text.encode()[excerpt.marked.start - start : excerpt.marked.end - start].decode()
    return text, excerpt.markdown.encode()[shown.start : shown.end].decode() if shown else ""


@pytest.mark.parametrize(
    ("question", "text", "name", "cell"),
    [
        ("What does the chair cost in 2026?", PRICES, "a.md", "**59**"),
        ("What does the lamp cost in 2026?", f"A lamp gives light.\n\n{PRICES}\nThe end.", "a.md", "22"),
        ("How many chairs are in the south?", CORNER, "a.html", "50"),
        ("In which room is the team Blue on Tuesday?", TEAMS, "a.csv", "R8"),
        ("In which room does Red meet on Friday?", TEAMS, "a.csv", "a\\|b"),
        ("What is the area of Köln?", f"\n{CITIES}", "a.csv", "405 km²"),
        ("What does the harbour 3 cost for an adult in zone A?", FARES, "a.html", "3.10"),
        ("Mill 4, child, zone B", FARES, "a.html", "3.80"),
        # Both prices have the word, and no year is named.
        ("How did the price of the lamp change?", PRICES, "a.md", ""),
        # Two columns are named.
        ("What are the area and the inhabitants of Bonn?", CITIES, "a.csv", ""),
        ("Which city has more inhabitants than Bonn?", CITIES, "a.csv", ""),
        # No row is named, or several.
        ("Which city has the most inhabitants?", CITIES, "a.csv", ""),
        ("In which room is the team Blue?", TEAMS, "a.csv", ""),
        # No column is named.
        ("Tell me about Bonn.", CITIES, "a.csv", ""),
        # A sentence, or another table, may be what is asked for.
        ("What did the lamp cost in 2026?", f"In 2026, the lamp got a new cost.\n\n{PRICES}", "a.md", ""),
        ("What does the chair cost in 2026?", f"{PRICES}\nAbroad:\n\n{PRICES}", "a.md", ""),
    ],
)
def test_the_cell_is_marked_whose_row_and_column_the_question_names(
    question: str, text: str, name: str, cell: str
) -> None:
    in_text, shown = marked(question, text, name)
    assert in_text == cell
    assert shown == cell


def test_a_mark_changes_nothing_of_what_is_shown() -> None:
    table = PRICES.replace(
        "Chair", "Chair \U00010a50"
    )  # which also stands around a cell while its Markdown is made
    assert marked("What does the chair cost in 2026?", table, "a.md") == ("**59**", "")
