"""What answers the calls of a part whose extra is not installed."""

from __future__ import annotations

from typing import Never

from responsa_server.domain.errors import Precondition, Reason
from responsa_server.system import extras


class NotInstalled:
    """Has the methods of a service, each of which raises EXTRA_NOT_INSTALLED. The part's tables, policies and settings
    are there all the same."""

    def __init__(self, extra: str, service: type) -> None:
        self._extra = extra
        for name in vars(service):
            if name[0].isupper():  # an RPC
                setattr(self, name, self._refuse)

    async def _refuse(self, _: object) -> Never:
        raise Precondition(
            Reason.EXTRA_NOT_INSTALLED,
            (
                f"This server is installed without the extra {self._extra}, which this call needs; its "
                f"operator installs it with {extras.remedy(self._extra)}."
            ),
            {"extra": self._extra},
        )
