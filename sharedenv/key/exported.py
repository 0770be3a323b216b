"""Versions for other tools: the text of a requirements.txt that pip and uv take. Pure (of a pylock.toml: versions.py)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator

from sharedenv.key.versions import Pin, Versions


def requirements_text(versions: Versions, head: str, restore: Callable[[str], str], folders: Collection[str] = ()) -> str:
    """The text, with hashes where they are known of every package: pip takes all or none.

    head     the comment at its top, without the #
    restore  makes a URL out of what is written relative to the project
    folders  names of packages that come from a folder of this machine: no line can ask for them elsewhere
    """
    hashed = not folders and all(pin.files for pin in versions.pins)
    lines = [f"# {head}", *_indexes(versions)]
    for pin in versions.pins:
        if pin.name in folders:
            lines.append(f"# {pin.name} {pin.version} comes from a folder of this machine")
            continue
        hashes = sorted({file.sha256 for file in pin.files})
        if hashed:
            lines.append(" \\\n".join([_requirement(pin, restore), *(f"    --hash=sha256:{digest}" for digest in hashes)]))
        else:
            lines.append(_requirement(pin, restore) + "".join(f"  # sha256:{digest}" for digest in hashes))
    return "\n".join(lines) + "\n"


def _requirement(pin: Pin, restore: Callable[[str], str]) -> str:
    if pin.url or pin.git:
        return pin.requirement.replace(pin.url, restore(pin.url)) if pin.url else pin.requirement
    return f"{pin.name}=={pin.version}"


def _indexes(versions: Versions) -> Iterator[str]:
    """The indexes that packages are from, but for the one that most are from: that is the reader's own."""
    found = Counter(pin.index for pin in versions.pins if pin.files and not pin.url and pin.index.startswith(("http://", "https://")))
    for index, _ in found.most_common()[1:]:
        yield f"--extra-index-url {index}"
