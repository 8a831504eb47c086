"""Lists and reports as CSV tables."""

from __future__ import annotations

import csv

from responsa.admin.v1.insight_pb2 import GivenFeedback
from responsa.auth.v1.usage_report_pb2 import UsageRow
from responsa_server.cli.tables import csv_of, table


def test_a_row_for_each_item_and_a_column_for_each_field() -> None:
    items = [UsageRow(model="openai:one", answered_turns=12), UsageRow(tool='notes, "old"')]
    first, second = csv.DictReader(csv_of(UsageRow.DESCRIPTOR, items).splitlines())
    assert list(first) == [field.name for field in UsageRow.DESCRIPTOR.fields]
    assert (first["model"], first["answered_turns"], first["tool"]) == ("openai:one", "12", "")
    assert (second["model"], second["answered_turns"], second["tool"]) == ("", "0", 'notes, "old"')


def test_a_table_has_the_fields_that_an_item_has() -> None:
    text = table([UsageRow(model="openai:one", answered_turns=12)])
    assert [line.split() for line in text.splitlines()] == [["model", "answered-turns"], ["openai:one", "12"]]


def test_no_text_is_a_formula_of_a_spreadsheet() -> None:
    items = [GivenFeedback(comment=text) for text in ("=1+1", "@SUM(A1)", "-3", "-a", "\uff1d1", "a;=1+1")]
    text = csv_of(GivenFeedback.DESCRIPTOR, items)
    rows = csv.DictReader(text.splitlines())
    assert [row["comment"] for row in rows] == ["'=1+1", "'@SUM(A1)", "-3", "'-a", "'\uff1d1", "a;=1+1"]
    assert ',"a;=1+1",' in text
