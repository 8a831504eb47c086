"""Holds each call against its row of the authorisation table."""

from __future__ import annotations

from typing import assert_never

from responsa_server.calls.authorisation import RULES, Rule
from responsa_server.calls.call import Call
from responsa_server.calls.interceptors.shape import Interceptor
from responsa_server.domain.errors import NotPermitted, Reason
from responsa_server.domain.people import Role


class Authorised(Interceptor[None]):
    """Lets a call pass whose rule its principal meets; a method that has no rule is open to nobody."""

    async def on_start(self, call: Call) -> None:
        """Check the rule. Raises NotPermitted (ROLE_REQUIRED)."""
        rule = RULES.get(call.method)
        match rule:
            case Rule.PUBLIC:
                return
            case Rule.MEMBER:
                if call.principal is not None:
                    return
            case Rule.ADMIN:
                if call.principal is not None and call.principal.role is Role.ADMIN:
                    return
            case None:
                pass
            case _:
                assert_never(rule)
        raise NotPermitted(
            Reason.ROLE_REQUIRED,
            "This call is for administrators; use the key of one.",
            {"required_role": Role.ADMIN.name},
        )
