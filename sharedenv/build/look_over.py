"""What uv has installed is looked over before it is sealed: whole, nobody else's to change, and every file hashed."""

from __future__ import annotations

import os

from sharedenv.build.seal import Installed, Probed, take_private
from sharedenv.build.uv import UvFailed
from sharedenv.pool.check import altered_entries, installed_packages, missing_entries, read_contents
from sharedenv.pool.dist_info import hide_credentials
from sharedenv.pool.inventory import take_inventory


def look_over(venv: str, probed: Probed) -> tuple[Installed, list[str]]:
    """A staged environment, and which files of it are not what their wheels say. Raises UvFailed where some are missing, OSError."""
    hide_credentials(venv)
    contents = read_contents(venv)
    if contents.exposed:  # before they are looked at: what is found in order is what is run
        for path in contents.exposed:
            take_private(os.path.join(venv, path))
        contents = read_contents(venv)
    if missing := missing_entries(venv, contents):
        some = ", ".join(missing[:3])
        raise UvFailed(f"the install is incomplete: {len(missing)} recorded files are missing or empty ({some})", 2)
    inventory = take_inventory(venv, contents.files, contents.directories)
    return Installed(venv, probed, installed_packages(contents), contents, inventory), altered_entries(venv, contents, inventory)
