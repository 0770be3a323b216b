"""Small wheels that the suite builds itself, so that real uv installs real packages without a network."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path


def make_wheel(
    folder: Path,
    name: str,
    version: str,
    *,
    requires: Sequence[str] = (),
    requires_python: str | None = None,
    extras: Mapping[str, Sequence[str]] | None = None,
    modules: Mapping[str, str] | None = None,
    commands: Mapping[str, str] | None = None,
) -> Path:
    """Writes `<name>-<version>-py3-none-any.whl` into ``folder`` and returns its path.

    modules   file name in site-packages → text; by default one module `<name>.py` that holds its VERSION
    commands  console script → `module:function`
    """
    tag = name.replace("-", "_")
    info = f"{tag}-{version}.dist-info"
    metadata = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    if requires_python:
        metadata.append(f"Requires-Python: {requires_python}")
    metadata += [f"Requires-Dist: {requirement}" for requirement in requires]
    for extra, requirements in (extras or {}).items():
        metadata.append(f"Provides-Extra: {extra}")
        metadata += [f'Requires-Dist: {requirement} ; extra == "{extra}"' for requirement in requirements]
    files = dict(modules) if modules is not None else {f"{tag}.py": f"VERSION = {version!r}\n"}
    files[f"{info}/METADATA"] = "\n".join(metadata) + "\n"
    files[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    if commands:
        lines = "\n".join(f"{command} = {target}" for command, target in commands.items())
        files[f"{info}/entry_points.txt"] = f"[console_scripts]\n{lines}\n"
    record = "".join(
        f"{path},sha256={_digest(text)},{len(text.encode())}\n" for path, text in files.items()
    ) + f"{info}/RECORD,,\n"
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{tag}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in {**files, f"{info}/RECORD": record}.items():
            # a fixed time: the same wheel has the same bytes in every test session
            archive.writestr(zipfile.ZipInfo(path, (2020, 1, 1, 0, 0, 0)), text)
    return wheel


def make_index(folder: Path) -> Path:
    """The wheels that most tests use: alpha (1.0, 1.1, 2.0), beta (needs alpha), gamma (an extra), tool (a command)."""
    for version in ("1.0", "1.1", "2.0"):
        make_wheel(folder, "alpha", version)
    make_wheel(folder, "beta", "1.0", requires=["alpha<2"])
    make_wheel(folder, "gamma", "1.0", extras={"more": ["beta"]})
    make_wheel(
        folder,
        "tool",
        "1.0",
        modules={"tool.py": "import sys\n\ndef main():\n    print('tool in', sys.prefix)\n"},
        commands={"tool": "tool:main"},
    )
    make_wheel(folder, "future", "1.0", requires_python=">=3.99")
    return folder


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
