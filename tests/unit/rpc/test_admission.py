"""The admission of calls while the server stops."""

from __future__ import annotations

import asyncio

import pytest

from responsa_server.calls.call import Call
from responsa_server.calls.interceptors import limits
from responsa_server.calls.interceptors.limits import Admission
from responsa_server.domain.errors import Reason, Unavailable


async def test_callers_that_repeat_their_calls_do_not_hold_up_a_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_QUIET_SECONDS", 0.05)
    monkeypatch.setattr(limits, "QUIET_SECONDS", 10.0)
    admission = Admission(4)
    admission.drain()
    with pytest.raises(Unavailable) as refused:
        await admission.on_start(Call("/responsa.auth.v1.AuthService/GetMe", {}, "test"))
    assert refused.value.reason is Reason.DRAINING
    async with asyncio.timeout(5.0):
        await admission.quiet()
