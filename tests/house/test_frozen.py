"""What `frozen` makes is what `dataclass(frozen=True, slots=True)` makes of the same class."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from collections.abc import Callable, Mapping
from dataclasses import FrozenInstanceError, asdict, dataclass, field, replace
from typing import Any

import pytest

from sharedenv.values import frozen


@frozen
class Point:
    """Two numbers."""

    x: int
    y: int = 2

    @property
    def sum(self) -> int:
        """Both."""
        return self.x + self.y


@frozen
class Named(Point):
    """A point with a name, and more."""

    name: str = ""
    near: Mapping[str, Any] = field(default_factory=dict)
    secret: str = field(default="", repr=False)
    late: Callable[[], int] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Like:
    """The same as Named, by the standard library alone."""

    x: int
    y: int = 2
    name: str = ""
    near: Mapping[str, Any] = field(default_factory=dict)
    secret: str = field(default="", repr=False)
    late: Callable[[], int] | None = field(default=None, compare=False, repr=False)


GIVEN: tuple[dict[str, Any], ...] = (
    {"x": 1}, {"x": 1, "y": 3}, {"x": 1, "name": "a"}, {"x": 1, "near": {"b": 1}}, {"x": 1, "secret": "s"}, {"x": 1, "late": int},
)


@pytest.mark.parametrize("given", GIVEN)
def test_it_reads_and_compares_as_the_standard_librarys(given: dict[str, Any]) -> None:
    ours, like = Named(**given), Like(**given)
    assert repr(ours) == repr(like).replace("Like", "Named")
    assert asdict(ours) == asdict(like)
    for other in GIVEN:
        assert (ours == Named(**other)) == (like == Like(**other))


def test_it_knows_defaults_properties_and_patterns() -> None:
    assert Point(1).sum == 3
    assert Point(1, y=4) == Point(1, 4) != Named(1, 4)
    match Named(1, name="a"):
        case Named(x, y, name):
            assert (x, y, name) == (1, 2, "a")
    assert Named(1).near is not Named(1).near
    assert replace(Named(1, name="a"), y=7) == Named(1, 7, "a")
    assert [one.name for one in dataclasses.fields(Named)] == [one.name for one in dataclasses.fields(Like)]


def test_values_of_two_classes_are_never_equal() -> None:
    others: tuple[object, ...] = (Like(1), Point(1), (1, 2))
    assert Named(1) not in others
    assert Point(1) not in (Named(1), *others[2:])


def test_equal_ones_have_one_hash() -> None:
    assert {Point(1), Point(1, 2), Point(2)} == {Point(1), Point(2)}
    with pytest.raises(TypeError, match="unhashable"):
        hash(Named(1))


def test_nothing_in_it_can_be_changed() -> None:
    point: Any = Point(1)
    with pytest.raises(FrozenInstanceError, match="'x'"):
        point.x = 2
    with pytest.raises(FrozenInstanceError):
        point.z = 2
    with pytest.raises(FrozenInstanceError):
        del point.x
    assert not hasattr(point, "__dict__")
    assert point == Point(1)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_it_can_be_copied(copied: Callable[[Any], Any]) -> None:
    one = Named(1, near={"a": [1]}, secret="s")
    assert copied(one) == one
    assert copied(one).secret == "s"


def test_wrong_arguments_are_told_with_the_classs_name() -> None:
    with pytest.raises(TypeError, match=r"Point\.__init__\(\) missing 1 required positional argument: 'x'"):
        Point()  # type: ignore[call-arg]  # the mistake that is tried
    with pytest.raises(TypeError, match="unexpected keyword argument 'z'"):
        Point(1, z=2)  # type: ignore[call-arg]  # as above


def test_its_signature_says_the_same() -> None:
    ours, like = inspect.signature(Named), inspect.signature(Like)
    assert [str(one).partition(" = ")[0] for one in ours.parameters.values()] == [
        str(one).partition(" = ")[0] for one in like.parameters.values()
    ]
    assert ours.return_annotation == like.return_annotation
