"""What differs between two payloads, in words."""

from __future__ import annotations

from typing import Any

from sharedenv.key.difference import brief, differences, nearest
from sharedenv.key.payload import Payload, payload_from

BASE: dict[str, Any] = {
    "schema": 1,
    "requires-python": ">=3.10",
    "dependencies": ["numpy>=1.26", "scipy"],
    "tool.uv": {"find-links": ["./a", "./b"], "sources": {"x": [{"path": "./x"}]}},
    "lock": None,
    "python": None,
    "settings": {},
    "platform": "linux-x86_64-gnu",
}


def other(**changes: Any) -> Payload:
    """The base with these fields (underscores for other signs) instead of its own."""
    names = {"requires_python": "requires-python", "tool_uv": "tool.uv"}
    return payload_from({**BASE, **{names.get(name, name): value for name, value in changes.items()}})


ONE = other()


def test_nothing_differs() -> None:
    assert differences(ONE, other()) == []
    assert brief(ONE, other()) == ""


def test_an_entry_that_one_side_alone_has() -> None:
    two = other(dependencies=["pandas", "scipy"])
    assert differences(ONE, two, ("a/script.py", "b/script.py")) == [
        "dependencies: numpy>=1.26 only in a/script.py",
        "dependencies: pandas only in b/script.py",
    ]


def test_a_value_on_both_sides_or_on_one() -> None:
    two = other(requires_python=">=3.11", python="3.12")
    assert differences(ONE, two, ("a.py", "b.py")) == [
        "python: absent in a.py, 3.12 in b.py",
        "requires-python: >=3.10 in a.py, >=3.11 in b.py",
    ]


def test_the_words_of_an_error() -> None:
    here = other(settings={"UV_PRERELEASE": "allow"})
    assert brief(here, ONE) == "differs in settings.UV_PRERELEASE (allow here, absent there)"
    assert brief(ONE, other(dependencies=["scipy"])) == "differs in dependencies (numpy>=1.26 only here)"


def test_what_has_little_in_common_is_told_on_one_line() -> None:
    many = other(dependencies=[f"p{i}" for i in range(50)], python="3.12")
    said = brief(many, ONE)
    assert said.startswith("differs in dependencies (p0 only here); dependencies (p1 only here); ")
    assert said.endswith("; 49 more")
    assert len(said) < 200


def test_order_where_it_means_something() -> None:
    two = other(tool_uv={**BASE["tool.uv"], "find-links": ["./b", "./a"]})
    assert differences(ONE, two) == ["tool.uv.find-links: ./a, ./b here, ./b, ./a there"]


def test_tables_in_tables_and_values_that_are_no_text() -> None:
    two = other(tool_uv={"find-links": ["./a", "./b"], "no-build": False}, lock="sha256:" + "0123456789abcdef" * 4)
    assert differences(ONE, two) == [
        "lock: absent here, sha256:0123456789ab there",
        "tool.uv.no-build: absent here, false there",
        'tool.uv.sources.x: {"path": "./x"} only here',
    ]


def test_a_false_is_not_an_absence() -> None:
    assert differences(other(settings={"no-build": False}), ONE) == ["settings.no-build: false here, absent there"]


def test_the_nearest_is_the_one_with_the_fewest_differences() -> None:
    near, far = other(python="3.12"), other(python="3.12", platform="linux-aarch64-gnu", dependencies=[])
    assert nearest(ONE, [far, near]) == near
    assert nearest(ONE, []) is None
