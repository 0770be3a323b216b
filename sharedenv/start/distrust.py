"""What is said of a pool that is not trusted (see trust), and what only those look at who build or remove.

No start of what is trusted loads it.
"""

import posix

from sharedenv.start.access import ALL, GROUP, IS_LINK, KIND

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


class Distrust(Exception):
    """Why something is not to be used, and the command that mends it (None where none does)."""

    def __init__(self, message: str, cause: str, hint: str | None) -> None:
        super().__init__(message)
        self.message = message
        self.cause = cause
        self.hint = hint


def strange_owner(pool: str, uid: int, variable: str) -> Distrust:
    """Of a pool that belongs, or whose link does, to a user who is not trusted, and would be by this variable."""
    owner = user_name(uid)
    return Distrust(
        f"the pool {pool} belongs to {owner}, and you are {user_name(posix.geteuid())}",
        "whoever owns a pool decides what runs in your scripts",
        f"export {variable}={owner}",
    )


def open_to_others(pool: str, found: posix.stat_result, *, shared: bool) -> Distrust:
    """Of a pool (its stat is ``found``) that all may write into, or a group that it is not shared with."""
    who = "anybody" if found.st_mode & ALL else f"the group {group_name(found.st_gid)}"
    return Distrust(
        f"{who} may write into the pool {pool}",
        "whoever may write there decides what runs in your scripts",
        f"chmod -R {'o' if shared else 'go'}-w {_quoted(pool)}",
    )


def leads_nowhere(link: str) -> Distrust:
    """Of a pool that is a link to what is not there."""
    from os.path import realpath  # noqa: PLC0415 - only this message needs it

    target = realpath(link)
    return Distrust(
        f"the pool {link} leads to {target}, which is not there",
        "its disk is not mounted here, or a purge has taken it",
        f"ls -ld {_quoted(target)}",
    )


def check_folders(pool: str, names: "Iterable[str]") -> None:
    """Raises Distrust when a folder of this name in a pool that may be used is open to more than the pool itself.

    Not asked at each start: what is planted there belongs to somebody else and is not run. Who builds or removes asks.
    """
    limit = posix.stat(pool).st_mode
    for path in (f"{pool}/{name}" for name in names):
        try:
            found = posix.lstat(path)
        except OSError:
            continue  # purges take empty folders; the next build makes it again
        if found.st_mode & KIND == IS_LINK:
            raise Distrust(f"{path} is a link", "a folder of a pool lies in the pool", f"rm {_quoted(path)}")
        if found.st_mode & 0o022 & ~limit:
            raise Distrust(
                f"others may write into {path}",
                "whoever may write there decides what runs in your scripts",
                f"chmod -R {'o' if limit & GROUP else 'go'}-w {_quoted(path)}",
            )


def _quoted(path: str) -> str:
    import shlex  # noqa: PLC0415 - only messages need it

    return shlex.quote(path)


def user_name(uid: int) -> str:
    """The name of a user, or the number where there is none (a container without its passwd)."""
    import pwd  # noqa: PLC0415 - only messages need names

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def group_name(gid: int) -> str:
    """The name of a group, or its number."""
    import grp  # noqa: PLC0415 - only messages need names

    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
