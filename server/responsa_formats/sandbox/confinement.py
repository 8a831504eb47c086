"""Confines a process that reads what strangers wrote, with resource limits, another user, Landlock and a seccomp
filter. Under root, it also gives each part a user of its own, and leaves the server only the capabilities that it
needs.

Every function here acts on the calling process permanently, and uses ctypes if the standard library lacks the call. The constants
come from Linux: prctl(2), capset(2), landlock(7), seccomp(2). The system call numbers of x86_64 and aarch64 are at the end of this file.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import platform
import resource
import signal
import struct
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Literal

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_NO_NEW_PRIVS = 38
_PR_SET_KEEPCAPS = 8
_PR_CAPBSET_DROP = 24
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_CAPABILITY_VERSION_3 = 0x20080522
_CAPABILITY_BITS = 64


class UnixUser(IntEnum):
    """The user ids of the processes that root starts, each with a group of the same number.

    They need no entry in the passwd table. Debian reserves these numbers and systemd hands them out to nobody, and the
    user namespace of a container has them. 65534 is nobody, as which other programs run, and 65532 is the user of many
    images of containers.
    """

    PARSERS = 65533
    ENVOY = 65531
    REDIS = 65530
    POSTGRES = 65529
    LANGUAGE_MODEL = 65527


class Capability(IntEnum):
    """Some of the capabilities of capabilities(7)."""

    CHOWN = 0
    DAC_OVERRIDE = 1
    FOWNER = 3
    KILL = 5
    SETGID = 6
    SETUID = 7


SUPERVISOR = frozenset(Capability)
"""What `responsa up` keeps of root's capabilities: what it takes to start, signal and end processes of other users, and
to prepare their folders."""
SERVER = frozenset({Capability.KILL, Capability.SETGID, Capability.SETUID})
"""What a server keeps of root's capabilities: what it takes to start parsers and programs of MCP servers as other
users, and to end them."""


@dataclass(frozen=True, slots=True)
class SandboxCapabilities:
    """The kernel's support for confinement. landlock_abi: the version of Landlock's interface; 0 if the kernel lacks Landlock.

    Resource limits and separate processes are always available.
    """

    landlock_abi: int
    seccomp: bool

    @property
    def complete(self) -> bool:
        """Whether the kernel can restrict both file access and system calls."""
        return self.landlock_abi > 0 and self.seccomp

    @property
    def sentence(self) -> str:
        """The confinement in one sentence, for operators."""
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
    """Detect the kernel's support for confinement. Changes nothing."""
    return SandboxCapabilities(landlock_abi(), _seccomp_available())


def confine(
    sandbox: SandboxCapabilities,
    readable: Sequence[Path],
    *,
    memory_bytes: int,
    cpu_seconds: int,
    parent_pid: int,
) -> None:
    """Confine this process for good, and let it end with its parent. Descriptors that are open stay usable.

    readable: the folders that it may still read. memory_bytes, cpu_seconds: see `apply_rlimits`. Raises OSError if a
    step fails, or if the parent has ended.
    """
    apply_rlimits(memory_bytes, cpu_seconds)
    drop_privileges()
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    prctl(PR_SET_DUMPABLE, 0)
    # Set the death signal after any change of user, because a change of user clears the signal.
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        raise ProcessLookupError(errno.ESRCH, "the parent has ended")
    if sandbox.landlock_abi:
        restrict_files(sandbox.landlock_abi, readable)
    if sandbox.seccomp:
        restrict_calls(os.getpid())


# -- the process ----------------------------------------------------------------------------------------------------


