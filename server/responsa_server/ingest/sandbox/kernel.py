"""The few kernel calls that the standard library lacks, by ctypes.

Numbers are Linux's: prctl(2), capset(2), landlock(7), seccomp(2), and the system call tables of x86_64 and aarch64.
"""

from __future__ import annotations

import ctypes
import os

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4

_CAPABILITY_VERSION_3 = 0x20080522


class _CapabilityHeader(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _CapabilityData(ctypes.Structure):
    _fields_ = [
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    ]


def libc() -> ctypes.CDLL:
    """The C library of this process, with errno kept."""
    return ctypes.CDLL(None, use_errno=True)


def failed(call: str) -> OSError:
    """The error that the last call through `libc()` left."""
    number = ctypes.get_errno()
    return OSError(number, f"{call}: {os.strerror(number)}")


def prctl(option: int, value: int) -> None:
    """prctl(2) with one argument. Raises OSError."""
    if (
        libc().prctl(option, ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0))
        != 0
    ):
        raise failed("prctl")


def drop_capabilities() -> None:
    """Give up every capability, so that root is bound by rlimits and file modes like anybody. Raises OSError."""
    library = libc()
    zero = ctypes.c_ulong(0)
    # Not every kernel knows ambient capabilities, and only root may drop from the bounding set: neither matters once
    # the sets below are empty and no new privileges can come.
    library.prctl(PR_CAP_AMBIENT, ctypes.c_ulong(PR_CAP_AMBIENT_CLEAR_ALL), zero, zero, zero)
    header = _CapabilityHeader(_CAPABILITY_VERSION_3, 0)
    data = (_CapabilityData * 2)()
    if library.capset(ctypes.byref(header), data) != 0:
        raise failed("capset")
