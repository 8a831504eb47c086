"""Thousands of calls that arrive while the event loop is busy."""

from __future__ import annotations

from pathlib import Path

import pytest
import structlog
from google.protobuf.message import Message

from responsa.auth.v1 import auth_service_pb2 as auth
from responsa_server.calls.chain import Calls, Method
from responsa_server.calls.interceptors.limits import Admission
from responsa_server.transports.grpc.server import RpcServer
from tests.rpc.slow import Burst

ME = "/responsa.auth.v1.AuthService/GetMe"
CALLS = 4_000
"""More than gRPC lets wait by its defaults."""


async def test_calls_that_arrive_at_once_are_all_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short

    async def handler(_: object) -> Message:
        return auth.GetMeRequest()

    admission = Admission(CALLS)
    calls = Calls((admission,), admission, structlog.get_logger("test"))
    calls.add((Method(ME, auth.GetMeRequest, handler),))
    server = RpcServer(calls, (), "unix:server")
    await server.start()
    assert await Burst("server", ME, CALLS).answered() == CALLS
    await server.drain(0)