class _CapabilityHeader(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _CapabilityData(ctypes.Structure):
    _fields_ = [
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    ]


@functools.cache
def _libc() -> ctypes.CDLL:
    """The C library of this process, with errno preserved."""
    return ctypes.CDLL(None, use_errno=True)


def _error_of(call: str) -> OSError:
    """The error of the last call through `_libc()`."""
    number = ctypes.get_errno()
    return OSError(number, f"{call}: {os.strerror(number)}")


def prctl(option: int, value: int) -> None:
    """Call prctl(2) with one argument. Raises OSError."""
    zero = ctypes.c_ulong(0)
    if _libc().prctl(option, ctypes.c_ulong(value), zero, zero, zero) != 0:
        raise _error_of("prctl")


def drop_privileges() -> None:
    """Stop being root, if this process is root, and give up every capability. Raises OSError.

    Landlock and seccomp do not restrict everything that a user id permits. The user id also decides which processes a signal may
    reach. Without Landlock, only file modes protect root's files.
    """
    if os.geteuid() == 0:
        become(UnixUser.PARSERS, UnixUser.PARSERS)
    _keep(0)


def become(user: int, group: int) -> None:
    """Stop being root for good, with all threads; the kernel takes every capability away. Raises OSError."""
    os.setgroups([])
    os.setresgid(group, group, group)
    os.setresuid(user, user, user)


def become_before_exec(user: int, group: int) -> None:
    """Stop being root, so that the program that this process executes has no capability and can gain none. Until then,
    the process reaches every file. Raises OSError.

    So the program itself may lie in a folder that only root may enter.
    """
    prctl(_PR_SET_KEEPCAPS, 1)
    become(user, group)
    _keep(1 << Capability.DAC_OVERRIDE)
    prctl(PR_SET_NO_NEW_PRIVS, 1)


def keep_capabilities(allowed: Collection[Capability]) -> None:
    """Give up all of root's capabilities but these, for this thread and all programs and threads that it starts. Does
    nothing if this process is not root. Raises OSError."""
    if os.geteuid() == 0:
        library, zero = _libc(), ctypes.c_ulong(0)
        for number in range(_CAPABILITY_BITS):
            if number not in allowed:  # this may fail in a container; what counts are the sets below
                library.prctl(_PR_CAPBSET_DROP, ctypes.c_ulong(number), zero, zero, zero)
        _keep(sum(1 << capability for capability in allowed))
        # Otherwise, root would have all of them again after it has executed a program.
        prctl(PR_SET_NO_NEW_PRIVS, 1)


def _keep(wanted: int) -> None:
    """Reduce the sets of capabilities of this thread to these bits at most. Raises OSError."""
    library = _libc()
    zero = ctypes.c_ulong(0)
    # This fails if the kernel lacks ambient capabilities.
    library.prctl(_PR_CAP_AMBIENT, ctypes.c_ulong(_PR_CAP_AMBIENT_CLEAR_ALL), zero, zero, zero)
    header = _CapabilityHeader(_CAPABILITY_VERSION_3, 0)
    data = (_CapabilityData * 2)()
    if library.capget(ctypes.byref(header), data) != 0:
        raise _error_of("capget")
    for half, word in enumerate(data):
        held = word.permitted & (wanted >> 32 * half)
        word.effective, word.permitted, word.inheritable = held, held, 0
    if library.capset(ctypes.byref(header), data) != 0:
        raise _error_of("capset")


def apply_rlimits(memory_bytes: int, cpu_seconds: int) -> None:
    """Set the soft and the hard resource limits (setrlimit(2)) of this process.

    memory_bytes: the address space that the process may use in addition to its current size. At the limit of processor
    time the process ends with SIGXCPU. Beyond the memory limit it gets a MemoryError or aborts. RLIMIT_NPROC does not
    restrict root.
    """
    address_space = _virtual_bytes() + memory_bytes
    resource.setrlimit(resource.RLIMIT_AS, (address_space, address_space))
    # The hard limit, one second later, kills a process that ignores SIGXCPU.
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))
    for limit, value in (
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_NOFILE, 32),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
    ):
        hard = resource.getrlimit(limit)[1]
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (bound, bound))


