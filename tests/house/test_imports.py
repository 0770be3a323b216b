"""Which imports of a script are shared: those before which nothing happens that an import could see."""

from __future__ import annotations

import sys
import warnings

import pytest

from sharedenv.run.preload.imports import find_imports


def _found(text: str) -> list[str]:
    imports = find_imports(text.encode())
    return [source for source, _ in imports.statements]


def test_all_forms_of_import_in_their_order() -> None:
    text = '"""Doc."""\nfrom __future__ import annotations\nimport a, b.c as d\nfrom e.f import g as h, i\nfrom j import *\n'
    assert _found(text) == ["import a, b.c as d", "from e.f import g as h, i", "from j import *"]


def test_the_modules_that_must_be_found_are_top_level_ones() -> None:
    imports = find_imports(b"import a.b, c\nfrom d.e import f\n")
    assert [names for _, names in imports.statements] == [("a", "c"), ("d",)]


@pytest.mark.parametrize(
    "between",
    [
        "X = 1",
        "X = Y = (-1, 'a', [2.5], {'k': None})",
        "x: int = 3",
        "x: 'list[int]'",
        "def f(a, b: int = 1, *c, d=None) -> str: return os.listdir()",
        "async def f(): pass",
        "'a string'",
        "pass",
        "if TYPE_CHECKING: import heavy",
        "if typing.TYPE_CHECKING:\n    from heavy import thing",
    ],
)
def test_what_does_nothing_may_stand_between(between: str) -> None:
    assert _found(f"import a\n{between}\nimport b\n") == ["import a", "import b"]


@pytest.mark.parametrize(
    "between",
    [
        "print('hello')",
        "x = f()",
        "x = a.b",
        "x += 1",
        "a = 3",  # hides the module
        "def a(): pass",
        "def f(x=g()): pass",
        "@decorator\ndef f(): pass",
        "def f(x: lazy.module): pass",
        "class C: pass",
        "for x in y: pass",
        "with x: pass",
        "del a",
        "assert x",
        "if x: import c",
        "if TYPE_CHECKING: import c\nelse: import d",
        "if __name__ == '__main__': main()",
        "try:\n    import c\nexcept ImportError:\n    c = None\nelse:\n    f()",
        "try:\n    f()\nexcept ValueError: pass",
        "warnings.filterwarnings('ignore')",
        "os.environ['A'] = f()",
        "os.environ.update(A='1')",
        "sys.path.insert(0, 'lib')",
        "matplotlib.use(backend)",
        "other.use('Agg')",
        "from . import sibling",
        "import c; f()",
        "lambda: 0",
        "x[0] = 1",
    ],
)
def test_what_could_matter_to_an_import_ends_it(between: str) -> None:
    imports = find_imports(f"import a\n{between}\nimport b\n".encode())
    sources = [source for source, _ in imports.statements]
    assert "import b" not in sources
    assert "import a" in sources
    assert "comes before `" in imports.left


def test_constant_settings_are_done_before_the_imports_as_the_script_does_them() -> None:
    text = (
        "import os\nos.environ['OMP_NUM_THREADS'] = '1'\nos.environ.setdefault('MPLBACKEND', 'Agg')\n"
        "import matplotlib as mpl\nmpl.use('Agg')\nimport matplotlib.pyplot as plt\nplt.plot()\n"
    )
    assert _found(text) == [
        "import os",
        "os.environ['OMP_NUM_THREADS'] = '1'",
        "os.environ.setdefault('MPLBACKEND', 'Agg')",
        "import matplotlib as mpl",
        "mpl.use('Agg')",
        "import matplotlib.pyplot as plt",
    ]


def test_settings_count_only_on_the_modules_themselves() -> None:
    assert _found("from elsewhere import os\nos.environ['A'] = 'b'\nimport b\n") == ["from elsewhere import os"]
    assert _found("import mine as matplotlib\nmatplotlib.use('x')\nimport b\n") == ["import mine as matplotlib"]


def test_imports_under_try_count() -> None:
    assert _found("try:\n    import fast as m\nexcept ImportError:\n    import slow as m\nimport b\n") == ["import fast as m", "import b"]


def test_no_reason_is_given_where_no_import_is_left() -> None:
    imports = find_imports(b"import a\nprint(a)\n")
    assert imports.left == ""


def test_what_can_not_be_parsed_is_left_to_its_python() -> None:
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    told = find_imports(b"import a\ndef broken(:\n").unparsed
    assert told == f"line 2 can't be parsed by the Python {version} that looks for the imports"
    assert find_imports(b"\x00").unparsed
    assert not find_imports("# coding: latin-1\nx = 'é'\n".encode("latin-1")).unparsed
    assert find_imports("x = 'é'\n".encode("latin-1")).unparsed


def test_warnings_of_a_script_are_for_its_own_output() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert _found("import a\nx = '\\d'\n") == ["import a"]
    assert not caught


@pytest.mark.parametrize("value", ["./mpl", "../x", "mpl/settings"])
def test_a_variable_that_names_a_place_in_the_folder_ends_the_walk(value: str) -> None:
    assert _found(f"import os\nos.environ['MPLCONFIGDIR'] = {value!r}\nimport b\n") == ["import os"]
    assert _found(f"import os\nos.environ.setdefault('MPLCONFIGDIR', {value!r})\nimport b\n") == ["import os"]
