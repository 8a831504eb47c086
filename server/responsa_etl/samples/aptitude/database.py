"""The sample database of an aptitude service, made from a fixed seed: each run makes the same rows.

python -m responsa_etl.samples.aptitude.database FILE          a SQLite file
python -m responsa_etl.samples.aptitude.database --postgresql  statements for psql, on standard output
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
import tomllib
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import StrEnum
from operator import attrgetter
from pathlib import Path
from random import Random
from statistics import NormalDist, fmean
from typing import Any, Final

FOLDER: Final = Path(__file__).parent
PEOPLE: Final = 320
MATCHES: Final = 5
_SEED: Final = 14
_FIRST_DAY: Final = date(2025, 9, 1)
_DAYS: Final = 420
# The usual mean and standard deviation of the results of a test.
_USUAL: Final = {"tendency": (50.0, 18.0), "ability": (100.0, 15.0)}
# How much of a result of the ability test comes from what all its scales have in common.
_COMMON: Final = 0.6


@dataclass(frozen=True, slots=True)
class SamplePerson:
    """A person in a sample database. id: the number in the database, from 1. address: the e-mail address, which is the
    subject of the person's documents. consents: whether there are documents about the person.
    """

    id: int
    name: str
    address: str
    consents: bool


class Dialect(StrEnum):
    """A database for which the statements can be made."""

    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"


_FUNCTIONS: Final = {
    Dialect.SQLITE: ("json_group_array", "json_object"),
    Dialect.POSTGRESQL: ("json_agg", "json_build_object"),
}


@dataclass(slots=True)
class _Sitting:
    test: str
    taken_on: date
    points: Mapping[str, int]
    finished: bool = True


@dataclass(slots=True)
class _Person:
    id: int
    name: str
    address: str
    born: int
    stage: str
    consent_on: date | None = None
    withdrawn_on: date | None = None
    matched: bool = True
    sittings: list[_Sitting] = field(default_factory=list[_Sitting])

    def newest(self, test: str) -> _Sitting | None:
        sittings = [sitting for sitting in self.sittings if sitting.test == test and sitting.finished]
        return max(sittings, key=lambda sitting: sitting.taken_on, default=None)


class _Lot:
    """Draws by lot. It uses only `random()`, whose numbers for a seed are the same in every version of Python."""

    def __init__(self) -> None:
        self._random = Random(_SEED)  # noqa: S311 - the people are invented, and must be the same each time

    def happens(self, share: float) -> bool:
        return self._random.random() < share

    def below(self, count: int) -> int:
        return int(self._random.random() * count)

    def normal(self) -> float:
        return NormalDist().inv_cdf(min(max(self._random.random(), 1e-9), 1 - 1e-9))


def write(file: Path) -> None:
    """Make the SQLite file. Raises OSError if it cannot be written; FileExistsError if it exists, because somebody may
    have changed its rows."""
    if file.exists():
        raise FileExistsError(file)
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=".making-") as folder:
        database = Path(folder) / file.name
        with closing(sqlite3.connect(database)) as connection:
            connection.executescript(f"BEGIN;\n{script(Dialect.SQLITE)}COMMIT;")
        database.rename(file)


def people() -> Sequence[SamplePerson]:
    """The people, in the order of their ids."""
    return [
        SamplePerson(
            person.id,
            person.name,
            person.address,
            person.consent_on is not None and person.withdrawn_on is None,
        )
        for person in _people(_table("scales.toml"))
    ]


def script(dialect: Dialect) -> str:
    """The statements that make the tables, rows and views."""
    made_list, made_entry = _FUNCTIONS[dialect]
    views = _text("views.sql").replace("{list}", made_list).replace("{entry}", made_entry)
    return "\n".join([_text("tables.sql"), *_inserts(), views])


def _inserts() -> Iterator[str]:
    for table, rows in _rows().items():
        values = ",\n".join(f"({', '.join(map(_literal, row))})" for row in rows)
        yield f"INSERT INTO {table} VALUES\n{values};\n"


def _rows() -> Mapping[str, Sequence[Sequence[object]]]:
    tests, jobs, majors = _table("scales.toml"), _table("jobs.toml"), _table("majors.toml")
    scales = {name: test for test, entry in tests.items() for name in entry["scales"]}
    people = _people(tests)
    sittings = [(person, sitting) for person in people for sitting in person.sittings]
    return {
        "person": [
            attrgetter("id", "name", "address", "born", "stage", "consent_on", "withdrawn_on")(person)
            for person in people
        ],
        "scale": [
            (
                *(name, test, number, entry["name"], entry["meaning"], entry["high"], entry["low"]),
                *(tests[test]["least"], tests[test]["most"], tests[test]["apart"]),
            )
            for number, (name, test) in enumerate(scales.items(), 1)
            for entry in [tests[test]["scales"][name]]
        ],
        "level": [
            (test, int(least), name) for test, row in tests.items() for least, name in row["levels"].items()
        ],
        "sitting": [
            (number, person.id, sitting.test, sitting.taken_on, int(sitting.finished))
            for number, (person, sitting) in enumerate(sittings, 1)
        ],
        "result": [
            (number, scale, points)
            for number, (_, sitting) in enumerate(sittings, 1)
            for scale, points in sitting.points.items()
        ],
        "major": [
            (key, row["title"], row["field"], row["subjects"], row["suits"]) for key, row in majors.items()
        ],
        "job": [(key, job["title"], job["field"], job["work"], job["day"]) for key, job in jobs.items()],
        "job_demand": [(key, scale) for key, job in jobs.items() for scale in job["asks"]],
        "job_major": [(key, major) for key, job in jobs.items() for major in job["majors"]],
        "job_match": [row for person in people for row in _matches(person, tests, jobs, scales)],
    }


def _people(tests: Mapping[str, Any]) -> Sequence[_Person]:
    table = _table("people.toml")
    names = (table["first_names"], table["last_names"])
    lot, taken = _Lot(), set[str]()
    people = [_by_hand(number, entry, lot, taken, tests) for number, entry in enumerate(table["people"], 1)]
    while len(people) < PEOPLE:
        people.append(_by_lot(len(people) + 1, names, lot, taken, tests))
    return people


def _by_hand(
    number: int, entry: Mapping[str, Any], lot: _Lot, taken: set[str], tests: Mapping[str, Any]
) -> _Person:
    person = _person(number, entry["name"], lot, taken, entry.get("address", ""))
    person.matched = entry.get("matched", True)
    person.sittings = [
        _Sitting(test, date.fromisoformat(day), dict(zip(tests[test]["scales"], points, strict=True)))
        for test in tests
        for day, *points in entry.get(test, ())
    ]
    if broken := entry.get("broken_off"):
        person.sittings.append(_Sitting(broken["test"], date.fromisoformat(broken["on"]), {}, finished=False))
    _consent(person, entry.get("consent", ""))
    return person


def _by_lot(
    number: int, names: Sequence[Sequence[str]], lot: _Lot, taken: set[str], tests: Mapping[str, Any]
) -> _Person:
    name = " ".join(some[lot.below(len(some))] for some in names)
    person = _person(number, name, lot, taken)
    first = _FIRST_DAY + timedelta(lot.below(_DAYS))
    missing = {"tendency": lot.happens(0.04), "ability": lot.happens(0.05)}
    for test in tests:
        day, points = first + timedelta(lot.below(10)), _draw(test, lot, tests)
        if missing[test]:
            if lot.happens(0.3):
                person.sittings.append(_Sitting(test, day, {}, finished=False))
            continue
        if lot.happens(0.1):
            # Taken before: mostly with similar results.
            earlier = _draw(test, lot, tests) if lot.happens(0.2) else _similar(test, points, lot, tests)
            person.sittings.append(_Sitting(test, day - timedelta(60 + lot.below(120)), earlier))
        if lot.happens(0.01):
            points = {**points, list(points)[lot.below(len(points))]: 999}
        person.sittings.append(_Sitting(test, day, points))
    person.matched = not lot.happens(0.03)
    _consent(person, "never" if lot.happens(0.02) else "withdrawn" if lot.happens(0.01) else "")
    return person


def _person(number: int, name: str, lot: _Lot, taken: set[str], address: str = "") -> _Person:
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    chosen = wanted = address or ".".join(plain.split())
    more = 1
    while chosen in taken:
        more += 1
        chosen = f"{wanted}.{more}"
    taken.add(chosen)
    born = 1985 + lot.below(25)
    stage = "working" if born < 2000 else "university" if born < 2007 else "school"
    return _Person(number, name, f"{chosen}@example.org", born, stage)


def _consent(person: _Person, how: str) -> None:
    first = min((sitting.taken_on for sitting in person.sittings), default=_FIRST_DAY)
    if how != "never":
        person.consent_on = first
    if how == "withdrawn":
        person.withdrawn_on = first + timedelta(30)


def _draw(test: str, lot: _Lot, tests: Mapping[str, Any]) -> Mapping[str, int]:
    mean, spread = _USUAL[test]
    common = _COMMON if test == "ability" else 0.0
    shared = lot.normal()
    return {
        scale: _within(test, mean + spread * (common * shared + (1 - common**2) ** 0.5 * lot.normal()), tests)
        for scale in tests[test]["scales"]
    }


def _similar(test: str, points: Mapping[str, int], lot: _Lot, tests: Mapping[str, Any]) -> Mapping[str, int]:
    error = _USUAL[test][1] / 4
    return {scale: _within(test, value + error * lot.normal(), tests) for scale, value in points.items()}


def _within(test: str, points: float, tests: Mapping[str, Any]) -> int:
    return round(min(max(points, tests[test]["least"]), tests[test]["most"]))


def _matches(
    person: _Person, tests: Mapping[str, Any], jobs: Mapping[str, Any], scales: Mapping[str, str]
) -> Iterator[Sequence[object]]:
    """The jobs whose demands fit a person best. There are none unless both tests are finished."""
    sittings = [person.newest(test) for test in tests]
    if not person.matched or None in sittings:
        return
    taken = [sitting for sitting in sittings if sitting]
    standing = {
        scale: (points - _USUAL[scales[scale]][0]) / _USUAL[scales[scale]][1]
        for sitting in taken
        for scale, points in sitting.points.items()
        if tests[sitting.test]["least"] <= points <= tests[sitting.test]["most"]
    }
    fits = {
        key: fmean(standing[scale] for scale in job["asks"])
        for key, job in jobs.items()
        if all(scale in standing for scale in job["asks"])
    }
    day = max(sitting.taken_on for sitting in taken) + timedelta(1)
    best = sorted(fits, key=lambda key: (-fits[key], key))[:MATCHES]
    for rank, key in enumerate(best, 1):
        yield person.id, key, rank, round(min(max(60 + 20 * fits[key], 1), 99)), day


def _literal(value: object) -> str:
    match value:
        case None:
            return "NULL"
        case int():
            return str(value)
        case _:
            return "'" + str(value).replace("'", "''") + "'"


def _text(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def _table(name: str) -> Mapping[str, Any]:
    return tomllib.loads(_text(name))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--postgresql"]:
            sys.stdout.write(script(Dialect.POSTGRESQL))
        case [name] if not name.startswith("-"):
            write(Path(name))
        case _:
            sys.exit(__doc__)