def _virtual_bytes() -> int:
    """The size of this process's address space in bytes, from /proc/self/statm, which counts in pages (proc(5))."""
    # Without a file object: every document pays for the memory pages that a forked process writes to.
    descriptor = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return int(os.read(descriptor, 256).split()[0]) * os.sysconf("SC_PAGE_SIZE")
    finally:
        os.close(descriptor)


# -- Landlock (Linux 5.13 and later): which files may be opened -------------------------------------------------------

_SYS_CREATE_RULESET = 444
_SYS_ADD_RULE = 445
_SYS_RESTRICT_SELF = 446
_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH = 1

_ACCESS_READ_FILE = 1 << 2
_ACCESS_READ_DIR = 1 << 3
# The access rights that each version of the interface added. Landlock does not restrict a right that the ruleset does not list.
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


def landlock_abi() -> int:
    """The version of the kernel's Landlock interface; 0 if Landlock is missing or disabled."""
    version = int(
        _libc().syscall(
            _SYS_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_CREATE_RULESET_VERSION)
        )
    )
    return max(version, 0)


def restrict_files(abi: int, readable: Sequence[Path]) -> None:
    """Allow reading below the given folders, and no other access to files. abi: the result of `landlock_abi()`, at least 1.

    Landlock restricts the opening of files; descriptors that are already open stay usable. Landlock does not restrict UDP and
    unix sockets; the seccomp filter refuses them. Missing folders are skipped. PR_SET_NO_NEW_PRIVS must be set. Raises OSError.
    """
    library = _libc()
    handled_fs = 0
    for since, rights in _FS_RIGHTS:
        if abi >= since:
            handled_fs |= rights
    attributes = _RulesetAttributes(
        handled_fs,
        _NET_RIGHTS[1] if abi >= _NET_RIGHTS[0] else 0,
        _SCOPES[1] if abi >= _SCOPES[0] else 0,
    )
    # Older kernels have a shorter structure. These kernels accept the longer structure because its tail is zero.
    ruleset = int(
        library.syscall(
            _SYS_CREATE_RULESET,
            ctypes.byref(attributes),
            ctypes.c_size_t(ctypes.sizeof(attributes)),
            ctypes.c_uint32(0),
        )
    )
    if ruleset < 0:
        raise _error_of("landlock_create_ruleset")
    try:
        for folder in readable:
            _allow_reading(library, ruleset, folder)
        if library.syscall(_SYS_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0)) != 0:
            raise _error_of("landlock_restrict_self")
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
        added = library.syscall(
            _SYS_ADD_RULE,
            ctypes.c_int(ruleset),
            ctypes.c_int(_RULE_PATH_BENEATH),
            ctypes.byref(rule),
            ctypes.c_uint32(0),
        )
        if added != 0:
            raise _error_of("landlock_add_rule")
    finally:
        os.close(descriptor)


# -- seccomp (Linux 3.17 and later): which system calls may be made ---------------------------------------------------

_SECCOMP_SET_MODE_FILTER = 1
_SECCOMP_GET_ACTION_AVAIL = 2
_FILTER_FLAG_TSYNC = 1
_RET_KILL_PROCESS = 0x80000000
_RET_ERRNO = 0x00050000
_RET_ALLOW = 0x7FFF0000
_DENY = _RET_ERRNO | errno.EPERM
_UNKNOWN_CALL = _RET_ERRNO | errno.ENOSYS
_CLONE_THREAD = 0x00010000

# Offsets into struct seccomp_data. Both machines are little-endian, so the low half of an argument comes first.
_NR, _ARCH, _ARG0, _ARG1 = 0, 4, 16, 24
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06


@dataclass(frozen=True, slots=True)
class _Machine:
    """How programs on one kind of machine make system calls.

    audit_arch: the AUDIT_ARCH value that the kernel reports for calls in the machine's own convention. column: the
    machine's column in the tables of system call numbers. x32_bit: the bit that is set in every number of the kernel's
    second table (x32), which the filter refuses; None if the kernel has no second table for this machine.
    """

    audit_arch: int
    column: Literal[0, 1]
    x32_bit: int | None


