"""The values that logs must not contain."""

from __future__ import annotations

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
