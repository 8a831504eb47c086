"""The aptitude sample: its documents are held against golden files. `RESPONSA_GOLDEN=write` writes them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import aclosing
from pathlib import Path

import pytest

from responsa_server.databases.reading import SqlDatabases
from responsa_server.domain.sources import DatabaseConnection, DatabaseKind, SourceDocument
from responsa_server.samples.aptitude import database
from responsa_server.sources.mapping import read_mapping
from responsa_server.sources.reading import Asked, read_rows
from tests.instance import ROOT

GOLDEN = ROOT / "tests" / "fixtures" / "aptitude"
CASES = (
    *(f"personality_profile/{number}" for number in (1, 9, 11, 18)),
    *(f"thinking_skills/{number}" for number in (1, 8, 12, 13, 16)),
    *(f"career_recommendations/{number}" for number in (1, 10, 13, 17)),
    "job/map-maker",
    "major/geography",
)
LINK = re.compile(r"\]\(catalogues/([^)]+)\.md\)")


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> DatabaseConnection:
    file = tmp_path_factory.mktemp("aptitude") / "aptitude.db"
    database.write(file)
    with pytest.raises(FileExistsError):
        database.write(file)
    return DatabaseConnection("aptitude", DatabaseKind.SQLITE, ["*"], file=str(file))


async def documents(
    connection: DatabaseConnection, source: str, subject: str = ""
) -> Mapping[str, SourceDocument]:
    """The documents of a source, by kind and key. No row may fail."""
    mapping, problems = read_mapping(
        (database.FOLDER / "sources" / f"{source}.toml").read_text(encoding="utf-8")
    )
    assert mapping is not None, [str(one) for one in problems]
    made = dict[str, SourceDocument]()
    async with aclosing(
        read_rows(SqlDatabases(lambda place: place.env), connection, mapping, Asked(subject))
    ) as rows:
        async for row in rows:
            assert row.document is not None, row
            assert not row.problem, row
            made[f"{row.kind}/{row.document.key}"] = row.document
    return made


def golden(case: str, made: SourceDocument) -> None:
    described = {"title": made.title, "subject": made.subject, **made.metadata}
    text = "".join(f"{name}: {value}\n" for name, value in described.items()) + f"\n{made.text}\n"
    file: Path = GOLDEN / f"{case.replace('/', '-')}.md"
    if os.environ.get("RESPONSA_GOLDEN") == "write":
        file.write_text(text, encoding="utf-8")
    assert file.read_text(encoding="utf-8") == text, case


async def test_each_person_with_consent_has_a_document_of_each_kind(connection: DatabaseConnection) -> None:
    people, catalogues = await documents(connection, "aptitude"), await documents(connection, "catalogues")
    for case in CASES:
        golden(case, (people | catalogues)[case])
    kinds = ("personality_profile", "thinking_skills", "career_recommendations")
    subjects = [{one.subject for one in people.values() if one.kind == kind} for kind in kinds]
    assert subjects[0] == subjects[1] == subjects[2]
    assert len(people) == 3 * len(subjects[0]) > 900
    assert not subjects[0] & {"una.brandt@example.org", "viktor.lane@example.org"}
    titles = [one.title for one in people.values()]
    assert titles.count("Personality profile of Leo Marsh") == 2
    linked = {link for one in (people | catalogues).values() for link in LINK.findall(one.text)}
    assert linked == catalogues.keys()
    own = await documents(connection, "aptitude", "ana.lind@example.org")
    assert {name: one.subject for name, one in own.items()} == {
        f"{kind}/3": "ana.lind@example.org" for kind in kinds
    }
