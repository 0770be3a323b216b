"""Every byte of an environment against its inventory, and all else that must hold for it to be run.

A damaged environment is built anew, as a new generation: from the scripts it was built for, else from its manifest alone.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace

from sharedenv.build.builder import Builder, BuildObserver
from sharedenv.build.options import BuildOptions
from sharedenv.care.survey import Surveyed
from sharedenv.errors import EXIT_BUILD, SharedenvError
from sharedenv.key.make import maker
from sharedenv.key.plan import Need, make_plan
from sharedenv.key.settings import Settings, gather_settings
from sharedenv.pool.check import Contents, normal_name, read_contents
from sharedenv.pool.health import interpreter_version
from sharedenv.pool.inventory import Inventory, InventoryError, hash_entries, read_inventory
from sharedenv.pool.layout import Layout
from sharedenv.pool.manifest import Manifest, ManifestError, read_manifest
from sharedenv.pool.store import Environment, Unusable, examine
from sharedenv.start.access import INVENTORY, MANIFEST, SHORT
from sharedenv.values import frozen


@frozen
class Verified:
    """What became of looking at one environment. Paths are relative to it, sorted.

    faults      what is wrong with the environment as a whole, in words for the user
    changed     entries that are not what was built
    missing     entries that are gone
    unrecorded  entries that nobody recorded
    bytecode    how many bytecode files Python added itself since (it does where the user is root); no fault
    files       how many files were read, ``bytes`` of them
    """

    path: str
    faults: tuple[str, ...]
    changed: tuple[str, ...]
    missing: tuple[str, ...]
    unrecorded: tuple[str, ...]
    bytecode: int
    files: int
    bytes: int

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.faults or self.changed or self.missing or self.unrecorded)

    @property
    def name(self) -> str:
        """`<key12>-<n>`."""
        return os.path.basename(self.path)


def verify_packed(layout: Layout, item: Surveyed) -> Verified:
    """Verifies the archive of a packed environment: each byte is what was written when all that is in it was as built."""
    from sharedenv.copies.pack import packed_fault  # noqa: PLC0415 - few pools have packed anything
    from sharedenv.pool.packed import all_packed  # noqa: PLC0415 - as above

    faults = [packed_fault(each, layout.path) for each in all_packed(layout, os.path.basename(item.path))]
    faults = faults or ["its archive is gone"]
    return Verified(os.path.join(layout.envs, item.name), tuple(filter(None, faults)), (), (), (), 0, 1, item.bytes)


def verify(layout: Layout, path: str) -> Verified:
    """Verifies the environment at a path of this pool. Never raises for what it finds there."""
    found = examine(layout, path)
    faults = [found.reason] if isinstance(found, Unusable) else []
    try:
        manifest = read_manifest(path)
        recorded = read_inventory(path, manifest.inventory)
        contents = read_contents(path)
    except (ManifestError, InventoryError) as error:
        return _hopeless(path, [*faults, str(error)])
    except OSError as error:
        return _hopeless(path, [*faults, f"it can't be read: {error.strerror}"])
    if not faults:
        faults += _faults(path, manifest, contents)
    if contents.exposed:
        more = f" and {len(contents.exposed) - 1:,} more of its entries" if len(contents.exposed) > 1 else ""
        faults.append(f"others may write its {min(contents.exposed)}{more}")
    if away := recorded.elsewhere:  # they are in somebody's cache
        faults.append(f"{len(away):,} of its files are links, and as good as what is in {os.path.commonpath(away.values())}")
    lost = [name for name in away if name in contents.files and not os.path.exists(os.path.join(path, name))]
    return _compare(path, faults, recorded, contents, lost)


def _hopeless(path: str, faults: list[str]) -> Verified:
    return Verified(path, tuple(dict.fromkeys(faults)), (), (), (), 0, 0, 0)


def _faults(path: str, manifest: Manifest, contents: Contents) -> list[str]:
    faults = []
    version = interpreter_version(os.path.join(path, "bin", "python"))
    if version is None:
        faults.append(f"its Python {manifest.interpreter.path} does not start")
    elif version != manifest.interpreter.version:
        faults.append(f"its Python {manifest.interpreter.path} was {manifest.interpreter.version} and is {version} now")
    present = {normal_name(os.path.basename(name).partition("-")[0]) for name in contents.directories if name.endswith(".dist-info")}
    if gone := [item.name for item in manifest.packages if normal_name(item.name) not in present]:
        faults.append(f"not installed any more: {', '.join(gone)}")
    return faults


def _compare(path: str, faults: list[str], recorded: Inventory, contents: Contents, lost: list[str]) -> Verified:
    present = {name: size for name, size in contents.files.items() if name not in (MANIFEST, INVENTORY)}
    expected: Mapping[str, tuple[int, str] | str] = {**recorded.files, **recorded.links}
    changed = [name for name, size in present.items() if isinstance(record := expected.get(name), tuple) and size != record[0]]
    same = present.keys() & expected.keys() - set(changed)  # only these are read: what grew may have no end
    changed += [name for name, record in hash_entries(path, sorted(same)) if record != expected[name]]
    added = [name for name in present if name not in expected]
    bytecode = [name for name in added if _is_bytecode_of(name, recorded)]
    folders = set(recorded.directories)
    new_folders = [
        name for name in contents.directories if name not in folders and not _is_cache_of(name, folders)
    ]
    gone_folders = folders - set(contents.directories)
    return Verified(
        path,
        tuple(dict.fromkeys(faults)),
        tuple(sorted(changed)),
        tuple(sorted([*(name for name in expected if name not in present), *gone_folders, *lost])),
        tuple(sorted([*set(added).difference(bytecode), *new_folders])),
        len(bytecode),
        len(present),
        sum(present.values()),
    )


def _is_bytecode_of(name: str, recorded: Inventory) -> bool:
    # <folder>/__pycache__/<module>.cpython-311.pyc, of a source that is recorded (PEP 3147)
    folder, file = os.path.split(name)
    if os.path.basename(folder) != "__pycache__" or not file.endswith(".pyc"):
        return False
    return os.path.join(os.path.dirname(folder), file.partition(".")[0] + ".py") in recorded.files


def _is_cache_of(name: str, folders: set[str]) -> bool:
    return os.path.basename(name) == "__pycache__" and os.path.dirname(name) in folders


def repair(
    layout: Layout, item: Surveyed, options: BuildOptions, environ: Mapping[str, str], observer: BuildObserver
) -> Environment:
    """The new generation in place of a damaged environment that its key leads to. Raises SharedenvError (exit status 3)
    when it can't be built from what is known.
    """
    if item.manifest is None or item.manifest.payload.key != item.key:
        fault = "gone or damaged" if item.manifest is None else "another environment's"
        raise SharedenvError(
            f"environment {item.name} can't be built anew from its manifest",
            cause=f"its manifest is {fault}, so only the scripts that need it say what to build",
            hint="sharedenv build 'case*/script.py'",
            exit_code=EXIT_BUILD,
        )
    need, settings = _need(layout, item.manifest, environ)
    return Builder(layout, settings, replace(options, rebuild=True), environ, observer).build(need)


def _need(layout: Layout, manifest: Manifest, environ: Mapping[str, str]) -> tuple[Need, Settings]:
    payload = manifest.payload
    settings = gather_settings(layout.root, environ, payload.document["python"])
    paths = [os.path.join(layout.root, script) for script in manifest.scripts]
    for path in filter(os.path.isfile, paths):
        # a script knows what no manifest holds: the lock file's bytes, credentials
        try:
            if found := make_plan([path], maker(settings)).needs.get(payload.key):
                return found, settings
        except SharedenvError:
            continue
    if payload.document["lock"] is not None:
        raise SharedenvError(
            f"environment {payload.key[:SHORT]} was built from a lock file that is not at hand",
            cause="of the scripts it was built for, none is where it was with the same lock file",
            hint="sharedenv build --rebuild 'case*/script.py'",
            exit_code=EXIT_BUILD,
        )
    return Need(payload, tuple(paths) or (layout.path,)), settings
