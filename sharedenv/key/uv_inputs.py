"""Payload → what uv is given: equal keys are built from equal bytes. Pure."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sharedenv.errors import EXIT_BUILD, SharedenvError
from sharedenv.key.make import local_packages
from sharedenv.key.payload import Payload
from sharedenv.key.requirement import RequirementError, merge, parse_requirement, parse_specifiers
from sharedenv.key.requires_python import lock_read_loosely, read_loosely
from sharedenv.key.settings import Settings, is_named, names_default_index, variable_of
from sharedenv.key.toml import toml_text, toml_value
from sharedenv.script.uv_lock import locked_python, recorded_options, secrets_of, with_urls
from sharedenv.secret import secrets_in, split_url
from sharedenv.start.uv_variables import LOCATIONS


@dataclass(frozen=True, slots=True, repr=False)
class Inputs:
    """The files and variables of one `uv sync --script`.

    Files may hold credentials: they are written with mode 0600 and are gone before the environment is published.
    uv gets no UV_* variable but ``variables``, and ``config`` as its only configuration: UV_CONFIG_FILE, or
    --config-file, keeps it from looking for the project's, the user's and the site's.
    """

    script: str  # text of the canonical script
    config: str = ""  # text of the uv.toml it is built with
    variables: Mapping[str, str] = field(default_factory=dict)  # UV_* to set; secrets may be here, never in a payload
    lock: bytes | None = None  # bytes of `<canonical script>.lock`; sync wants --locked with it
    requires: str = ""  # requires-python, the lock file's where the script has none
    loose: str | None = None  # the same as people may mean it, where that is another and they may
    in_place: bool = False  # the lock names places relative to it: sync the user's own script, where it lies, --locked
    secrets: tuple[str, ...] = ()  # what must not be seen in a log or a message: see secret.redact
    local: tuple[str, ...] = ()  # packages from this machine's folders: uv takes them from its cache unless told not to
    notes: Mapping[str, Any] = field(default_factory=dict)  # for the manifest: the user's configuration that was used
    told: tuple[str, ...] = ()  # what the user should know
    dependencies: tuple[str, ...] = ()  # what ``script`` asks for
    options: Mapping[str, Any] = field(default_factory=dict)  # what it says in [tool.uv]
    options_around: Mapping[str, Any] = field(default_factory=dict)  # what ``config`` says
    urls: Mapping[str, str] = field(default_factory=dict)  # URL without credentials → with them


def build_inputs(payload: Payload, settings: Settings, *, strict: bool = False, constraints: Sequence[str] = ()) -> Inputs:
    """What the builder hands to uv: all that counts comes from the payload, all else from ``settings``.

    Unless ``strict``, uv is told of requires-python as it may be read (see reading): an environment whose Python doesn't meet
    what the script says it would take away and make another.
    ``constraints``: more of them, PEP 508. Raises SharedenvError for a locked payload from a manifest, which does not hold the lock file.
    """
    document = payload.document
    if document["lock"] is not None and payload.aside.lock is None:
        raise SharedenvError(
            f"environment {payload.key[:12]} can't be built without its lock file",
            hint="sharedenv build with a script that needs it",
            exit_code=EXIT_BUILD,
        )
    urls = {**settings.urls, **payload.aside.urls}
    given, inert, passed = map(_without_symlink, (payload.aside.options, settings.inert, settings.variables))
    linked = (given, inert, passed) != (payload.aside.options, settings.inert, settings.variables)
    options = _with_constraints(document) if document["lock"] is None else document["tool.uv"]
    if constraints:
        options = {**options, "constraint-dependencies": [*options.get("constraint-dependencies", []), *constraints]}
    requires = document["requires-python"] or _locked_requires(document, payload.aside.lock or b"")
    in_place = "lock-places" in document
    loose = None if strict or in_place else read_loosely(requires)
    lock = payload.aside.lock and with_urls(payload.aside.lock, lambda url: urls.get(split_url(url)[0], url))
    script = {**document, "requires-python": loose or requires, "tool.uv": _restored(options, settings.root, urls) | given}
    script["dependencies"] = [_with_url(text, urls) for text in document["dependencies"]]
    variables = {name: value for name, value in document["settings"].items() if name.startswith("UV_") and name not in _FILES}
    config, notes = _configuration(document, settings, inert, urls)
    recorded = unsaid_options(document, payload.aside.lock or b"")
    secrets = {*settings.secrets, *secrets_in(dict(urls)), *secrets_in(dict(payload.aside.options)), *secrets_of(lock or b"")}
    return Inputs(
        script=block_text(script),
        config=toml_text(config | recorded),
        variables=_interpreter_choice(script["tool.uv"])
        | passed
        | {name: _variable(name, value, settings.root, urls) for name, value in variables.items()},
        lock=lock_read_loosely(lock) if lock and loose else lock,
        requires=requires,
        loose=loose,
        in_place=in_place,
        local=tuple(local_packages(payload)),
        secrets=tuple(sorted(secret for secret in secrets if len(secret) >= _SHORTEST)),
        notes=notes,
        told=(_SYMLINK,) if linked else (),
        dependencies=tuple(script["dependencies"]),
        options=script["tool.uv"],
        options_around=config,
        urls=urls,
    )


def unsaid_options(document: Mapping[str, Any], lock: bytes) -> dict[str, Any]:
    """The options that a lock file was made under and that nobody gives now: a flag of `uv lock` did, or a user's own uv.toml.

    It holds under them: what was locked is what is installed.
    """
    given = {*document["tool.uv"], *document["settings"]}
    return {
        name: value
        for name, value in recorded_options(lock).items()
        if name not in given and variable_of(name) not in given
    }


#: links into the cache of whoever builds: `uv cache clean`, or a purge of his home, takes the files out of every environment
_SYMLINK = "link-mode symlink is passed over: files of the pool are its own (uv's default, or clone, hardlink or copy where you say so)"


def _without_symlink(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name not in ("link-mode", "UV_LINK_MODE") or value != "symlink"}


def _locked_requires(document: Mapping[str, Any], lock: bytes) -> str:
    """The requires-python of the lock file, "" without one.

    For a script that has none uv goes by the Python at hand, and a lock file that was made with another is no match to it.
    """
    try:
        requires = parse_specifiers(locked_python(lock))
    except RequirementError:  # uv has more to say of such a file
        return ""
    # the script that is synced where it lies can't be given one: it takes the Python that its lock file was made with
    minor = re.fullmatch(r">=(\d+\.\d+)", requires) if "lock-places" in document else None
    return f"=={minor[1]}.*" if minor else requires


def _configuration(
    document: Mapping[str, Any], settings: Settings, inert: dict[str, Any], urls: Mapping[str, str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options of the uv.toml to build with, and what the manifest says of the user's among them."""
    mirror = inert.pop("index", [])  # the user's default index, where no setting names another
    counted = {name: value for name, value in document["settings"].items() if not name.startswith("UV_")}
    options = inert | _restored(counted, settings.root, urls)
    if not mirror or names_default_index(document["tool.uv"]):
        return options, {}
    return {**options, "index": [*options.get("index", []), *mirror]}, dict(settings.notes)


