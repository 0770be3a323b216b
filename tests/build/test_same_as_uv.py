"""The first build of a script is what `uv sync --script` resolves at the same minute: thirty kinds of scripts, real packages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from uv import find_uv_bin

from tests.conftest import Project
from tests.pythons import MINOR

#: kind → lines of a block
SCRIPTS: dict[str, str] = {
    "nothing": "dependencies = []",
    "one pure package": 'dependencies = ["iniconfig"]',
    "a tree of them": 'dependencies = ["rich"]',
    "an extra": 'dependencies = ["requests[socks]>=2.31"]',
    "two extras": 'dependencies = ["coverage[toml]", "httpx[http2,socks]"]',
    "a range": 'dependencies = ["click>=8,<8.2"]',
    "a pin": 'dependencies = ["attrs==23.1.0"]',
    "a pin to the letter": 'dependencies = ["attrs===23.1.0"]',
    "a compatible release": 'dependencies = ["packaging~=23.0"]',
    "a star": 'dependencies = ["jinja2==3.1.*"]',
    "an exclusion of one version": 'dependencies = ["idna!=3.10"]',
    "a marker that holds": "dependencies = [\"six; sys_platform == 'linux'\", \"pytz\"]",
    "a marker that does not": "dependencies = [\"pywin32; sys_platform == 'win32'\", \"pytz\"]",
    "a marker for older Pythons": "dependencies = [\"tomli; python_version < '3.8'\", \"exceptiongroup; python_version < '3.11'\", \"certifi\"]",
    "a name spelt otherwise": 'dependencies = ["Typing_Extensions", "MarkupSafe"]',
    "a name twice": 'dependencies = ["urllib3<3", "urllib3>=1.26"]',
    "compiled wheels": 'dependencies = ["markupsafe", "pyyaml"]',
    "many wheels of one release": 'dependencies = ["charset-normalizer"]',
    "a wheel of a stable ABI": 'dependencies = ["cryptography"]',
    "a Python with an end": f'requires-python = ">={MINOR},<4"\ndependencies = ["pluggy"]',
    "a Python of one minor version": f'requires-python = "=={MINOR}.*"\ndependencies = ["pluggy"]',
    "a floor far below": 'requires-python = ">=3.8"\ndependencies = ["numpy"]',
    "the lowest": 'dependencies = ["click>=8"]\n[tool.uv]\nresolution = "lowest"',
    "the lowest of what is named": 'dependencies = ["jinja2>=3.1"]\n[tool.uv]\nresolution = "lowest-direct"',
    "pre-releases": 'dependencies = ["attrs"]\n[tool.uv]\nprerelease = "allow"',
    "frozen in time": 'dependencies = ["requests"]\n[tool.uv]\nexclude-newer = "2024-05-01T00:00:00Z"',
    "constraints": 'dependencies = ["requests"]\n[tool.uv]\nconstraint-dependencies = ["urllib3<2", "idna<3.7"]',
    "overrides": 'dependencies = ["requests"]\n[tool.uv]\noverride-dependencies = ["certifi==2023.7.22"]',
    "exclusions": 'dependencies = ["requests"]\n[tool.uv]\nexclude-dependencies = ["charset-normalizer"]',
    "what is built here": 'dependencies = ["docopt==0.6.2"]',
    "what is built here though it has wheels": 'dependencies = ["six"]\n[tool.uv]\nno-binary-package = ["six"]',
    "versions that exclude each other": 'dependencies = ["botocore<1.35", "urllib3"]',
    "metadata by hand": 'dependencies = ["requests"]\n[[tool.uv.dependency-metadata]]\nname = "requests"\nrequires-dist = ["idna"]',
    "a large tree": 'dependencies = ["flask", "sqlalchemy", "pytest"]',
}


def installed(environment: Path) -> list[str]:
    """What is in an environment, as uv reads it."""
    argv = [find_uv_bin(), "pip", "freeze", "--python", str(environment / "bin" / "python")]
    return sorted(subprocess.check_output(argv, text=True, stderr=subprocess.DEVNULL).splitlines())


def by_uv(project: Project, folder: Path, path: Path) -> list[str]:
    """What `uv sync --script` installs, in an environment of its own."""
    venv = folder / path.parent.name
    env = {**project.env, "VIRTUAL_ENV": str(venv)}
    python = os.path.realpath(sys.executable)
    for words in (["venv", "-q", "--no-project", "--python", python, str(venv)], ["sync", "-q", "--script", str(path), "--active"]):
        done = subprocess.run([find_uv_bin(), *words], env=env, cwd=project.path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return installed(venv)


@pytest.mark.registry
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_first_build_is_what_uv_resolves(project: Project, clean_env: dict[str, str], tmp_path: Path) -> None:
    assert len(SCRIPTS) >= 30
    project.env = dict(clean_env)
    paths = {}
    for number, (kind, lines) in enumerate(SCRIPTS.items()):
        path = project.path / f"case{number}" / "script.py"
        path.parent.mkdir()
        path.write_text("# /// script\n" + "".join(f"# {line}\n" for line in lines.split("\n")) + "# ///\n")
        paths[kind] = path
    with ThreadPoolExecutor(2) as pool:
        theirs = dict(zip(paths, pool.map(lambda path: by_uv(project, tmp_path, path), paths.values()), strict=True))
    for digit in "0123456789":  # some at a time: the first are downloads
        project.call("build", "--no-compile", f"case*{digit}/script.py")
    told = json.loads(project.call("build", "--json", "case*/script.py").stdout)
    keys = dict(zip(paths, (line.split()[0] for line in project.call("key", "case*/script.py").stdout.splitlines()), strict=True))
    places = {environment["key"]: Path(environment["path"]) for environment in told["environments"]}
    ours = {kind: installed(places[keys[kind]]) for kind in paths}
    assert ours == theirs
    held = {path.name[:64] for path in (project.pool / "versions").iterdir()}
    assert held == set(keys.values())
