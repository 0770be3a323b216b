"""The URLs that an installer writes into an environment (PyPA's "recording the direct URL origin"), without credentials.

uv leaves out what stands before the host, and keeps a token in the query.
"""

from __future__ import annotations

import glob
import json
import os

from sharedenv.pool.record import rewrite_record, write_anew
from sharedenv.secret import strip_url
from sharedenv.start.regular import read_regular

_NAME = "direct_url.json"


def hide_credentials(venv: str) -> None:
    """Takes credentials out of every direct_url.json, and writes what it is now into the RECORD beside it. Raises OSError.

    Both files are the environment's own, not links into uv's cache: uv writes them anew at each install.
    """
    for path in glob.glob(os.path.join(glob.escape(venv), "lib", "*", "site-packages", "*.dist-info", _NAME)):
        document = json.loads(read_regular(path))
        url = strip_url(document["url"])
        if url == document["url"]:
            continue
        data = json.dumps({**document, "url": url}, separators=(",", ":")).encode()
        write_anew(path, data)
        folder = os.path.dirname(path)
        rewrite_record(folder, {f"{os.path.basename(folder)}/{_NAME}": data})
