"""Takes the place of the server. It answers HTTP on a unix socket, and has a worker that ignores SIGTERM. On SIGUSR1,
it works without an end and without letting another thread run.
"""

from __future__ import annotations

import os
import re
import signal
import socketserver
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import FrameType

WORKER = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(3600)"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        """Like the server, write a record, which explains no failure."""
        print('{"event": "answered"}', flush=True)


def leave(_: int, __: FrameType | None) -> None:
    sys.exit(0)


def wedge(_: int, __: FrameType | None) -> None:
    re.match("(a|a)*b", "a" * 64)


def main() -> None:
    path = Path(os.environ["SOCKET"])
    if path.with_name("broken").exists():
        sys.exit("no such setting")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, leave)
    signal.signal(signal.SIGUSR1, wedge)
    began = time.monotonic()
    while time.monotonic() - began < float(os.environ["START"]):
        time.sleep(0.05)
    subprocess.Popen([sys.executable, "-c", WORKER], start_new_session=True)
    path.unlink(missing_ok=True)
    with socketserver.ThreadingUnixStreamServer(str(path), Handler) as server:
        path.chmod(0o660)
        server.serve_forever()


if __name__ == "__main__":
    main()
