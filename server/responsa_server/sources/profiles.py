"""Profiles of persons, and the rule for their readers."""

from __future__ import annotations

from responsa_server.domain import names
from responsa_server.domain.errors import NotFound
from responsa_server.domain.people import Principal, Role
from responsa_server.domain.profiles import Person, Profile
from responsa_server.stores.postgres.profiles import PostgresProfiles


class SubjectProfiles:
    """The profiles that a caller may read: that of the caller and, for administrators and services, those of all persons of the tenant."""

    def __init__(self, profiles: PostgresProfiles) -> None:
        self._profiles = profiles

    async def get(self, who: Principal, subject: str, *, documents: bool = True) -> Profile:
        """The profile of a subject; "" for the caller. documents: whether more than the person is needed. Raises NotFound, which is the same for a subject that does not exist and for one that the caller may not see."""
        own = names.user(who.user_id)
        person = await self._profiles.person(who, subject or own)
        if person is None or not _may_read(who, person):
            raise NotFound.of("subject", subject)
        if person.user_id is not None and not documents:
            return Profile(person, (), 0)
        found = await self._profiles.profile(who, person)
        if person.user_id is None and not found.parts:
            raise NotFound.of("subject", subject)
        return found


def _may_read(who: Principal, person: Person) -> bool:
    return person.user_id == who.user_id or who.role in (Role.ADMIN, Role.SERVICE)
