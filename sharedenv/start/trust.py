"""Who may touch a pool: what others could have planted or may change is not run.

A pool is trusted when it belongs to the user, to root, or to somebody the user trusts (SHAREDENV_TRUST), and nobody else may
write into it. Sharing in a group is done on purpose (`build --shared-group`): the mark `shared` in pool.json counts when it
was made by the pool's owner, who also owns the folder around the pool. That owner could put other scripts into the folder
anyway, so running from the pool gives no further power away; a pool planted in /tmp or in a colleague's folder gets none.

Imports next to nothing (see environ), since every start asks; one lstat of the pool and one of the environment.
"""

import posix

from sharedenv.start.access import ALL, GROUP, IS_FILE, IS_FOLDER, IS_LINK, KIND, OTHERS, again

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE = "SHAREDENV_TRUST"
MARK = b'"shared": "group"'  #: in pool.json
ROOT = 0
_CONFIG = 1 << 20  #: bytes that no pyvenv.cfg has: Python reads all of it
OPEN = "others may write into it"


def check_pool(pool: str, environ: "Mapping[str, str]", link: posix.stat_result | None = None) -> posix.stat_result | None:
    """The stat of a pool that may be used; None when there is none. Raises Distrust.

    A pool that is a link (to a scratch disk) is looked at where the link leads, and the link itself is looked at too: ``link``
    is what lstat says of it, where that is known already.
    """
    try:
        link = link or posix.lstat(pool)
    except FileNotFoundError:
        return None
    found = _behind(pool) if link.st_mode & KIND == IS_LINK else link
    shared = _marked(pool, found)
    if not (_trusted(link.st_uid, pool, environ) and _trusted(found.st_uid, pool, environ)) and not (
        shared and link.st_uid == found.st_uid and _owner_of_the_folder(pool, found)
    ):
        from sharedenv.start.distrust import strange_owner  # noqa: PLC0415 - a start loads no words that it doesn't say

        raise strange_owner(pool, found.st_uid if not _trusted(found.st_uid, pool, environ) else link.st_uid, VARIABLE)
    if found.st_mode & ALL or (found.st_mode & GROUP and not shared):
        from sharedenv.start.distrust import open_to_others  # noqa: PLC0415 - words that are said are loaded then

        raise open_to_others(pool, found, shared=shared)
    return found


def _behind(link: str) -> posix.stat_result:
    try:
        return posix.stat(link)
    except FileNotFoundError:
        from sharedenv.start.distrust import leads_nowhere  # noqa: PLC0415 - words that are said are loaded then

        raise leads_nowhere(link) from None


def environment_fault(pool: posix.stat_result, environment: str, environ: "Mapping[str, str]") -> str | None:
    """Why an environment of a pool that is trusted (its stat is ``pool``) must not be run, in words, or None.

    What uv writes anew into each (the rest are its cache's files) has the modes of one umask, and pyvenv.cfg is the first that
    Python believes: one look at it, and older versions of sharedenv that left them open to a group are seen at each start.
    """
    try:
        found = posix.lstat(environment)
        if found.st_mode & KIND != IS_FOLDER:
            return "it is no folder"
        config = posix.lstat(f"{environment}/pyvenv.cfg")
    except OSError as error:
        return f"it can't be looked at: {error.strerror}"
    if config.st_mode & KIND != IS_FILE or config.st_size > _CONFIG:
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
        member = bool(pool.st_mode & GROUP) and found.st_gid == pool.st_gid
        known = found.st_uid == pool.st_uid or member
    if not known:
        from sharedenv.start.distrust import user_name  # noqa: PLC0415 - words that are said are loaded then

        return f"it belongs to {user_name(found.st_uid)}"
    return OPEN if found.st_mode & OTHERS else None


def is_shared(pool: str) -> bool:
    """Whether a pool is shared in a group on purpose."""
    try:
        return _marked(pool, posix.stat(pool))
    except OSError:
        return False


def _trusted(uid: int, path: str, environ: "Mapping[str, str]") -> bool:
    if uid in (posix.geteuid(), ROOT):
        return True
    listed = environ.get(VARIABLE)
    return bool(listed) and _listed(uid, path, (listed or "").split(":"))


def _listed(uid: int, path: str, items: list[str]) -> bool:
    from sharedenv.start.distrust import user_name  # noqa: PLC0415 - words that are said are loaded then

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
    if not found.st_mode & GROUP:
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
            marker.st_mode & KIND == IS_FILE
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
    return folder.st_uid == found.st_uid and not folder.st_mode & ALL
