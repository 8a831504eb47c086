"""The values that logs must not contain."""

from __future__ import annotations

import json
import subprocess
import sys

# The program logs as grpc._cython.cygrpc does if a call's metadata is not text. Envoy forwards such metadata. The
# program runs in a separate process, because logging is global.
PROGRAM = """
import logging
from responsa_server.app import process

process.configure_logs("debug")
log = logging.getLogger("grpc._cython.cygrpc")
try:
    b"Bearer rsp_secret\\xa0".decode()
except UnicodeDecodeError:
    log.exception("Invalid encoding on %s", b"Bearer rsp_secret\\xa0")
log.error("something else")
"""


def test_metadata_that_are_no_text_are_not_quoted() -> None:
    ran = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert "rsp_secret" not in ran.stdout + ran.stderr
    assert "something else" in ran.stderr


FULL = """
import asyncio, os, sys
import structlog
from responsa_server.app import process
from responsa_server.app.process import LOG

process.configure_logs("debug")
log = structlog.get_logger("calls")
kept = os.dup(2)

def into(descriptor):
    LOG.flush(5)
    os.dup2(descriptor, 2)

def state():
    LOG.flush(5)
    report = asyncio.run(LOG.check())
    print(report.health.value, LOG.dropped, "No space left" in report.detail)

log.info("first")
into(os.open("/dev/full", os.O_WRONLY))
log.info("lost")
state()
# Nobody reads this pipe: the writer waits, and the caller does not.
reading, writing = os.pipe()
into(writing)
for _ in range(20_000):
    log.info("x" * 100)
print(LOG.dropped > 1)
os.close(reading)
into(kept)
log.info("last")
state()
"""


def test_a_log_that_cannot_be_written_stops_nobody_and_says_what_is_missing() -> None:
    ran = subprocess.run([sys.executable, "-c", FULL], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.splitlines()[:2] == ["degraded 1 True", "True"]
    assert ran.stdout.splitlines()[2].startswith("ok ")
    said = [json.loads(line)["event"] for line in ran.stderr.splitlines() if line]
    assert said == ["first", "log_lines_dropped", "last"]
