"""Sample databases, with the sources that turn their rows into documents."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from responsa_etl.samples.aptitude import database as aptitude
from responsa_etl.samples.aptitude.database import SamplePerson


@dataclass(frozen=True, slots=True)
class SampleDatabase:
    """A sample database. Its name is the connection's name, too.

    folder: the folder with the mappings, `sources/ID.toml`. sources: the ids of the sources, in the order in which they run.
    write: makes the SQLite file; raises FileExistsError if it exists, and OSError. people: the people in it.
    about_people: the source of the documents about them; their subject is the person's address.
    """

    name: str
    folder: Path
    sources: Sequence[str]
    write: Callable[[Path], None]
    people: Callable[[], Sequence[SamplePerson]]
    about_people: str

    def mapping(self, source: str) -> str:
        return (self.folder / "sources" / f"{source}.toml").read_text(encoding="utf-8")


SAMPLE_DATABASES: Final[Mapping[str, SampleDatabase]] = {
    sample.name: sample
    for sample in (
        SampleDatabase(
            "aptitude",
            aptitude.FOLDER,
            ("catalogues", "aptitude"),
            aptitude.write,
            aptitude.people,
            "aptitude",
        ),
    )
}
"""The sample databases by name."""
