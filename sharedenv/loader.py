"""Loads what is ours from where it lies, at two looks a module: the command (console-script) has Python run this text, and a job
(cluster/submit.py) imports it first.

Python's own search looks through all folders, and at a module's files six times.
"""

import posix
import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import MAGIC_NUMBER, ExtensionFileLoader, SourceFileLoader
from _imp import extension_suffixes
from marshal import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType

_PACKAGES = sys.path[-1] if __name__ == "__main__" else __file__.rpartition("/sharedenv/")[0]  # the command has put it there
_LIBRARIES = ("fcntl", "_sha2", "_sha256")
_COMPILED = f".{sys.implementation.cache_tag}.pyc"


class Start(SourceFileLoader):
    """Finds and loads the modules of sharedenv, and the two of Python's that a start needs."""

    _source: posix.stat_result | None = None  # what the search has seen of the source, until that is loaded

    @staticmethod
    def find_spec(name: str, *_more: object) -> ModuleSpec | None:
        """Where a module lies; None for all that others find."""
        if name in ("sharedenv", "sharedenv.start"):
            folder, file = name.replace(".", "/"), "__init__"
        elif name.startswith("sharedenv."):
            folder, _, file = name.replace(".", "/").rpartition("/")
        elif name in _LIBRARIES:
            library = f"{sys.path[-2]}/{name}{extension_suffixes()[0]}"
            return ModuleSpec(name, ExtensionFileLoader(name, library), origin=library) if posix.access(library, posix.R_OK) else None
        else:
            return None
        return _spec(name, f"{_PACKAGES}/{folder}", file) or _spec(name, f"{_PACKAGES}/{folder}/{file}", "__init__")

    def get_code(self, fullname: str) -> "CodeType | None":
        """What Python has compiled, where it is of this source; else Python's own way, which compiles it."""
        folder, _, file = self.path.rpartition("/")
        try:
            source, self._source = self._source or posix.stat(self.path), None
            descriptor = posix.open(f"{folder}/__pycache__/{file[:-3]}{_COMPILED}", posix.O_RDONLY | posix.O_CLOEXEC)
            compiled = posix.read(descriptor, 1 << 20)
            posix.close(descriptor)
            if compiled[:4] == MAGIC_NUMBER and compiled[4:16] == b"\0\0\0\0%b%b" % (
                int(source.st_mtime).to_bytes(4, "little"),
                source.st_size.to_bytes(4, "little"),
            ):
                code: CodeType = loads(memoryview(compiled)[16:])
                return code
        except (OSError, ValueError, EOFError, TypeError, OverflowError):
            pass
        return super().get_code(fullname)


def _spec(name: str, folder: str, file: str) -> ModuleSpec | None:
    loader = Start(name, f"{folder}/{file}.py")
    try:
        loader._source = posix.stat(loader.path)
    except OSError:
        return None
    spec = ModuleSpec(name, loader, origin=loader.path, is_package=file == "__init__")
    spec.cached = f"{folder}/__pycache__/{file}{_COMPILED}"
    spec.has_location = True
    if spec.submodule_search_locations is not None:
        spec.submodule_search_locations.append(folder)
    return spec


sys.meta_path.insert(1, Start)  # behind what is built in: in many a Python the two are
if __name__ == "__main__":
    del sys.argv[0]
    from sharedenv.entry import main  # found by Start

    sys.exit(main())
