"""What this machine is, as far as packages go. Imports nothing but os: every start pays for it."""

from __future__ import annotations

import os


def platform_tag() -> str:
    """System, machine and libc family, such as ``linux-x86_64-gnu``; ``darwin-arm64`` where there is one libc alone."""
    name = os.uname()
    system, machine = name.sysname.lower(), name.machine
    return f"{system}-{machine}-{_libc_family()}" if system == "linux" else f"{system}-{machine}"


def _libc_family() -> str:
    # asks the C library this process runs on, so no process and no file; musl has no such name, or nothing to say
    try:
        return "gnu" if os.confstr("CS_GNU_LIBC_VERSION") else "musl"
    except (ValueError, OSError):
        return "musl"