_MACHINES = {
    "x86_64": _Machine(audit_arch=0xC000003E, column=0, x32_bit=0x40000000),
    "aarch64": _Machine(audit_arch=0xC00000B7, column=1, x32_bit=None),
}


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def _seccomp_available() -> bool:
    """Whether the kernel accepts seccomp filters and this file has the system call numbers of this machine."""
    machine = _MACHINES.get(platform.machine())
    if machine is None or struct.calcsize("P") != 8:
        return False
    action = ctypes.c_uint32(_RET_ERRNO)
    answer = _libc().syscall(
        _SECCOMP[machine.column],
        ctypes.c_uint32(_SECCOMP_GET_ACTION_AVAIL),
        ctypes.c_uint32(0),
        ctypes.byref(action),
    )
    return answer == 0


def restrict_calls(own_pid: int) -> None:
    """Limit every thread of this process to computation and its open descriptors. PR_SET_NO_NEW_PRIVS must be set. Raises OSError.

    Denied calls fail with EPERM, so that a library can continue without them. clone3 fails with ENOSYS: its flags are
    behind a pointer, where a filter cannot read them. The C library then falls back to clone, which passes its flags in
    a register. Calls with numbers above _HIGHEST also fail with ENOSYS, because the tables do not cover them. A call in
    a foreign calling convention kills the process.
    """
    machine = _MACHINES[platform.machine()]
    code = _assemble(machine, own_pid)
    buffer = ctypes.create_string_buffer(code, len(code))
    program = _Program(len(code) // 8, ctypes.addressof(buffer))
    done = _libc().syscall(
        _SECCOMP[machine.column],
        ctypes.c_uint32(_SECCOMP_SET_MODE_FILTER),
        ctypes.c_uint32(_FILTER_FLAG_TSYNC),
        ctypes.byref(program),
    )
    if done != 0:
        raise _error_of("seccomp")


def _assemble(machine: _Machine, own_pid: int) -> bytes:
    """Assemble the filter as a classic BPF program. Each check ends with a return, so that no jump skips more than a few instructions."""
    column = machine.column
    program: list[tuple[int, int, int, int]] = [
        (_LOAD, 0, 0, _ARCH),
        (_EQUAL, 1, 0, machine.audit_arch),
        (_RETURN, 0, 0, _RET_KILL_PROCESS),
        (_LOAD, 0, 0, _NR),
    ]
    if machine.x32_bit is not None:
        program += [(_AT_LEAST, 0, 1, machine.x32_bit), (_RETURN, 0, 0, _RET_KILL_PROCESS)]
    program += [(_AT_LEAST, 0, 1, _HIGHEST + 1), (_RETURN, 0, 0, _UNKNOWN_CALL)]
    program += [(_EQUAL, 0, 1, _CLONE3[column]), (_RETURN, 0, 0, _UNKNOWN_CALL)]
    for numbers in _DENIED.values():
        number = numbers[column]
        if number is not None:
            program += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _DENY)]
    for numbers, commands in _DENIED_COMMANDS:
        # The second argument is the command; the kernel reads only its low half.
        program += [(_EQUAL, 0, 2 * len(commands) + 2, numbers[column]), (_LOAD, 0, 0, _ARG1)]
        for command in commands:
            program += [(_EQUAL, 0, 1, command), (_RETURN, 0, 0, _DENY)]
        program += [(_RETURN, 0, 0, _RET_ALLOW)]
    program += [
        # A thread is a clone with CLONE_THREAD; any other clone is a new process.
        (_EQUAL, 0, 4, _CLONE[column]),
        (_LOAD, 0, 0, _ARG0),
        (_ANY_BIT, 1, 0, _CLONE_THREAD),
        (_RETURN, 0, 0, _DENY),
        (_RETURN, 0, 0, _RET_ALLOW),
    ]
    for number in (_KILL[column], _TGKILL[column]):
        # abort() must be able to signal its own process.
        program += [
            (_EQUAL, 0, 4, number),
            (_LOAD, 0, 0, _ARG0),
            (_EQUAL, 1, 0, own_pid),
            (_RETURN, 0, 0, _DENY),
            (_RETURN, 0, 0, _RET_ALLOW),
        ]
    program += [
        # A process often reads its own limits. Access to another process's limits is not allowed.
        (_EQUAL, 0, 5, _PRLIMIT64[column]),
        (_LOAD, 0, 0, _ARG0),
        (_EQUAL, 2, 0, own_pid),
        (_EQUAL, 1, 0, 0),
        (_RETURN, 0, 0, _DENY),
        (_RETURN, 0, 0, _RET_ALLOW),
        # If a process cleared its parent-death signal, it could outlive its zygote, and nothing would kill it.
        (_EQUAL, 0, 5, _PRCTL[column]),
        (_LOAD, 0, 0, _ARG0),
        (_EQUAL, 1, 0, PR_SET_PDEATHSIG),
        (_EQUAL, 0, 1, PR_SET_DUMPABLE),
        (_RETURN, 0, 0, _DENY),
        (_RETURN, 0, 0, _RET_ALLOW),
        (_RETURN, 0, 0, _RET_ALLOW),
    ]
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in program)


