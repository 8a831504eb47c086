"""What the kernel offers to hold a parsing process with: for `doctor`, and for the sandbox itself."""

from __future__ import annotations

from dataclasses import dataclass

from responsa_server.ingest.sandbox import landlock, seccomp


@dataclass(frozen=True, slots=True)
class SandboxCapabilities:
    """landlock_abi: the interface version, 0 for none. Resource limits and a process of its own are there always."""

    landlock_abi: int
    seccomp: bool

    @property
    def complete(self) -> bool:
        """Whether file access and system calls are both restricted."""
        return self.landlock_abi > 0 and self.seccomp

    @property
    def sentence(self) -> str:
        """The state in one line, for people."""
        held = ["resource limits"]
        missing: list[str] = []
        (held if self.landlock_abi else missing).append(
            f"Landlock {self.landlock_abi}" if self.landlock_abi else "Landlock (file access)"
        )
        (held if self.seccomp else missing).append(
            "seccomp" if self.seccomp else "seccomp (network, processes)"
        )
        text = "Documents are parsed under " + ", ".join(held)
        return f"{text}; this kernel lacks {' and '.join(missing)}." if missing else f"{text}."


def capabilities() -> SandboxCapabilities:
    """Ask the kernel. Changes nothing."""
    return SandboxCapabilities(landlock.abi_version(), seccomp.available())
