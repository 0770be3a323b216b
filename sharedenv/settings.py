"""What counts from outside the script: the Python request, the project's configuration, UV_* variables, the platform."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything outside a script that can change what is installed. ``root`` is the project's root, the pool's parent."""

    root: str
    python: str | None = None  # the explicit request, as `uv python find` takes it
    variables: Mapping[str, str] = field(default_factory=dict)
    platform: str = ""


def gather_settings(root: str, environ: Mapping[str, str], python: str | None = None) -> Settings:
    """Settings of a project: ``python`` is the --python option, the first of the requests that counts."""
    request = python or environ.get("SHAREDENV_PYTHON") or environ.get("UV_PYTHON") or _pinned(root)
    return Settings(root, request or None, {}, platform_tag())


def platform_tag() -> str:
    """System, machine and libc family, such as ``linux-x86_64-gnu``."""
    libc = "musl" if any(name.startswith("ld-musl-") for name in os.listdir("/lib")) else "gnu"
    return f"{platform.system().lower()}-{platform.machine()}-{libc}"


def _pinned(root: str) -> str | None:
    try:
        with open(os.path.join(root, ".python-version"), encoding="utf-8") as file:
            for line in file:
                if (text := line.strip()) and not text.startswith("#"):
                    return text
    except FileNotFoundError:
        pass
    return None
