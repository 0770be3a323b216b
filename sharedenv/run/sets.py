"""The sets of versions of a run, kept in its folder: `versions/<key>-<n>.toml` is the n-th that a key has in it.

A set is put down before the first case that is computed with it. The last one of a key counts: it is what the run goes on with,
whatever the pool has come to hold. Files are made by a link, complete; of several workers who begin at once, the first decides.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from sharedenv.pool.files import make_folders, private, readable_as, sync_descriptor
from sharedenv.pool.sets import digest_in
from sharedenv.run.case import Case, Result
from sharedenv.start.regular import read_regular
from sharedenv.values import frozen

if TYPE_CHECKING:
    from sharedenv.key.versions import Versions

_FOLDER = "versions"


@frozen
class SetUsed:
    """One set of versions of a run: what is in it (None: nobody knows any more), the environments that had it, its results' cases."""

    digest: str
    versions: Versions | None
    environments: tuple[str, ...]
    cases: tuple[Case, ...]


def pin(run: str, key: str, digest: str, text: Callable[[], bytes], *, move: bool = False) -> str:
    """Puts down the set of a key in the run at a path; the digest of the set that counts: another, where the key has one already.

    ``text``: the set as TOML. ``move``: the run goes on with this set, whatever it had. Raises OSError.
    """
    folder = os.path.join(run, _FOLDER)
    make_folders(folder)
    temporary = ""
    try:
        while True:
            number, counts = _numbered(run).get(key, (0, ""))
            if counts == digest or (counts and not move):
                return counts
            temporary = temporary or _write(folder, text())
            try:
                os.link(temporary, os.path.join(folder, f"{key}-{number + 1}.toml"))
            except FileExistsError:
                continue  # another worker was faster
            except OSError:  # there are no hard links here, where the rename of one comes last
                os.rename(temporary, os.path.join(folder, f"{key}-{number + 1}.toml"))
                temporary = ""
            return digest
    finally:
        if temporary:
            os.unlink(temporary)


def pinned(run: str) -> dict[str, str]:
    """Key → digest of the set that counts in the run at a path; of an older sharedenv's run, none. Raises OSError."""
    return {key: digest for key, (_, digest) in _numbered(run).items() if digest}


def sets_of_shares(shares: Mapping[int, str]) -> dict[str, dict[str, list[int]]]:
    """Of each key that shares of one whole have several sets for: digest → the shares. ``shares``: number → path of its run.

    Raises OSError.
    """
    found: dict[str, dict[str, list[int]]] = {}
    for number, run in shares.items():
        for key, digest in pinned(run).items():
            found.setdefault(key, {}).setdefault(digest, []).append(number)
    return {key: sets for key, sets in found.items() if len(sets) > 1}


def sets_of(run: str) -> dict[str, Versions]:
    """Digest → versions of all sets that the run at a path was computed with; what is damaged is left out. Raises OSError."""
    from sharedenv.key.versions import VersionsError, parse_versions  # noqa: PLC0415 - to run a case, nothing is parsed

    found = {}
    for name in _names(run):
        try:
            versions = parse_versions(read_regular(os.path.join(run, _FOLDER, name)).decode())
        except (VersionsError, UnicodeDecodeError):
            continue
        found[versions.digest] = versions
    return found


def cases_by_set(cases: Iterable[Case], results: Mapping[int, Result]) -> dict[str, dict[str, list[Case]]]:
    """Key of the plan → set → the cases whose last result was computed with it. Where a key has several, the run is a mixed one.

    Results of an older sharedenv say nothing of it, and are left out.
    """
    found: dict[str, dict[str, list[Case]]] = {}
    for case in cases:
        if (result := results.get(case.sequence)) is not None and result.versions and not result.interrupted:
            found.setdefault(case.key, {}).setdefault(result.versions, []).append(case)
    return found


def mixed(cases: Iterable[Case], results: Mapping[int, Result]) -> list[Mapping[str, list[Case]]]:
    """Of the keys whose results were computed with several sets, which cases with which. An empty list is as it should be."""
    return [sets for sets in cases_by_set(cases, results).values() if len(sets) > 1]


def sets_used(run: str, cases: Iterable[Case], results: Mapping[int, Result]) -> list[SetUsed]:
    """The sets of the run at a path, in the order of their first cases; last those without a result. Raises OSError."""
    known = sets_of(run)
    found: dict[str, tuple[dict[str, None], list[Case]]] = {}
    for case in cases:
        if (result := results.get(case.sequence)) is not None and result.versions and not result.interrupted:
            environments, own = found.setdefault(result.versions, ({}, []))
            environments[result.environment] = None
            own.append(case)
    found |= {digest: ({}, []) for digest in known if digest not in found}
    return [SetUsed(digest, known.get(digest), tuple(names), tuple(own)) for digest, (names, own) in found.items()]


def _numbered(run: str) -> dict[str, tuple[int, str]]:
    """Key → number and digest of its last set."""
    found: dict[str, tuple[int, str]] = {}
    for name in _names(run):
        key, _, number = name.removesuffix(".toml").rpartition("-")
        if number.isdigit() and int(number) > found.get(key, (0, ""))[0]:
            found[key] = (int(number), digest_in(read_regular(os.path.join(run, _FOLDER, name))))
    return found


def _names(run: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(os.path.join(run, _FOLDER)) if name.endswith(".toml"))
    except FileNotFoundError:
        return []


def _write(folder: str, text: bytes) -> str:
    """A complete temporary file."""
    path = os.path.join(folder, f".new-{os.urandom(8).hex()}")
    with open(path, "xb", opener=private) as file:
        file.write(text)
        file.flush()
        sync_descriptor(file.fileno())
    readable_as(path, os.path.dirname(folder))
    return path
