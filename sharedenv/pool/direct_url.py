"""The URLs that an installer writes into an environment (PyPA's "recording the direct URL origin"), without credentials.

uv leaves out what stands before the host, and keeps a token in the query.
"""

from __future__ import annotations

import base64
import csv
import glob
import hashlib
import io
import json
import os

from sharedenv.pool.private import private
from sharedenv.secret import strip_url

_NAME = "direct_url.json"


def hide_credentials(venv: str) -> None:
    """Takes credentials out of every direct_url.json, and writes what it is now into the RECORD beside it. Raises OSError.

    Both files are the environment's own, not links into uv's cache: uv writes them anew at each install.
    """
    for path in glob.glob(os.path.join(glob.escape(venv), "lib", "*", "site-packages", "*.dist-info", _NAME)):
        with open(path, "rb") as file:
            document = json.load(file)
        url = strip_url(document["url"])
        if url == document["url"]:
            continue
        data = json.dumps({**document, "url": url}, separators=(",", ":")).encode()
        _replace(path, data)
        _record(os.path.dirname(path), data)


def _record(folder: str, data: bytes) -> None:
    path = os.path.join(folder, "RECORD")
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    name = f"{os.path.basename(folder)}/{_NAME}"
    with open(path, encoding="utf-8", newline="") as file:
        rows = [[name, f"sha256={digest}", str(len(data))] if row[:1] == [name] else row for row in csv.reader(file)]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    _replace(path, text.getvalue().encode())


def _replace(path: str, data: bytes) -> None:
    with open(path + ".new", "wb", opener=private) as file:
        file.write(data)
    os.replace(path + ".new", path)
