"""The documents of the aptitude sample, and the golden files that they are held against."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import aclosing
from typing import Final

from responsa_etl.databases.reading import SqlDatabases
from responsa_etl.domain import DatabaseConnection, SourceDocument
from responsa_etl.samples import SAMPLE_DATABASES
from responsa_etl.sources.mapping_text import read_mapping
from responsa_etl.sources.reading import RowSelection, read_rows
from responsa_etl.sources.sandbox import SourceSandbox
from tests.instance import ROOT

SAMPLE: Final = SAMPLE_DATABASES["aptitude"]
GOLDEN: Final = ROOT / "tests" / "fixtures" / "aptitude"


async def documents(
    databases: SqlDatabases,
    sandbox: SourceSandbox,
    connection: DatabaseConnection,
    source: str,
    subject: str = "",
) -> Mapping[str, SourceDocument]:
    """The documents of a source, by kind and key. No row may fail."""
    mapping, problems = read_mapping(SAMPLE.mapping(source))
    assert mapping is not None, [str(problem) for problem in problems]
    made = dict[str, SourceDocument]()
    async with aclosing(
        read_rows(databases, "acme", sandbox, connection, mapping, RowSelection(subject))
    ) as rows:
        async for row in rows:
            assert row.document is not None, row
            assert not row.problem, row
            made[f"{row.kind}-{row.document.key}"] = row.document
    return made


def written(made: SourceDocument) -> str:
    """A document as it stands in its golden file."""
    described = {"title": made.title, "subject": made.subject, **made.metadata}
    return "".join(f"{name}: {value}\n" for name, value in described.items()) + f"\n{made.text}\n"
