"""Landlock (Linux 5.13 and later): the process keeps read access below the given folders and loses all other.

It governs opening: descriptors that are open already stay usable. UDP and unix sockets are seccomp's to refuse.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from pathlib import Path

from responsa_server.ingest.sandbox.kernel import failed, libc

_SYS_CREATE_RULESET = 444
_SYS_ADD_RULE = 445
_SYS_RESTRICT_SELF = 446
_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH = 1

_ACCESS_READ_FILE = 1 << 2
_ACCESS_READ_DIR = 1 << 3
# Rights that each version of the interface added: what is not handled is not restricted.
_FS_RIGHTS = ((1, (1 << 13) - 1), (2, 1 << 13), (3, 1 << 14), (5, 1 << 15))
_NET_RIGHTS = (4, 0b11)
_SCOPES = (6, 0b11)


class _RulesetAttributes(ctypes.Structure):
    _fields_ = [
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    ]


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32)]


def abi_version() -> int:
    """The kernel's Landlock interface version; 0 where there is none or it is switched off."""
    version = int(
        libc().syscall(
            _SYS_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_CREATE_RULESET_VERSION)
        )
    )
    return max(version, 0)


def restrict(abi: int, readable: Sequence[Path]) -> None:
    """Restrict this thread and what it starts, for good; `abi` as `abi_version()` told (at least 1).

    Folders that are missing are left out. PR_SET_NO_NEW_PRIVS must be set. Raises OSError.
    """
    library = libc()
    handled_fs = 0
    for since, rights in _FS_RIGHTS:
        if abi >= since:
            handled_fs |= rights
    attributes = _RulesetAttributes(
        handled_fs,
        _NET_RIGHTS[1] if abi >= _NET_RIGHTS[0] else 0,
        _SCOPES[1] if abi >= _SCOPES[0] else 0,
    )
    # Older kernels know a shorter structure and refuse a longer one unless its tail is zero: it is.
    ruleset = int(
        library.syscall(
            _SYS_CREATE_RULESET,
            ctypes.byref(attributes),
            ctypes.c_size_t(ctypes.sizeof(attributes)),
            ctypes.c_uint32(0),
        )
    )
    if ruleset < 0:
        raise failed("landlock_create_ruleset")
    try:
        for folder in readable:
            _allow_reading(library, ruleset, folder)
        if library.syscall(_SYS_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0)) != 0:
            raise failed("landlock_restrict_self")
    finally:
        os.close(ruleset)


def _allow_reading(library: ctypes.CDLL, ruleset: int, path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        access = _ACCESS_READ_FILE | (_ACCESS_READ_DIR if path.is_dir() else 0)
        rule = _PathBeneath(access, descriptor)
        if (
            library.syscall(
                _SYS_ADD_RULE,
                ctypes.c_int(ruleset),
                ctypes.c_int(_RULE_PATH_BENEATH),
                ctypes.byref(rule),
                ctypes.c_uint32(0),
            )
            != 0
        ):
            raise failed("landlock_add_rule")
    finally:
        os.close(descriptor)
