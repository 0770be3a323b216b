"""Credentials out of URLs: what is written down, printed or hashed holds none. Pure; imports nothing heavy."""

from __future__ import annotations

import re
from collections.abc import Mapping

#: names of query parameters that hold a secret: these, or with one of these words in them, in lower case
_TOKENS = frozenset(["auth", "jwt", "passwd", "pwd", "sig"])
_TOKEN_WORDS = (
    *("access_key", "access-key", "accesskey", "api_key", "api-key", "apikey", "credential", "password", "secret"),
    *("signature", "token", "x-amz-", "x-goog-"),
)
_SIGNATURES = frozenset(["sig", "signature"])
#: what stands beside a signature in a signed URL of an object store, and changes with it
_SIGNED = frozenset(
    [
        *("expires", "googleaccessid", "key-pair-id", "policy", "se", "si", "sip", "ske", "skoid", "sks", "skt", "sktid"),
        *("skv", "sp", "spr", "sr", "srt", "ss", "st", "sv"),
    ]
)

#: in any text: what stands before the host of a URL, and a parameter of its query
_USERINFO = re.compile(r"(?<=://)[^\s/?#]*@")
_PARAMETER = re.compile(r"(?<=[?&])([^=&?\s#]+)=[^&\s#]+")


def split_url(url: str) -> tuple[str, tuple[str, ...]]:
    """A URL without its credentials, and what was taken out: userinfo, the password in it, the query's tokens.

    ``git@`` of ssh URLs stays: it is a part of the address, no secret.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url, ()
    end = min((place for place in map(rest.find, "/?#") if place >= 0), default=len(rest))
    userinfo, at, host = rest[:end].rpartition("@")
    taken: list[str] = []
    if at and not (scheme.endswith("ssh") and ":" not in userinfo):
        taken += [userinfo, userinfo.partition(":")[2]]
    else:
        host = rest[:end]
    path, question, query = rest[end:].partition("?")
    query, hash_mark, fragment = query.partition("#")
    kept = []
    for parameter in query.split("&") if question else ():
        name, _, value = parameter.partition("=")
        if value and _is_token(name):
            taken.append(value)
        else:
            kept.append(parameter)
    if any(name.partition("=")[0].lower() in _SIGNATURES for name in query.split("&")):
        kept = [parameter for parameter in kept if parameter.partition("=")[0].lower() not in _SIGNED]
    rest = path + ("?" + "&".join(kept) if kept else "") + hash_mark + fragment
    text = scheme + separator + host + rest
    return text, tuple(filter(None, taken))


def _is_token(name: str) -> bool:
    name = name.lower()
    return name in _TOKENS or any(word in name for word in _TOKEN_WORDS)


def keep_aside(url: str, urls: dict[str, str]) -> str:
    """A URL without its credentials; ``urls`` learns which URL it stands for."""
    text = split_url(url)[0]
    if text != url:
        urls.setdefault(text, url)
    return text


def with_credentials(url: str, urls: Mapping[str, str]) -> str:
    """A URL with credentials put back. ``urls``: what `keep_aside` learned: the URL itself, or another on its host.

    Of several on one host, the one that has most of its beginning in common: of an index, of a repository.
    """
    if url in urls:
        return urls[url]
    scheme, separator, rest = url.partition("://")
    host = rest.partition("/")[0]
    if not separator or "@" in host:
        return url
    best, userinfo = -1, ""
    for plain, full in urls.items():
        plain_scheme, _, plain_rest = plain.removeprefix("git+").partition("://")
        given, at, _ = full.partition("://")[2].partition("/")[0].rpartition("@")
        if at and plain_scheme == scheme and plain_rest.partition("/")[0] == host:
            common = _common(plain_rest, rest)
            if common > best:
                best, userinfo = common, given
    return f"{scheme}://{userinfo}@{rest}" if userinfo else url


def _common(one: str, other: str) -> int:
    return next((number for number, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def secrets_in(value: object) -> set[str]:
    """The credentials in all URLs of a value: a text, or texts in lists and tables."""
    if isinstance(value, dict):
        return set().union(*map(secrets_in, value.values()))
    if isinstance(value, list):
        return set().union(*map(secrets_in, value))
    return set(split_url(value)[1]) if isinstance(value, str) else set()


def strip_url(url: str) -> str:
    """A URL without its credentials."""
    return split_url(url)[0]


def hide(text: str) -> str:
    """Any text, such as a message that quotes the user's, without the credentials of the URLs in it."""
    return _PARAMETER.sub(lambda found: f"{found[1]}=****" if _is_token(found[1]) else found[0], _USERINFO.sub("", text))


def redact(text: str, secrets: tuple[str, ...]) -> str:
    """``text`` with every one of these secrets replaced by ``****``; longer ones first."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "****")
    return text