# -- system calls: (number on x86_64, number on aarch64), with None if the machine does not have the call --------------
# From the kernel's own tables (asm/unistd_64.h, asm-generic/unistd.h).

_SECCOMP: tuple[int, int] = (317, 277)
_CLONE: tuple[int, int] = (56, 220)
_CLONE3: tuple[int, int] = (435, 435)
_KILL: tuple[int, int] = (62, 129)
_TGKILL: tuple[int, int] = (234, 131)
_PRLIMIT64: tuple[int, int] = (302, 261)
_PRCTL: tuple[int, int] = (157, 167)
_FCNTL: tuple[int, int] = (72, 25)
_IOCTL: tuple[int, int] = (16, 29)

_HIGHEST = 462
"""The highest number on either machine that these tables cover (mseal, Linux 6.10). From 424 on, both machines use the same numbers."""

_DENIED_COMMANDS: tuple[tuple[tuple[int, int], tuple[int, ...]], ...] = (
    # These fcntl commands make the kernel signal a chosen process: F_SETOWN, F_SETSIG, F_SETOWN_EX, F_SETLEASE,
    # F_NOTIFY.
    (_FCNTL, (8, 10, 15, 1024, 1026)),
    # These ioctl commands do the same: FIOASYNC, FIOSETOWN, SIOCSPGRP.
    (_IOCTL, (0x5452, 0x8901, 0x8902)),
)
"""System calls that take a command as their second argument, with the commands that a parsing process may not use."""

