"""What a script is started in: the platform, and the variables it gets, whoever starts it (run, exec, activate or a task).

Every start pays for what is imported here: posix, which is built in, is all that os has to offer but its paths, and os takes a
millisecond to load.
"""

import posix
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

#: variables that would send the environment's Python elsewhere, or tell it that it is another one
MISLEADING = ("PYTHONHOME", "PYTHONEXECUTABLE", "__PYVENV_LAUNCHER__", "VIRTUAL_ENV_PROMPT")
#: what Python sets LC_CTYPE to in the locale C
_COERCED = (b"C.UTF-8", b"C.utf8", b"UTF-8")


def environ_in(environment: str, environ: "Mapping[str, str]", entries: str | None = None) -> dict[str, str]:
    """``environ`` as it is inside the environment at this path: VIRTUAL_ENV set, its bin first on PATH, what misleads gone.

    ``entries``: a folder that comes before its bin (see entry_points). PYTHONPATH stays, as under `uv run`: it is the user's
    own way to add modules.
    """
    inside = {name: value for name, value in environ.items() if name not in MISLEADING}
    inside["VIRTUAL_ENV"] = environment
    inside["PATH"] = ":".join(filter(None, (entries, f"{environment}/bin", environ.get("PATH"))))
    return inside


def platform_tag() -> str:
    """System, machine and libc family, such as ``linux-x86_64-gnu``; ``darwin-arm64`` where there is one libc alone."""
    name = posix.uname()
    system, machine = name.sysname.lower(), name.machine
    return f"{system}-{machine}-{_libc_family()}" if system == "linux" else f"{system}-{machine}"


def _libc_family() -> str:
    # asks the C library this process runs on, so no process and no file; musl has no such name, or nothing to say
    try:
        return "gnu" if posix.confstr("CS_GNU_LIBC_VERSION") else "musl"
    except (ValueError, OSError):
        return "musl"


def current_folder(environ: "Mapping[str, str]") -> str:
    """The folder in which relative paths start: $PWD where that is the current folder, else its path without links.

    In a case's folder that is a link to a scratch disk, $PWD alone leads to the project. Raises OSError.
    """
    here = posix.getcwd()
    named = environ.get("PWD", "")
    if named == here or named[:1] != "/" or any(part in f"{named}/" for part in ("//", "/./", "/../")):
        return here
    try:
        one, other = posix.stat(named), posix.stat(here)
    except OSError:
        return here
    return named if (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino) else here


def encoded(text: str) -> bytes:
    """A path or a variable as the kernel has it (os.fsencode)."""
    return text.encode(sys.getfilesystemencoding(), "surrogateescape")


def own_environ() -> dict[str, str]:
    """The variables of this process, as os.environ has them."""
    encoding = sys.getfilesystemencoding()
    return {
        name.decode(encoding, "surrogateescape"): value.decode(encoding, "surrogateescape") for name, value in posix.environ.items()
    }


def undo_coercion() -> None:
    """Gives this process LC_CTYPE as its caller has it: in the locale C Python sets it (PEP 538), and what we start would see that.

    Before anything is started. Where there is no /proc, it stays.
    """
    value = posix.environ.get(b"LC_CTYPE")
    if value not in _COERCED or posix.environ.get(b"LC_ALL"):
        return
    try:
        with open("/proc/self/environ", "rb", buffering=0) as file:
            entries = file.readall().split(b"\0")
    except OSError:
        return
    given = next((entry[len(b"LC_CTYPE=") :] for entry in entries if entry.startswith(b"LC_CTYPE=")), None)
    if given == value:
        return
    if given is None:
        del posix.environ[b"LC_CTYPE"]
        posix.unsetenv(b"LC_CTYPE")
    else:
        posix.environ[b"LC_CTYPE"] = given
        posix.putenv(b"LC_CTYPE", given)
    if os := sys.modules.get("os"):  # it has made a copy of its own
        os.environb.pop(b"LC_CTYPE", None)
        os.environb.update({b"LC_CTYPE": given} if given is not None else {})
