"""Credentials out of URLs and out of any text."""

from __future__ import annotations

import pytest

from sharedenv.secret import hide, split_url


@pytest.mark.parametrize(
    ("url", "text", "taken"),
    [
        ("https://x.org/simple", "https://x.org/simple", set()),
        ("https://me:s3cret@x.org/simple", "https://x.org/simple", {"me:s3cret", "s3cret"}),
        ("https://s3cret@x.org", "https://x.org", {"s3cret"}),
        ("https://me:p@ss@x.org/a", "https://x.org/a", {"me:p@ss", "p@ss"}),
        ("git+https://s3cret@x.org/a@v1#subdirectory=b", "git+https://x.org/a@v1#subdirectory=b", {"s3cret"}),
        ("git+ssh://git@x.org/a", "git+ssh://git@x.org/a", set()),
        ("git+ssh://me:s3cret@x.org/a", "git+ssh://x.org/a", {"me:s3cret", "s3cret"}),
        ("https://x.org/a?b=c&token=s3cret#d", "https://x.org/a?b=c#d", {"s3cret"}),
        ("https://x.org/a?Private-Token=s3cret", "https://x.org/a", {"s3cret"}),
        ("https://x.org/a?client_secret=s3cret&b", "https://x.org/a?b", {"s3cret"}),
        ("https://x.org/a?X-Amz-Signature=s3cret&X-Amz-Date=20240101", "https://x.org/a", {"s3cret", "20240101"}),
        ("https://x.org/a?sv=2022&se=2024&sp=r&sig=s3cret&b=c", "https://x.org/a?b=c", {"s3cret"}),
        ("https://x.org/a?se=1&sp=2", "https://x.org/a?se=1&sp=2", set()),
        ("https://x.org/@me/a?b=u@v", "https://x.org/@me/a?b=u@v", set()),
        ("/a/b@c", "/a/b@c", set()),
    ],
)
def test_a_url_without_its_credentials(url: str, text: str, taken: set[str]) -> None:
    assert split_url(url)[0] == text
    assert set(split_url(url)[1]) == taken
    assert split_url(text) == (text, ())


def test_any_text_without_the_credentials_of_the_urls_in_it() -> None:
    text = "'a @ https://me:s3cret@x.org/a;b' and https://x.org/?q=1&api_key=s3cret#f, git+https://s3cret@y.org"
    assert hide(text) == "'a @ https://x.org/a;b' and https://x.org/?q=1&api_key=****#f, git+https://y.org"
    assert hide("me@x.org?") == "me@x.org?"