# System calls that a parsing process never needs.
# fmt: off
_DENIED: dict[str, tuple[int, int | None]] = {
    # networks
    "socket": (41, 198), "socketpair": (53, 199), "bind": (49, 200), "connect": (42, 203), "listen": (50, 201),
    "accept": (43, 202), "accept4": (288, 242), "getsockname": (51, 204), "getpeername": (52, 205),
    "sendto": (44, 206), "recvfrom": (45, 207), "sendmsg": (46, 211), "recvmsg": (47, 212),
    "sendmmsg": (307, 269), "recvmmsg": (299, 243), "setsockopt": (54, 208), "getsockopt": (55, 209),
    "shutdown": (48, 210),
    # processes
    "fork": (57, None), "vfork": (58, None), "execve": (59, 221), "execveat": (322, 281), "ptrace": (101, 117),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "process_madvise": (440, 440),
    "process_mrelease": (448, 448), "kcmp": (312, 272), "pidfd_open": (434, 434), "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424), "tkill": (200, 130), "lsm_set_self_attr": (460, 460),
    "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240),
    # other ways into the kernel
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "userfaultfd": (323, 282),
    "perf_event_open": (298, 241), "bpf": (321, 280), "keyctl": (250, 219), "add_key": (248, 217),
    "request_key": (249, 218),
    # shared memory and queues
    "shmget": (29, 194), "shmat": (30, 196), "shmctl": (31, 195), "shmdt": (67, 197), "msgget": (68, 186),
    "msgsnd": (69, 189), "msgrcv": (70, 188), "msgctl": (71, 187), "semget": (64, 190), "semop": (65, 193),
    "semtimedop": (220, 192), "semctl": (66, 191), "mq_open": (240, 180), "mq_unlink": (241, 181),
    "mq_timedsend": (242, 182), "mq_timedreceive": (243, 183), "mq_notify": (244, 184),
    "mq_getsetattr": (245, 185),
    # identity and limits
    "setuid": (105, 146), "setgid": (106, 144), "setreuid": (113, 145), "setregid": (114, 143),
    "setresuid": (117, 147), "setresgid": (119, 149), "setfsuid": (122, 151), "setfsgid": (123, 152),
    "setgroups": (116, 159), "capset": (126, 91), "setrlimit": (160, 164), "setpriority": (141, 140),
    "sched_setaffinity": (203, 122), "sched_setscheduler": (144, 119), "sched_setparam": (142, 118),
    "sched_setattr": (314, 274), "ioprio_set": (251, 30), "setpgid": (109, 154), "setsid": (112, 157),
    "personality": (135, 92),
    # namespaces and mounts
    "unshare": (272, 97), "setns": (308, 268), "chroot": (161, 51), "pivot_root": (155, 41), "mount": (165, 40),
    "umount2": (166, 39), "mount_setattr": (442, 442), "move_mount": (429, 429), "fsopen": (430, 430),
    "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433), "open_tree": (428, 428),
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265),
    # the machine
    "reboot": (169, 142), "swapon": (167, 224), "swapoff": (168, 225), "sethostname": (170, 161),
    "setdomainname": (171, 162), "init_module": (175, 105), "finit_module": (313, 273),
    "delete_module": (176, 106), "kexec_load": (246, 104), "kexec_file_load": (320, 294), "acct": (163, 89),
    "quotactl": (179, 60), "quotactl_fd": (443, 443), "syslog": (103, 116), "settimeofday": (164, 170),
    "clock_settime": (227, 112), "adjtimex": (159, 171), "clock_adjtime": (305, 266), "vhangup": (153, 58),
    "iopl": (172, None), "ioperm": (173, None), "modify_ldt": (154, None),
    # changing files
    "creat": (85, None), "truncate": (76, 45), "ftruncate": (77, 46), "fallocate": (285, 47),
    "mknod": (133, None), "mknodat": (259, 33), "mkdir": (83, None), "mkdirat": (258, 34), "rmdir": (84, None),
    "unlink": (87, None), "unlinkat": (263, 35), "link": (86, None), "linkat": (265, 37), "symlink": (88, None),
    "symlinkat": (266, 36), "rename": (82, None), "renameat": (264, 38), "renameat2": (316, 276),
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452),
    "chown": (92, None), "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54), "utime": (132, None),
    "utimes": (235, None), "utimensat": (280, 88), "futimesat": (261, None), "setxattr": (188, 5),
    "lsetxattr": (189, 6), "fsetxattr": (190, 7), "removexattr": (197, 14), "lremovexattr": (198, 15),
    "fremovexattr": (199, 16), "inotify_init": (253, None), "inotify_init1": (294, 26),
    "fanotify_init": (300, 262), "fanotify_mark": (301, 263),
}
# fmt: on