def canonical_script(payload: Payload, root: str) -> str:
    """The script that says what the payload says, paths absolute: its payload, in any folder, is this one again."""
    document = payload.document
    return block_text({**document, "tool.uv": _restored(document["tool.uv"], root, {})})


def python_request(requires: str, python: str | None) -> str:
    """What `uv python find` is asked for: the explicit request, else requires-python as a range.

    uv takes `==3.11` there for any 3.11, and in requires-python for 3.11.0 alone.
    """
    if requires.startswith("==") and requires[2:].replace(".", "").isdigit():
        release = requires[2:].split(".")
        requires = "==" + ".".join(release + ["0"] * (3 - len(release)))
    return python or requires or "default"


def block_text(document: Mapping[str, Any]) -> str:
    """The metadata block of a document, as a whole script."""
    lines = []
    if document["requires-python"]:
        lines.append(f"requires-python = {toml_value(document['requires-python'])}")
    lines.append(f"dependencies = {toml_value(document['dependencies'])}")
    if document["tool.uv"]:
        # not splitlines: a text may hold U+0085 and its like, which end no line of TOML
        lines += ["[tool.uv]", *toml_text(document["tool.uv"]).rstrip("\n").split("\n")]
    return "".join(f"{line}\n" for line in ["# /// script", *(f"# {line}" for line in lines), "# ///"])


