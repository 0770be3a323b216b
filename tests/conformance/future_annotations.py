from __future__ import annotations

import typing


def f(x: undefined_name) -> None: ...


print(f.__annotations__, typing.TYPE_CHECKING)
