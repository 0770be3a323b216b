"""Programs of other people, of one version each, from the package registry into environments that last as long as the tests."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import filelock
import pytest
from uv import find_uv_bin

#: the versions that the pages say were tried
VERSIONS = {
    "jupyter-client": "8.10.0",
    "mypy": "2.4.1",
    "pre-commit": "4.7.0",
    "pyright": "1.1.414",
    "ruff": "0.17.5",
    "snakemake": "9.27.1",
    "submitit": "1.5.4",
    "ty": "0.0.104",
}

Tools = Callable[..., str]


@pytest.fixture(scope="session")
def tools(shared_folder: Path, clean_env: dict[str, str]) -> Tools:
    """`tools("ty", "mypy")`: the folder with the commands of these packages, installed once for all workers."""

    def installed(*names: str) -> str:
        folder = shared_folder / "tools" / "-".join(names)
        folder.parent.mkdir(exist_ok=True)
        with filelock.FileLock(f"{folder}.lock"):
            if not (folder / "complete").exists():
                wanted = [f"{name}=={VERSIONS[name]}" for name in names]
                for words in (["venv", "-q", "--clear", "--python", sys.executable], ["pip", "install", "-q", *wanted, "--python"]):
                    done = subprocess.run([find_uv_bin(), *words, folder], env=clean_env, capture_output=True, text=True, check=False)
                    assert done.returncode == 0, done.stderr
                (folder / "complete").touch()
        return f"{folder}/bin"

    return installed
