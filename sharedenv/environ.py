"""The variables a script is started with, whoever starts it: run, exec, activate or a task. Pure and without imports."""

from __future__ import annotations

#: variables that would send the environment's Python elsewhere, or tell it that it is another one
MISLEADING = ("PYTHONHOME", "__PYVENV_LAUNCHER__", "VIRTUAL_ENV_PROMPT")


def environ_in(environment: str, environ: dict[str, str]) -> dict[str, str]:
    """``environ`` as it is inside the environment at this path: VIRTUAL_ENV set, its bin first on PATH, PYTHONHOME gone.

    PYTHONPATH stays, as under `uv run`: it is the user's own way to add modules.
    """
    inside = {name: value for name, value in environ.items() if name not in MISLEADING}
    inside["VIRTUAL_ENV"] = environment
    path = environ.get("PATH")
    inside["PATH"] = f"{environment}/bin:{path}" if path else f"{environment}/bin"
    return inside
