"""Pages of columns and tables without rules that are made at random are read in the order in which a reader reads them."""

from __future__ import annotations

from tests.formats.page_layouts import layouts, tables

PAGES = 0.95
ROWS = 0.97


def test_pages_of_columns_are_read_in_order() -> None:
    read = {f"{layout.name} {number}": layout.is_read() for number, layout in enumerate(layouts(3))}
    wrong = [name for name, right in read.items() if not right]
    assert len(wrong) <= (1 - PAGES) * len(read), wrong


def test_rows_of_tables_over_two_pages_keep_their_columns() -> None:
    made = list(tables(1))
    wrong = {table.name: len(table.rows) - table.rows_read() for table in made}
    assert sum(wrong.values()) <= (1 - ROWS) * sum(len(table.rows) for table in made), wrong
