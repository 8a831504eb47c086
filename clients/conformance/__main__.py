"""The command line of the kit; README.md describes it."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence

from clients.conformance.cases import CASES
from clients.conformance.runner import Verdict, run_cases, run_cuts
from clients.conformance.server import ScriptedServer


def main() -> None:
    """Exit with 1 if the client does not conform."""
    parser = argparse.ArgumentParser(
        prog="python -m clients.conformance", description="Tests a client of Responsa."
    )
    parser.add_argument("command", nargs="*", metavar="COMMAND", help="the client's driver, after --")
    parser.add_argument(
        "--case",
        action="append",
        default=[],
        choices=list(CASES),
        metavar="NAME",
        help="play only this case; may be repeated",
    )
    parser.add_argument(
        "--any-connection",
        action="store_true",
        help="for a client that does not choose its connections, as in a browser",
    )
    parser.add_argument("--list", action="store_true", help="print the names of all cases")
    parser.add_argument(
        "--serve", action="store_true", help="print an address, and play cases there until you press Ctrl-C"
    )
    parser.add_argument(
        "--port",
        type=int,
        default=0,
        help="the port of --serve or of the proxy of --cuts; by default, any free one",
    )
    parser.add_argument(
        "--cuts",
        type=int,
        metavar="COUNT",
        help="instead of cases: cut the client's connections to a real server COUNT times",
    )
    parser.add_argument(
        "--server", default="127.0.0.1:8080", metavar="HOST:PORT", help="the real server, without TLS"
    )
    parser.add_argument("--token", default="", help="its API key")
    parser.add_argument(
        "--agent", default="", help="the agent to ask; by default, the server's default agent"
    )
    parser.add_argument(
        "--question",
        default="How does a client continue after a lost connection?",
        help="the question to ask; {n} is replaced by a number",
    )
    parser.add_argument("--seed", type=int, default=None, help="the seed of the random cuts; printed")
    given = parser.parse_args()
    if given.list:
        print("\n".join(CASES))
    elif given.serve:
        asyncio.run(_serve(given.port))
    elif not given.command:
        parser.error("name the client's driver, after --")
    elif given.cuts:
        seed = time.time_ns() % (1 << 32) if given.seed is None else given.seed
        found = asyncio.run(
            run_cuts(
                given.command,
                given.server,
                given.token,
                given.cuts,
                port=given.port,
                agent=given.agent,
                text=given.question,
                seed=seed,
            )
        )
        print("\n".join(found.problems))
        print(f"{found.cuts} cuts, {found.turns} turns, {len(found.problems)} problems (--seed {seed})")
        sys.exit(bool(found.problems))
    else:
        verdicts = asyncio.run(run_cases(given.command, given.case, any_connection=given.any_connection))
        print(table(verdicts))
        sys.exit(any(verdict.problems for verdict in verdicts))


def table(verdicts: Sequence[Verdict]) -> str:
    """The verdicts as lines, and a line with their count."""
    lines = [
        f"{'FAIL' if one.problems else 'ok':4} {one.calls:2} calls {one.seconds * 1000:6.0f} ms  {one.case}"
        + "".join(f"\n     {problem}" for problem in one.problems)
        for one in verdicts
    ]
    failed = sum(bool(one.problems) for one in verdicts)
    return "\n".join([*lines, f"{len(verdicts) - failed} of {len(verdicts)} cases passed"])


async def _serve(port: int) -> None:
    async with ScriptedServer(port) as server:
        print(server.address, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    main()
