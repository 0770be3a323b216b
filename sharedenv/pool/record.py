"""The RECORD of an installed package (PyPA's "recording installed projects") after files that it names were written anew."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import os
import stat
from collections.abc import Mapping

from sharedenv.pool.private import private
from sharedenv.start.regular import MOST, read_regular


def rewrite_record(folder: str, written: Mapping[str, bytes]) -> bool:
    """Puts hash and size of files into the RECORD in a dist-info folder; whether it names any of them. Raises OSError.

    ``written``: what the files hold now, by their paths as the RECORD has them (relative to site-packages).
    """
    path = os.path.join(folder, "RECORD")
    rows = list(csv.reader(io.StringIO(read_regular(path, MOST).decode(), newline="")))
    named = [row for row in rows if row and row[0] in written]
    for row in named:
        data = written[row[0]]
        row[1:] = [f"sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()}", str(len(data))]
    if named:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        write_anew(path, text.getvalue().encode())
    return bool(named)


def write_anew(path: str, data: bytes) -> None:
    """Another file with the mode of the one that is there, in its place: that one may have a second name in uv's cache."""
    with open(path + ".new", "wb", opener=private) as file:
        file.write(data)
    os.chmod(path + ".new", stat.S_IMODE(os.stat(path).st_mode))
    os.replace(path + ".new", path)
