"""Sources that can change under one key: has uv anything else to install now?"""

from __future__ import annotations

import os

from sharedenv.build.construct import in_own_tmpdir, prepare
from sharedenv.build.construction import Construction
from sharedenv.build.uv import UvFailed, is_outdated
from sharedenv.key.plan import Need
from sharedenv.key.uv_inputs import build_inputs
from sharedenv.pool.files import private
from sharedenv.secret import redact


def has_drifted(need: Need, work: Construction, environment: str) -> bool:
    """Whether uv would now install something else into the environment at this path, which stays as it is.

    What counts as a change is uv's to say: a new commit of a branch; of a folder, its pyproject.toml and what
    `tool.uv.cache-keys` names in it. Raises UvFailed when uv can't tell, OSError.
    """
    inputs = build_inputs(need.payload, work.settings, strict=work.options.strict)
    flags = [*(["--locked"] if inputs.lock is not None else []), *(["--offline"] if work.options.offline else [])]
    work.step("asking uv whether its sources have changed")
    with in_own_tmpdir(work) as inside:  # nothing of it belongs in the pool, which may be read-only
        folder = os.path.join(inside.environ["TMPDIR"], "asked")
        os.mkdir(folder, 0o700)
        script, environ = prepare(need, inside, inputs, folder)
        try:
            with open(os.path.join(folder, "log"), "w+", encoding="utf-8", errors="surrogateescape", opener=private) as log:
                return is_outdated(work.uv, script, environment, flags, environ, folder, log)
        except UvFailed as failure:
            raise UvFailed(redact(failure.words, inputs.secrets), failure.status, failure.hint) from None
