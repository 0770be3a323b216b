"""The API in a notebook: cells are run by a kernel, whose main thread has a loop and hears Ctrl-C by itself."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from sharedenv.build.uv import find_uv
from tests.conftest import Project

ROOT = Path(__file__).parent.parent.parent
CELLS = [
    "import signal, sharedenv\nbefore = signal.getsignal(signal.SIGINT)",
    "[environment] = sharedenv.build('case*/script.py')\nenvironment.versions",
    "lines = []\nresult = sharedenv.run('case*/script.py', on_output=lambda one: lines.append(one.stdout))\nlen(result), sorted(lines)",
    "import asyncio\nagain = await asyncio.gather(*[asyncio.to_thread(sharedenv.run, f'case{number}/script.py') for number in (1, 2)])\n[len(one.failures) for one in again]",
    "result.raise_for_failures()\nsignal.getsignal(signal.SIGINT) == before, sharedenv.status(result.id).state",
    "sharedenv.run('none.py')",
]
EXECUTE = """
import nbclient, nbformat, sys
notebook = nbformat.read(sys.argv[1], as_version=4)
nbclient.NotebookClient(notebook, timeout=240, kernel_name="python3", allow_errors=True).execute()
nbformat.write(notebook, sys.argv[1])
"""


def _cell(source: str) -> dict[str, Any]:
    return {"cell_type": "code", "id": f"c{abs(hash(source))}", "metadata": {}, "source": source, "outputs": [], "execution_count": None}


@pytest.mark.registry
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_notebook(project: Project, clean_env: dict[str, str]) -> None:
    project.copies(2, body="print('hello')")
    path = project.path / "sweep.ipynb"
    path.write_text(json.dumps({"cells": [_cell(source) for source in CELLS], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    words = ["run", "--no-project", "--python", sys.executable, *(f"--with={name}" for name in (*needed, "nbclient", "ipykernel"))]
    done = subprocess.run(
        [find_uv(project.env).path, *words, "python", "-c", EXECUTE, path],
        cwd=project.path, env=clean_env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    outputs = [cell["outputs"] for cell in json.loads(path.read_text())["cells"]]
    told = ["".join("".join(output["data"]["text/plain"]) for output in cell if "data" in output) for cell in outputs[:-1]]
    assert told == ["", "{}", "(2, [b'hello\\n', b'hello\\n'])", "[0, 0]", "(True, 'done')"]
    assert not any(output.get("output_type") == "stream" for cell in outputs for output in cell)  # nothing was printed
    [error] = outputs[-1]
    assert error["evalue"].startswith("none.py can't be used; nothing was done\ncause: no such file\nhint: ls ")
