"""Credentials out of URLs: what is written down, printed or hashed holds none. Pure; imports nothing heavy."""

from __future__ import annotations

import re

_URL = re.compile(r"""[a-z][a-z0-9+.-]*://[^\s'"]+""", re.IGNORECASE)
#: names of query parameters that hold a secret, in lower case
_TOKENS = frozenset(
    [
        *("access_token", "api_key", "apikey", "auth_token", "oauth_token"),
        *("password", "private_token", "secret", "sig", "token"),
    ]
)
#: and the beginnings of such names: signed URLs of object stores
_SIGNED = ("x-amz-", "x-goog-")


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
        if value and (name.lower() in _TOKENS or name.lower().startswith(_SIGNED)):
            taken.append(value)
        else:
            kept.append(parameter)
    rest = path + ("?" + "&".join(kept) if kept else "") + hash_mark + fragment
    text = scheme + separator + host + rest
    return text, tuple(filter(None, taken))


def keep_aside(url: str, urls: dict[str, str]) -> str:
    """A URL without its credentials; ``urls`` learns which URL it stands for."""
    text = split_url(url)[0]
    if text != url:
        urls.setdefault(text, url)
    return text


def strip_url(url: str) -> str:
    """A URL without its credentials."""
    return split_url(url)[0]


def strip_urls(text: str) -> str:
    """A text for people, without the credentials of the URLs in it."""
    return _URL.sub(lambda found: strip_url(found[0]), text)


def redact(text: str, secrets: tuple[str, ...]) -> str:
    """``text`` with every one of these secrets replaced by ``****``; longer ones first."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "****")
    return text
