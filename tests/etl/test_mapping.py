"""Mappings: their mistakes with lines, and what rows make."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from responsa_etl.domain import DatabaseConnection, DatabaseKind, WebConnection
from responsa_etl.sources.declarations import read_connections
from responsa_etl.sources.mapping import MissingColumns, RowProblem, SourceMapping
from responsa_etl.sources.mapping_text import DocumentTemplates, read_mapping

GOOD = '''connection = "staff"
collection = "people"

[queries.people]
sql = "SELECT id, name, mail, joined, points, tags FROM employee"
one_subject = "SELECT id, name, mail, joined, points, tags FROM employee WHERE mail = :subject"

[queries.people.columns]
id = "integer"
name = "text"
mail = { type = "text", null = true }
joined = "date"
points = "number"
tags = "json"

[documents.profile]
query = "people"
key = "{{ id }}"
title = "Profile of {{ name }}"
subject = "{{ mail or '' }}"
text = """
# {{ name }}

{{ points }} points since {{ joined }}{% for tag in tags %}, {{ tag }}{% endfor %}
"""
'''
COLUMNS = ["name", "id", "mail", "joined", "points", "tags", "more"]
ROW = ("Ada ⟦{{ id }}⟧", 7, "ada@example.org", date(2020, 1, 2), Decimal("1.50"), '["a", "b"]', object())


def mapping(text: str = GOOD) -> SourceMapping:
    found, problems = read_mapping(text)
    assert found is not None, [str(problem) for problem in problems]
    return found


def document(**changed: object) -> str:
    [query] = mapping().queries
    row = [changed.get(name, value) for name, value in zip(COLUMNS, ROW, strict=True)]
    templates = DocumentTemplates(GOOD)
    values, problem = templates.read("profile", query.reader(COLUMNS)(row))
    if problem:
        raise RowProblem(problem)
    return templates.document("profile", values).text


def test_a_row_becomes_a_document_of_plain_values() -> None:
    [query] = mapping().queries
    templates = DocumentTemplates(GOOD)
    values, _ = templates.read("profile", query.reader(COLUMNS)(ROW))
    made = templates.document("profile", values)
    assert (made.kind, made.key, made.subject) == ("profile", "7", "ada@example.org")
    assert made.text == "# Ada [[{{ id }}]]\n\n1.50 points since 2020-01-02, a, b"
    assert made.title == "Profile of Ada [[{{ id }}]]"
    assert made.source_key("staff") == "staff/profile/7.md"
    assert document(joined=datetime(2021, 2, 3, 4, tzinfo=UTC), tags=["x"]).endswith("since 2021-02-03, x")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"name": None}, "“name” is NULL"),
        ({"name": b"\xff"}, "another type (bytes)"),
        ({"name": "a\0b"}, "“name” has the character U+0000"),
        ({"name": "\udcff"}, "“name” is not valid UTF-8"),
        ({"name": "x" * 2**20 + "y"}, "“name” has more than 1,048,576 bytes"),
        ({"id": "seven"}, "declared as integer"),
        ({"id": 1.5}, "declared as integer"),
        ({"id": "1e999999999"}, "declared as integer"),
        ({"joined": "2020-02-31"}, "declared as date"),
        ({"points": float("nan")}, "declared as number"),
        ({"points": Decimal("Infinity")}, "declared as number"),
        ({"tags": "[" * 100 + "]" * 100}, "nested too deeply"),
        ({"tags": '["\\u0000"]'}, "U+0000"),
        ({"tags": "7"}, "text of the row cannot be filled in"),
        ({"mail": None}, "subject of the row is empty"),
        ({"mail": "m" * 300}, "subject of the row has more than 255 bytes"),
        ({"tags": "[1e999]"}, "declared as json"),
        ({"tags": "[NaN]"}, "declared as json"),
        ({"tags": ["x" * 2000] * 1000}, "“tags” has more than 1,048,576 bytes"),
        ({"name": "ä" * 2**19 + "y"}, "“name” has more than 1,048,576 bytes"),
        ({"name": "x" * 2**20}, "a text of more than 1,048,576 bytes"),
    ],
)
def test_a_row_that_makes_no_document_says_why(changed: dict[str, object], message: str) -> None:
    with pytest.raises(RowProblem, match=re.escape(message)):
        document(**changed)


def test_a_result_without_a_column_names_what_breaks() -> None:
    [query] = mapping().queries
    with pytest.raises(MissingColumns, match=r"“mail”, which “profile” uses; .*“mail” renamed to “email”"):
        query.reader(["id", "name", "email", "joined", "points", "tags"])
    with pytest.raises(MissingColumns, match="two columns with the name “id”"):
        query.reader([*COLUMNS, "id"])


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('collection = "people"', "", "“collection” is missing."),
        ('collection = "people"', 'collection = "A b"', 'mapping: collection: must match pattern “^[a-z0-9][a-z0-9-]{0,62}$”, not “A b”'),
        ('query = "people"', 'query = "peple"', "mapping: documents.profile.query: there is no query “peple”"),
        ("# {{ name }}", "# {{ nmae }}", "mapping: documents.profile.text: there is no column “nmae”"),
        ("Profile of {{ name }}", "{{ name", "mapping: documents.profile.title: "),
        ("Profile of {{ name }}", "Profile\\n\\nof {{ nmae }}", "mapping: documents.profile.title: there is no column “nmae”"),
        ("Profile of {{ name }}", "{% include 'x' %}", "mapping: documents.profile.title: "),
        ("WHERE mail = :subject", "", "mapping: queries.people.one_subject: does not use “:subject”"),
        ('sql = "SELECT', 'sql = "DROP TABLE a; SELECT', "mapping: queries.people.sql: must be one SELECT"),
        ("FROM employee\"\n", "FROM employee; COMMIT\"\n", "mapping: queries.people.sql: must be one statement"),
        ("FROM employee\"\n", "FROM employee WHERE id = :user\"\n", "mapping: queries.people.sql: has the place “:user”"),
        ("subject = \"{{ mail or '' }}\"\n", "", "documents.profile.subject: is missing"),
        ('id = "integer"', 'id = "string"', (
            "mapping: queries.people.columns.id: must be “text”, “integer”, “number”, “boolean”, "
            "“date”, “time” or “json”, not “string”."
        )),
        ('id = "integer"', 'id = "itneger"', (
            "columns.id: must be “text”, “integer”, “number”, “boolean”, “date”, “time” or “json”, "
            "not “itneger”. Did you mean “integer”?"
        )),
        ('type = "text", null', 'type = "str", null', "mapping: queries.people.columns.mail.type: must be “text”"),
        ('id = "integer"', "id = 7", "mapping: queries.people.columns.id: must be a type such as \"text\", or a table such as"),
        ("# {{ name }}", "# {{ name | upcase }}", (
            "mapping: documents.profile.text: templates have no filter “upcase”. Did you mean "
            "“upper”?"
        )),
        ("# {{ name }}", "{% if id == 0 %}{% filter uper %}x{% endfilter %}{% endif %}", (
            "mapping: documents.profile.text: templates have no filter “uper”. Did you mean "
            "“upper”?"
        )),
        ("# {{ name }}", "{% if mail is not defind %}x{% endif %}", (
            "mapping: documents.profile.text: templates have no test “defind”. Did you mean "
            "“defined”?"
        )),
        ('key = "{{ id }}"', 'ky = "{{ id }}"', "documents.profile.ky: there is no key “ky” here. Did you mean “key”?"),
        ("[documents.profile]", "[documents.profile", "mapping:16"),
        ("[queries.people]", "[pages]\nsitemaps = []\n[queries.people]", "mapping: pages: cannot be used together with queries"),
        (GOOD[GOOD.index("[queries"):], "", "queries: “queries” is missing; a mapping has queries and documents, or pages"),
        (GOOD[GOOD.index("[queries"):], "[pages]", "mapping: pages: needs “sitemaps” or “addresses”"),
        (
            GOOD[GOOD.index("[queries") :],
            "[pages]\naddresses = ['ftp://a']",
            "mapping: pages.addresses: “ftp://a”: the address does not begin with",
        ),
    ],
)  # fmt: skip
def test_mistakes_are_named_with_their_key(old: str, new: str, said: str) -> None:
    assert old in GOOD
    found, problems = read_mapping(GOOD.replace(old, new, 1))
    assert found is None
    assert any(said in str(problem) for problem in problems), [str(problem) for problem in problems]
    assert len({problem.key for problem in problems}) == len(problems)


def test_a_template_cannot_run_for_ever_or_see_more_than_the_row() -> None:
    endless = GOOD.replace("# {{ name }}", "{% for a in range(10**6) %}x{% endfor %}")
    found, problems = read_mapping(endless)
    assert found is None
    assert "“range”" in str(problems[0])
    looped = GOOD.replace(
        "# {{ name }}", "{% for a in tags %}{% for b in tags %}{{ b }}{% endfor %}{% endfor %}"
    )
    [query] = mapping(looped).queries
    row = [*ROW[:5], ["x"] * 10_000, None]
    with pytest.raises(RowProblem, match="more steps than a template may take"):
        DocumentTemplates(looped).document("profile", query.reader(COLUMNS)(row))


def test_a_mapping_that_does_not_fit_its_connection_says_why() -> None:
    database = DatabaseConnection("staff", DatabaseKind.SQLITE, ["*"], "staff.db")
    web = WebConnection("staff", ["*"], ["https://a.example"])
    pages = mapping(
        'connection = "staff"\ncollection = "people"\n[pages]\nsitemaps = ["https://a.example:443/s"]\naddresses = ["https://b.example/"]'
    )
    assert mapping().find_misfit(database) is None
    assert "connection: the connection “staff” is for websites, so the mapping needs “pages”" in str(
        mapping().find_misfit(web)
    )
    assert (
        "mapping: pages.addresses: “https://b.example/” is not at a site of the connection “staff”; its sites are “https://a.example”"
        in str(pages.find_misfit(web))
    )


def test_another_product_is_no_misspelt_kind(tmp_path: Path) -> None:
    (tmp_path / "staff.toml").write_text('kind = "mssql"\nhost = "staff"\ntenants = ["*"]\n')
    (declared,) = read_connections(tmp_path)
    assert [(problem.key, problem.suggestion) for problem in declared.problems] == [(("kind",), "")]
