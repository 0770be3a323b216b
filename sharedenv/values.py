"""Values: frozen, slotted dataclasses that take little time to define.

`dataclass(frozen=True, slots=True)` compiles six methods for each class, half a millisecond in all, and a `run` has
forty classes before its first case starts. Here one is compiled, and the others are the same for all classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, FrozenInstanceError, dataclass, field, fields
from typing import Any, NoReturn, TypeVar, dataclass_transform

_Class = TypeVar("_Class", bound=type)


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(cls: _Class) -> _Class:
    """Class decorator: as `dataclass(frozen=True, slots=True)`, without `__post_init__`.

    `dataclasses.replace`, `asdict` and `fields` take its instances, and `field(default_factory, repr, compare)` says what it
    says there.
    """
    made: Any = dataclass(init=False, repr=False, eq=False, slots=True)(cls)
    made.__init__ = _initializer(made)
    made.__repr__ = _repr
    made.__eq__ = _eq
    made.__hash__ = _hash
    made.__reduce__ = _reduce
    made.__setattr__ = made.__delattr__ = _refuse
    return made  # type: ignore[no-any-return]  # `dataclass` made a class of its own, which has the slots


def _initializer(cls: type) -> Callable[..., None]:
    parameters, body = [], []
    known: dict[str, Any] = {"_set": object.__setattr__, "_missing": MISSING, "_default": {}, "_make": {}}
    every = fields(cls)
    for one in every:
        name = one.name
        if one.default_factory is not MISSING:
            known["_make"][name] = one.default_factory
            parameters.append(f"{name}=_missing")
            body.append(f"    _set(self, {name!r}, _make[{name!r}]() if {name} is _missing else {name})")
            continue
        if one.default is not MISSING:
            known["_default"][name] = one.default
        parameters.append(name if one.default is MISSING else f"{name}=_default[{name!r}]")
        body.append(f"    _set(self, {name!r}, {name})")
    exec("\n".join((f"def __init__(self, {', '.join(parameters)}):", *body)), known)  # names of fields alone, as in dataclasses
    made: Callable[..., None] = known["__init__"]
    made.__qualname__ = f"{cls.__qualname__}.__init__"  # what Python says of wrong arguments
    made.__annotations__ = {**{one.name: one.type for one in every}, "return": None}
    return made


def _repr(self: Any) -> str:
    return f"{type(self).__qualname__}({', '.join([f'{one.name}={getattr(self, one.name)!r}' for one in fields(self) if one.repr])})"


def _compared(self: Any) -> tuple[Any, ...]:
    return tuple([getattr(self, one.name) for one in fields(self) if one.compare])


def _eq(self: Any, other: object) -> bool:
    return _compared(self) == _compared(other) if type(other) is type(self) else NotImplemented


def _hash(self: Any) -> int:
    return hash(_compared(self))


def _reduce(self: Any) -> tuple[type, tuple[Any, ...]]:
    return type(self), tuple([getattr(self, one.name) for one in fields(self)])


def _refuse(_self: Any, name: str, _value: object = None) -> NoReturn:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")
