"""A seccomp filter (Linux 3.17 and later) that leaves a parsing process computation and open descriptors only.

Denied calls answer EPERM, so that a library may go on without them; clone3 answers ENOSYS, since its flags are behind a
pointer and the C library then falls back to clone, whose flags are seen. A foreign calling convention kills.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
from dataclasses import dataclass
from typing import Literal

from responsa_server.ingest.sandbox import syscalls
from responsa_server.ingest.sandbox.kernel import PR_SET_DUMPABLE, PR_SET_PDEATHSIG, failed, libc

_SECCOMP_SET_MODE_FILTER = 1
_SECCOMP_GET_ACTION_AVAIL = 2
_FILTER_FLAG_TSYNC = 1
_RET_KILL_PROCESS = 0x80000000
_RET_ERRNO = 0x00050000
_RET_ALLOW = 0x7FFF0000
_CLONE_THREAD = 0x00010000

# Offsets into struct seccomp_data; both machines are little-endian, so an argument's low half comes first.
_NR, _ARCH, _ARG0 = 0, 4, 16
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06


@dataclass(frozen=True, slots=True)
class _Machine:
    """A calling convention: its AUDIT_ARCH value, its column in `syscalls`, and the bit of a second table to refuse."""

    audit_arch: int
    column: Literal[0, 1]
    x32_bit: int | None


_MACHINES = {
    "x86_64": _Machine(audit_arch=0xC000003E, column=0, x32_bit=0x40000000),
    "aarch64": _Machine(audit_arch=0xC00000B7, column=1, x32_bit=None),
}


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def available() -> bool:
    """Whether the kernel takes filters and this machine's system calls are known here."""
    machine = _MACHINES.get(platform.machine())
    if machine is None or struct.calcsize("P") != 8:
        return False
    action = ctypes.c_uint32(_RET_ERRNO)
    answer = libc().syscall(
        syscalls.SECCOMP[machine.column],
        ctypes.c_uint32(_SECCOMP_GET_ACTION_AVAIL),
        ctypes.c_uint32(0),
        ctypes.byref(action),
    )
    return answer == 0


def restrict(own_pid: int) -> None:
    """Filter the calls of every thread of this process, for good. PR_SET_NO_NEW_PRIVS must be set. Raises OSError."""
    machine = _MACHINES[platform.machine()]
    code = _assemble(machine, own_pid)
    buffer = ctypes.create_string_buffer(code, len(code))
    program = _Program(len(code) // 8, ctypes.addressof(buffer))
    if (
        libc().syscall(
            syscalls.SECCOMP[machine.column],
            ctypes.c_uint32(_SECCOMP_SET_MODE_FILTER),
            ctypes.c_uint32(_FILTER_FLAG_TSYNC),
            ctypes.byref(program),
        )
        != 0
    ):
        raise failed("seccomp")


def _assemble(machine: _Machine, own_pid: int) -> bytes:
    """The classic BPF program; each check ends in a return, so that no jump exceeds a few instructions."""
    deny = _RET_ERRNO | errno.EPERM
    program: list[tuple[int, int, int, int]] = [
        (_LOAD, 0, 0, _ARCH),
        (_EQUAL, 1, 0, machine.audit_arch),
        (_RETURN, 0, 0, _RET_KILL_PROCESS),
        (_LOAD, 0, 0, _NR),
    ]
    if machine.x32_bit is not None:
        program += [(_AT_LEAST, 0, 1, machine.x32_bit), (_RETURN, 0, 0, _RET_KILL_PROCESS)]
    column = machine.column
    program += [(_EQUAL, 0, 1, syscalls.CLONE3[column]), (_RETURN, 0, 0, _RET_ERRNO | errno.ENOSYS)]
    for numbers in syscalls.DENIED.values():
        number = numbers[column]
        if number is not None:
            program += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, deny)]
    program += [
        # A thread is a clone with CLONE_THREAD; any other is a new process.
        (_EQUAL, 0, 4, syscalls.CLONE[column]),
        (_LOAD, 0, 0, _ARG0),
        (_ANY_BIT, 1, 0, _CLONE_THREAD),
        (_RETURN, 0, 0, deny),
        (_RETURN, 0, 0, _RET_ALLOW),
    ]
    for number in (syscalls.KILL[column], syscalls.TGKILL[column]):
        # abort() signals its own process, and must be able to.
        program += [
            (_EQUAL, 0, 4, number),
            (_LOAD, 0, 0, _ARG0),
            (_EQUAL, 1, 0, own_pid),
            (_RETURN, 0, 0, deny),
            (_RETURN, 0, 0, _RET_ALLOW),
        ]
    program += [
        # Reading one's own limits is common, touching another process's is not.
        (_EQUAL, 0, 5, syscalls.PRLIMIT64[column]),
        (_LOAD, 0, 0, _ARG0),
        (_EQUAL, 2, 0, own_pid),
        (_EQUAL, 1, 0, 0),
        (_RETURN, 0, 0, deny),
        (_RETURN, 0, 0, _RET_ALLOW),
        # A process that outlived its zygote would be nobody's to kill.
        (_EQUAL, 0, 5, syscalls.PRCTL[column]),
        (_LOAD, 0, 0, _ARG0),
        (_EQUAL, 1, 0, PR_SET_PDEATHSIG),
        (_EQUAL, 0, 1, PR_SET_DUMPABLE),
        (_RETURN, 0, 0, deny),
        (_RETURN, 0, 0, _RET_ALLOW),
        (_RETURN, 0, 0, _RET_ALLOW),
    ]
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in program)
