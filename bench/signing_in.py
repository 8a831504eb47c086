"""Measures by how much many sign-ins at once delay a stream of words. The model, the reader, the server and the users who sign in are separate processes.

python -m bench.signing_in TARGET EMAIL PASSWORD     signs in, `AT_ONCE` times at once, again and again until its standard input ends; then prints the number of sign-ins
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

import grpc.aio

from bench.figures import percentile
from bench.models import provider, read, serving
from bench.processes import ROOT, BenchError, Place
from bench.report import Line
from bench.run import Run
from bench.stamps import Reading
from responsa.auth.v1 import auth_service_pb2 as auth
from responsa.auth.v1.auth_service_pb2_grpc import AuthServiceStub
from responsa_client.aio import AsyncResponsa

TITLE: Final = "Sign-ins, 50 at once, again and again, and a stream of 50 words per second"
AT_ONCE: Final = 50
_BAR_MS: Final = 50
_PACE_MS: Final = 20
_EMAIL: Final = "signs-in@example.org"
_PASSWORD: Final = "grey herons stand in cold harbours"
# An attempt counts until it has succeeded, and all users here have one account.
_ATTEMPTS: Final = {
    "RESPONSA_PASSWORDS__ATTEMPTS_PER_ACCOUNT": "10000",
    "RESPONSA_PASSWORDS__ATTEMPTS_PER_ADDRESS": "10000",
}
_SIGNED_IN_NICE: Final = 10
"""The users who sign in are on other machines in reality."""


def measure(run: Run) -> list[Line]:
    """Measures the time of a word from the model to the reader, alternately alone and during sign-ins. A delay is the time of a word during sign-ins without the median of the words alone."""
    asyncio.run(_make_account(run.place))
    alone: list[list[float]] = []
    during: list[list[float]] = []
    made: list[float] = []
    words = run.pick(1000, 100)
    with provider(run) as url, serving(run, url, _ATTEMPTS) as (target, _):
        reading = Reading(1, words, _PACE_MS, warm_up=words // 10, target=target, key=run.place.key)
        read(Reading(1, 2, 1, rounds=10, target=target, key=run.place.key))
        for number in range(run.pick(5, 1)):
            run.say(f"sign-ins, round {number + 1}")
            alone.append(list(read(reading).words))
            with _signing_in(target, made):
                during.append(list(read(reading).words))
    delays = [
        [one - percentile(quiet, 0.5) for one in busy] for quiet, busy in zip(alone, during, strict=True)
    ]

    def line(what: str, values: list[list[float]], share: float) -> Line:
        figures = [percentile(one, share) for one in values]
        return Line.alone(TITLE, what, "ms", figures, measured=sum(map(len, values)))

    return [
        line("time of a word without sign-ins, p50", alone, 0.5),
        line("time of a word without sign-ins, max", alone, 1.0),
        line("delay of a streamed word while others sign in, p50", delays, 0.5),
        line("delay of a streamed word while others sign in, p99", delays, 0.99),
        line(f"delay of a streamed word while others sign in, max (limit: {_BAR_MS} ms)", delays, 1.0),
        Line.alone(TITLE, "sign-ins during the stream", "", made, better="more"),
    ]


async def _make_account(at: Place) -> None:
    """Make a user with a password."""
    async with AsyncResponsa(f"http://{at.target}", at.key) as client:
        user = await client.create_user("Signs in", email=_EMAIL)
        code = await client.create_reset_code(user.name)
        await client.reset_password(code.code, _PASSWORD)


@contextmanager
def _signing_in(target: str, made: list[float]) -> Generator[None]:
    """Sign in during the block. made: receives the number of sign-ins. Raises BenchError if one fails."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.signing_in", target, _EMAIL, _PASSWORD],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        if process.stdout.readline() != "begun\n":
            raise BenchError(f"the sign-ins failed: {process.communicate()[1][-2000:]}")
        yield
        count, problem = process.communicate()
        if process.returncode:
            raise BenchError(f"the sign-ins failed: {problem[-2000:]}")
        made.append(float(count))
    finally:
        process.kill()
        process.wait()


async def _sign_in(target: str, email: str, password: str) -> int:
    """Returns the number of sign-ins."""
    os.nice(_SIGNED_IN_NICE)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, ended.set)
    request, count = auth.LoginRequest(email=email, password=password), 0
    async with grpc.aio.insecure_channel(target) as channel:
        stub = AuthServiceStub(channel)
        while not ended.is_set():
            await asyncio.gather(*(stub.Login(request) for _ in range(AT_ONCE)))
            count += AT_ONCE
            if count == AT_ONCE:
                print("begun", flush=True)
    return count


if __name__ == "__main__":
    print(asyncio.run(_sign_in(*sys.argv[1:4])))
