"""Who may touch a pool: what others could have planted or may change is not run.

A pool is trusted when it belongs to the user, to root, or to somebody the user trusts (SHAREDENV_TRUST), and nobody else may
write into it. Sharing in a group is done on purpose (`build --shared-group`): the mark `shared` in pool.json counts when it
was made by the pool's owner, who also owns the folder around the pool. That owner could put other scripts into the folder
anyway, so running from the pool gives no further power away; a pool planted in /tmp or in a colleague's folder gets none.

Imports next to nothing (see environ), since every start asks; one lstat of the pool and one of the environment.
"""

import _stat as stat
import posix

from sharedenv.start.access import OTHERS, again

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

VARIABLE = "SHAREDENV_TRUST"
MARK = b'"shared": "group"'  #: in pool.json
ROOT = 0
_CONFIG = 1 << 20  #: bytes that no pyvenv.cfg has: Python reads all of it
OPEN = "others may write into it"


class Distrust(Exception):
    """Why something is not to be used, and the command that mends it (None where none does)."""

    def __init__(self, message: str, cause: str, hint: str | None) -> None:
        super().__init__(message)
        self.message = message
        self.cause = cause
        self.hint = hint


def check_pool(pool: str, environ: "Mapping[str, str]") -> posix.stat_result | None:
    """The stat of a pool that may be used; None when there is none. Raises Distrust.

    A pool that is a link (to a scratch disk) is looked at where the link leads, and the link itself is looked at too.
    """
    try:
        link = posix.lstat(pool)
    except FileNotFoundError:
        return None
    found = _behind(pool) if stat.S_ISLNK(link.st_mode) else link
    shared = _marked(pool, found)
    if not (_trusted(link.st_uid, pool, environ) and _trusted(found.st_uid, pool, environ)) and not (
        shared and link.st_uid == found.st_uid and _owner_of_the_folder(pool, found)
    ):
        owner = user_name(found.st_uid if not _trusted(found.st_uid, pool, environ) else link.st_uid)
        raise Distrust(
            f"the pool {pool} belongs to {owner}, and you are {user_name(posix.geteuid())}",
            "whoever owns a pool decides what runs in your scripts",
            f"export {VARIABLE}={owner}",
        )
    if found.st_mode & stat.S_IWOTH or (found.st_mode & stat.S_IWGRP and not shared):
        who = "anybody" if found.st_mode & stat.S_IWOTH else f"the group {group_name(found.st_gid)}"
        raise Distrust(
            f"{who} may write into the pool {pool}",
            "whoever may write there decides what runs in your scripts",
            f"chmod -R {'o' if shared else 'go'}-w {_quoted(pool)}",
        )
    return found


def _behind(link: str) -> posix.stat_result:
    try:
        return posix.stat(link)
    except FileNotFoundError:
        from os.path import realpath  # noqa: PLC0415 - only this message needs it

        target = realpath(link)
        raise Distrust(
            f"the pool {link} leads to {target}, which is not there",
            "its disk is not mounted here, or a purge has taken it",
            f"ls -ld {_quoted(target)}",
        ) from None


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
        if stat.S_ISLNK(found.st_mode):
            raise Distrust(f"{path} is a link", "a folder of a pool lies in the pool", f"rm {_quoted(path)}")
        if found.st_mode & 0o022 & ~limit:
            raise Distrust(
                f"others may write into {path}",
                "whoever may write there decides what runs in your scripts",
                f"chmod -R {'o' if limit & stat.S_IWGRP else 'go'}-w {_quoted(path)}",
            )


def environment_fault(pool: posix.stat_result, environment: str, environ: "Mapping[str, str]") -> str | None:
    """Why an environment of a pool that is trusted (its stat is ``pool``) must not be run, in words, or None.

    What uv writes anew into each (the rest are its cache's files) has the modes of one umask, and pyvenv.cfg is the first that
    Python believes: one look at it, and older versions of sharedenv that left them open to a group are seen at each start.
    """
    try:
        found = posix.lstat(environment)
        if not stat.S_ISDIR(found.st_mode):
            return "it is no folder"
        config = posix.lstat(f"{environment}/pyvenv.cfg")
    except OSError as error:
        return f"it can't be looked at: {error.strerror}"
    if not stat.S_ISREG(config.st_mode) or config.st_size > _CONFIG:
        return "its pyvenv.cfg is damaged"
    return file_fault(found, environment, environ, pool) or ("others may write its pyvenv.cfg" if config.st_mode & OTHERS else None)


def file_fault(
    found: posix.stat_result, path: str, environ: "Mapping[str, str]", pool: posix.stat_result | None = None
) -> str | None:
    """Why what is at a path (its stat is ``found``) must not be believed, in words, or None.

    ``pool``: the stat of a trusted pool, where what its owner has made counts, and what members of the group that it is shared
    with have.
    """
    known = _trusted(found.st_uid, path, environ)
    if not known and pool is not None:
        # in a shared pool its folders hand their group to what members make there
        member = bool(pool.st_mode & stat.S_IWGRP) and found.st_gid == pool.st_gid
        known = found.st_uid == pool.st_uid or member
    if not known:
        return f"it belongs to {user_name(found.st_uid)}"
    return OPEN if found.st_mode & OTHERS else None


def is_shared(pool: str) -> bool:
    """Whether a pool is shared in a group on purpose."""
    try:
        return _marked(pool, posix.stat(pool))
    except OSError:
        return False


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


def _trusted(uid: int, path: str, environ: "Mapping[str, str]") -> bool:
    if uid in (posix.geteuid(), ROOT):
        return True
    listed = environ.get(VARIABLE)
    return bool(listed) and _listed(uid, path, (listed or "").split(":"))


def _listed(uid: int, path: str, items: list[str]) -> bool:
    # user names, uids, pools by their absolute path, or all below a folder by `/folder/*`, as git's safe.directory has it
    for item in filter(None, (item.strip() for item in items)):
        if item.startswith("/"):
            if item.endswith("/*"):
                if path.startswith(item[:-1]):
                    return True
            elif path == item.rstrip("/") or path.startswith((item.rstrip("/") + "/envs/", item.rstrip("/") + "/runs/")):
                return True
        elif item in (str(uid), user_name(uid)):
            return True
    return False


def _marked(pool: str, found: posix.stat_result) -> bool:
    if not found.st_mode & stat.S_IWGRP:
        return False  # what only its owner may write needs no mark: nothing more is read
    try:
        flags = posix.O_RDONLY | posix.O_NOFOLLOW | posix.O_NONBLOCK | posix.O_CLOEXEC
        descriptor = again(lambda: posix.open(f"{pool}/pool.json", flags))
    except OSError:
        return False
    try:
        marker = posix.fstat(descriptor)
        # a member of the group may put another file there, but not one that belongs to the pool's owner
        return (
            stat.S_ISREG(marker.st_mode)
            and marker.st_uid == found.st_uid
            and not marker.st_mode & OTHERS
            and MARK in posix.read(descriptor, 4096)
        )
    finally:
        posix.close(descriptor)


def _owner_of_the_folder(pool: str, found: posix.stat_result) -> bool:
    try:
        folder = posix.stat(pool.rpartition("/")[0] or "/")
    except OSError:
        return False
    return folder.st_uid == found.st_uid and not folder.st_mode & stat.S_IWOTH
