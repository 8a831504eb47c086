"""The aptitude sample: its documents are held against golden files. `RESPONSA_GOLDEN=write` writes them."""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path

import pytest
import yaml

from responsa_etl.databases.reading import SqlDatabases
from responsa_etl.domain import DatabaseConnection, DatabaseKind
from responsa_etl.sources.sandbox import SourceSandboxes
from responsa_formats.sandbox.pool import ParserPool
from responsa_server.system.instance import SHIPPED_AGENTS
from tests.aptitude import GOLDEN, SAMPLE, documents, written

CASES = (
    *(f"personality_profile-{number}" for number in (1, 9, 11, 18)),
    *(f"thinking_skills-{number}" for number in (1, 8, 12, 13, 16)),
    *(f"career_recommendations-{number}" for number in (1, 10, 13, 17)),
    "job-map-maker",
    "major-geography",
)
LINK = re.compile(r"\]\(catalogues/(job|major)/([^)]+)\.md\)")
DATABASES = SqlDatabases(lambda place: place.env)


async def test_each_person_with_consent_has_a_document_of_each_kind(
    tmp_path: Path, parser: ParserPool
) -> None:
    file = tmp_path / "aptitude.db"
    SAMPLE.write(file)
    with pytest.raises(FileExistsError):
        SAMPLE.write(file)
    connection = DatabaseConnection("aptitude", DatabaseKind.SQLITE, ["*"], file=str(file))
    people = await documents(DATABASES, SourceSandboxes(parser).of("acme"), connection, "aptitude")
    catalogues = await documents(DATABASES, SourceSandboxes(parser).of("acme"), connection, "catalogues")
    made = {**people, **catalogues}
    for case in CASES:
        golden = GOLDEN / f"{case}.md"
        if os.environ.get("RESPONSA_GOLDEN") == "write":
            golden.write_text(written(made[case]), encoding="utf-8")
        assert golden.read_text(encoding="utf-8") == written(made[case]), case

    kinds = ("personality_profile", "thinking_skills", "career_recommendations")
    subjects = Counter(person.subject for person in people.values())
    assert set(subjects.values()) == {len(kinds)}
    assert len(subjects) > 300
    assert not subjects.keys() & {"una.brandt@example.org", "viktor.lane@example.org"}
    assert [person.title for person in people.values()].count("Personality profile of Leo Marsh") == 2
    linked = {"-".join(link) for one in made.values() for link in LINK.findall(one.text)}
    assert linked == catalogues.keys()
    # The golden questions of the agent are about people of the sample, and their documents answer.
    said = yaml.safe_load((SHIPPED_AGENTS / "personal" / "golden.yaml").read_text(encoding="utf-8"))
    addresses = {person.address for person in SAMPLE.people() if person.consents}
    assert addresses == subjects.keys()
    for one in said["answered"]:
        answering = made[one["source"].removesuffix(".md").replace("/", "-")]
        assert answering.subject == f"{one['person']}@example.org"
        assert answering.text.count(one["quote"]) == 1, one
    own = await documents(
        DATABASES, SourceSandboxes(parser).of("acme"), connection, "aptitude", "ana.lind@example.org"
    )
    assert own == {name: people[name] for name in (f"{kind}-3" for kind in kinds)}