#: characters; hiding a shorter secret would hide half of every message with it
_SHORTEST = 4

#: variables that uv reads for `uv pip` alone → the option of the canonical script that has their effect
_FILES = {
    "UV_CONSTRAINT": "constraint-dependencies",
    "UV_OVERRIDE": "override-dependencies",
    "UV_BUILD_CONSTRAINT": "build-constraint-dependencies",
    "UV_EXCLUDE": "exclude-dependencies",
}


def _with_constraints(document: Mapping[str, Any]) -> dict[str, Any]:
    options = dict(document["tool.uv"])
    for variable, option in _FILES.items():
        if more := document["settings"].get(variable):
            here = options.get(option, [])
            texts = [*more, *(item for item in here if isinstance(item, str))]
            merged = sorted(set(texts)) if variable == "UV_EXCLUDE" else merge(map(parse_requirement, texts))
            options[option] = [*merged, *(item for item in here if not isinstance(item, str))]
    return options


def _restored(options: Mapping[str, Any], root: str, urls: Mapping[str, str]) -> dict[str, Any]:
    """Options with absolute paths and, for a build, credentials back in their URLs."""
    restored = dict(options)
    for name in ("find-links", "extra-index-url"):
        if name in restored:
            restored[name] = [_place(item, root) for item in restored[name]]
    if "index-url" in restored:
        restored["index-url"] = _place(restored["index-url"], root)
    if "index" in restored:
        restored["index"] = [{**index, "url": _place(index["url"], root)} for index in restored["index"]]
    if "sources" in restored:
        sources = restored["sources"].items()
        restored["sources"] = {name: [_source(source, root) for source in entries] for name, entries in sources}
    return {name: _with_credentials(value, urls) for name, value in restored.items()} if urls else restored


def _with_credentials(value: Any, urls: Mapping[str, str]) -> Any:
    """A value with each of its texts as it was before credentials were taken out of it."""
    if isinstance(value, dict):
        return {name: _with_credentials(item, urls) for name, item in value.items()}
    if isinstance(value, list):
        return [_with_credentials(item, urls) for item in value]
    return _with_url(urls.get(value, value), urls) if isinstance(value, str) else value


def _variable(name: str, value: Any, root: str, urls: Mapping[str, str]) -> str:
    """A counted UV_* variable as uv reads it."""
    if value is True:
        return "1"
    if name in LOCATIONS:
        return (LOCATIONS[name] or " ").join(_named_place(item, root, urls) for item in value)
    return " ".join(value) if isinstance(value, list) else str(urls.get(value, value))


def _interpreter_choice(options: Mapping[str, Any]) -> dict[str, str]:
    # `uv python find` does not read scripts: what the block says about the choice goes by the environment
    names = {"python-preference": "UV_PYTHON_PREFERENCE", "python-downloads": "UV_PYTHON_DOWNLOADS", "offline": "UV_OFFLINE"}
    return {variable: _variable(variable, options[name], "", {}) for name, variable in names.items() if options.get(name)}


def _named_place(item: str, root: str, urls: Mapping[str, str]) -> str:
    name, equals, location = item.partition("=") if is_named(item) else ("", "", item)
    return name + equals + urls.get(location, _place(location, root))


def _place(location: str, root: str) -> str:
    if location == "." or location.startswith("./"):
        return os.path.normpath(os.path.join(root, location))
    return location


def _source(source: Mapping[str, Any], root: str) -> dict[str, Any]:
    # with git, the path is one in the repository
    places = {name: source[name] for name in ("path", "workspace") if isinstance(source.get(name), str) and "git" not in source}
    return {**source, **{name: _place(item, root) for name, item in places.items()}}


def _with_url(text: str, urls: Mapping[str, str]) -> str:
    """A requirement in normal form with the credentials of its URL."""
    name, at, rest = text.partition(" @ ")
    url, semicolon, marker = rest.partition(" ; ")
    return name + at + urls[url] + semicolon + marker if url in urls else text
