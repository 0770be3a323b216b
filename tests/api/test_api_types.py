"""A stranger's program is checked against the API by `mypy --strict`: nothing of it is Any, and what is wrong is found."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import sharedenv

PROGRAM = """\
import sharedenv

environments = sharedenv.build(["a.py", "b*.py"], jobs=2, on_event=print)
found = sharedenv.find("a.py")
result = sharedenv.run(
    "a.py", arguments=[1, "b"], table=[{"step": 0.5}], timeout=60, on_result=lambda case: print(case.seconds + 1),
    on_output=lambda output: print(output.stdout.decode()),
)
planned = sharedenv.plan("a.py")
joined = sharedenv.join(planned, wait=True)
submitted = sharedenv.submit("a.py", tasks=2, options=["--sbatch", "--hold"])
reveal_type(environments)
reveal_type(found)
reveal_type(result)
reveal_type(next(iter(result)).memory)
reveal_type(result.raise_for_failures())
reveal_type(planned)
reveal_type(joined.failures)
reveal_type(submitted)
reveal_type(sharedenv.status(submitted).left)
reveal_type(sharedenv.runs())
reveal_type(sharedenv.results())
reveal_type(sharedenv.report(planned, output="x.html"))
try:
    sharedenv.run("a.py", jobs="4")
except sharedenv.RunFailed as error:
    reveal_type(error.result)
    reveal_type(error.hint)
sharedenv.nothing()
"""
REVEALED = [
    "list[Environment]", "Environment | None", "RunResult", "int | None", "RunResult", "str", "tuple[CaseResult, ...]", "str", "int",
    "list[RunStatus]", "RunResult", "str", "RunResult", "str | None",
]  # fmt: skip


def test_a_program_is_checked(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--config-file=", "program.py"],
        cwd=tmp_path, env={**os.environ, "MYPYPATH": str(Path(sharedenv.__file__).parent.parent)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    revealed = re.findall(r'Revealed type is "(.*)"', done.stdout)
    assert [re.sub(r"(?:builtins|sharedenv)\.(?:\w+\.)*", "", one) for one in revealed] == REVEALED
    errors = [line for line in done.stdout.splitlines() if ": error: " in line]
    assert len(errors) == 2, done.stdout
    assert 'Argument "jobs" to "run" has incompatible type "str"' in errors[0]
    assert 'Module has no attribute "nothing"' in errors[1]
