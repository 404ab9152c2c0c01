"""Becomes another program, tied to the life of the process that started it.

Run as a script of its own (``python -I -S launch.py OPTIONS -- PROGRAM ARGUMENTS``) between our fork and
the server's exec: here nothing else runs, no thread holds a lock, and the order of the steps is ours. The
change of user comes first, since it clears the parent-death signal; then the signal; then a look whether
the parent died in between. Needs the standard library only.
"""

import ctypes
import os
import signal
import sys

CLONE_NEWUSER = 0x10000000
PR_SET_PDEATHSIG = 1
CANNOT_LAUNCH = 126  # as a shell says it: found, but not to be run


def enter_namespace(uid: int) -> None:
    """Continue as ``uid`` inside a new user namespace, still the same user outside.

    PostgreSQL refuses root; this way it sees an ordinary user while files under /root stay readable.
    Raises OSError where the kernel or a container forbids it.
    """
    outside_user, outside_group = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWUSER) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"no user namespace: {os.strerror(number)}")
    # the kernel wants setgroups denied before an unprivileged process may map its group
    for name, text in (
        ("setgroups", "deny"),
        ("gid_map", f"{uid} {outside_group} 1"),
        ("uid_map", f"{uid} {outside_user} 1"),
    ):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)


def become_user(uid: int, gid: int) -> None:
    """Give up root for good."""
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)


def die_with_parent(number: int, parent: int) -> None:
    """Have the kernel send us signal ``number`` when the thread that started us ends (Linux only)."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:  # it died before the line above
        sys.exit(CANNOT_LAUNCH)


def main(arguments: list[str]) -> None:
    """Options: ``--parent PID --signal NAME [--namespace UID | --user UID:GID]``."""
    cut = arguments.index("--")
    options = dict(zip(arguments[:cut:2], arguments[1:cut:2], strict=True))
    command = arguments[cut + 1 :]
    try:
        if "--namespace" in options:
            enter_namespace(int(options["--namespace"]))
        if "--user" in options:
            uid, gid = options["--user"].split(":")
            become_user(int(uid), int(gid))
        die_with_parent(signal.Signals[options["--signal"]], int(options["--parent"]))
        os.execv(command[0], command)  # noqa: S606 - replacing ourselves is the purpose
    except OSError as error:
        sys.stderr.write(f"launch: {command[0]}: {error.strerror or error}\n")
        sys.exit(CANNOT_LAUNCH)


if __name__ == "__main__":
    main(sys.argv[1:])
