"""Scripts as people write them, for test_corpus: those of one group ask for the same, those of two groups never do.

`@HERE@` is the folder in which they lie, `@MINOR@` the minor version of the Python at hand (3.11). Beside them lie `wheels/`
(those of tests/wheels.py), `lib/` (a package as a folder) and `lib.git` (the same as a repository, its branch `main`, tag `v1`).
A name that begins with `below/` is a script one folder further down. Add what you meet.
"""

from __future__ import annotations

#: what they need is in the wheels, so each is built, by uv and by us
BUILT: dict[str, dict[str, str]] = {
    "one package": {
        "plain": """\
# /// script
# requires-python = ">=3.8"
# dependencies = ["alpha"]
# ///
""",
        "one to a line": """\
# /// script
# requires-python = ">=3.8"
# dependencies = [
#     "alpha",
# ]
# ///
""",
        "dependencies first, the other quotes, odd spaces": """\
# /// script
# dependencies=[ 'alpha' ]
#   requires-python   =   '>= 3.8'
# ///
""",
        "named in other letters": """\
# /// script
# requires-python = ">=3.8.0"
# dependencies = ["Alpha "]
# ///
""",
        "named twice": """\
# /// script
# requires-python = ">=3.8"
# dependencies = ["alpha", "ALPHA", "alpha[]"]
# ///
""",
        "with comments": """\
# /// script
# # Python 3.7 is too old for us
# requires-python = ">=3.8"  # until 2027
#
# dependencies = [
#   # "beta",    not needed any more
#   "alpha",   # für Zoë; see #12
# ]
# ///
""",
        "after a shebang and a docstring": '''\
#!/usr/bin/env -S uv run --script
# -*- coding: utf-8 -*-
"""Fits one case – größer, schöner.

The block below is PEP 723's.
"""
# /// script
# requires-python = ">=3.8"
# dependencies = ["alpha"]
# ///
''',
        "after a shebang with options of uv": """\
#!/usr/bin/env -S uv run --quiet --no-project --script
# /// script
# requires-python = ">=3.8"
# dependencies = ["alpha"]
# ///
""",
        "written on Windows": """\
# /// script\r
# requires-python = ">=3.8"\r
# dependencies = [\r
#   "alpha",\r
# ]\r
# ///\r
""",
        "below its imports": """\
from __future__ import annotations

import sys

# /// script
# requires-python = ">=3.8"
# dependencies = ["alpha"]
# ///
""",
        "keys that nobody reads": """\
# /// script
# name = "fit"
# description = "Fits one case – größer, schöner"
# authors = [{ name = "Zoë", email = "zoe@example.org" }]
# requires-python = ">=3.8"
# dependencies = ["alpha"]
# ///
""",
        "groups that nobody reads": """\
# /// script
# requires-python = ">=3.8"
# dependencies = ["alpha"]
#
# [dependency-groups]
# dev = ["pytest", "ruff"]
# ///
""",
        "tables of other tools": """\
# /// script
# requires-python = ">=3.8"
# dependencies = ["alpha"]
# [tool.ruff]
# line-length = 120
# [tool.hatch.envs.default]
# python = "3.12"
# ///
""",
        "one table in one line": """\
# /// script
# requires-python = ">=3.8"
# dependencies = ["alpha"]
# tool = { uv = { native-tls = true } }
# ///
""",
        "strings of three quotes, tabs": """\
# /// script
# requires-python\t=\t'''>=3.8'''
# dependencies = [
# \t\"\"\"alpha\"\"\",
# ]
# ///
""",
        "an empty table of uv": """\
# /// script
# requires-python = ">=3.8"
# dependencies = ["alpha"]
# [tool.uv]
# ///
""",
        "options that change nothing": """\
# /// script
# requires-python = ">=3.8"
# dependencies = ["alpha"]
# [tool.uv]
# link-mode = "copy"
# compile-bytecode = true
# reinstall-package = ["alpha"]
# ///
""",
        "behind a block of another tool": """\
# /// pyproject
# [run]
# ///

# /// script
# requires-python = ">=3.8"
# dependencies = ["alpha"]
# ///
""",
        "one folder below": """\
# /// script
# requires-python = ">=3.8"
# dependencies = ["alpha"]
# ///
""",
    },
    "one package, any Python": {
        "no word of Python": '# /// script\n# dependencies = ["alpha"]\n# ///\n',
        "an empty word of Python": '# /// script\n# requires-python = ""\n# dependencies = ["alpha"]\n# ///\n',
    },
    "nothing": {
        "an empty list": '# /// script\n# requires-python = ">=3.8"\n# dependencies = []\n# ///\n',
        "no list": '# /// script\n# requires-python = ">=3.8"\n# ///\n',
        "a list of remarks": '# /// script\n# requires-python = ">=3.8"\n# dependencies = [\n#   # "alpha",\n# ]\n# ///\n',
    },
    "nothing, any Python": {
        "an empty block": "# /// script\n# ///\n",
        "other keys alone": '# /// script\n# python = ">=3.99"\n# requirements = ["alpha"]\n# ///\n',
    },
    "a range": {
        "lower and upper": '# /// script\n# dependencies = ["alpha>=1,<2"]\n# ///\n',
        "upper and lower": '# /// script\n# dependencies = ["alpha < 2.0, >= 1.0"]\n# ///\n',
        "in brackets": '# /// script\n# dependencies = ["alpha (>=1.0.0,<2)"]\n# ///\n',
        "in two entries": '# /// script\n# dependencies = ["alpha<2", "Alpha>=1"]\n# ///\n',
    },
    "another range": {"not one release": '# /// script\n# dependencies = ["alpha>=1,<2,!=1.1"]\n# ///\n'},
    "a compatible release": {"of two numbers": '# /// script\n# dependencies = ["alpha~=1.0"]\n# ///\n'},
    "another compatible release": {"of three numbers": '# /// script\n# dependencies = ["alpha~=1.0.0"]\n# ///\n'},
    "a pin": {
        "plain pin": '# /// script\n# dependencies = ["alpha==1.1"]\n# ///\n',
        "spaced pin": '# /// script\n# dependencies = ["alpha == 1.1.0"]\n# ///\n',
        "pin with a v": '# /// script\n# dependencies = ["alpha==v1.1"]\n# ///\n',
    },
    "a pin to the letter": {"three signs": '# /// script\n# dependencies = ["alpha===1.1"]\n# ///\n'},
    "a star": {"star": '# /// script\n# dependencies = ["alpha==1.*"]\n# ///\n'},
    "several": {
        "as they come": '# /// script\n# dependencies = ["tool", "beta", "gamma"]\n# ///\n',
        "in order": '# /// script\n# dependencies = [\n#   "beta",\n#   "gamma",\n#   "tool"\n# ]\n# ///\n',
    },
    "an extra": {
        "plain extra": '# /// script\n# dependencies = ["gamma[more]"]\n# ///\n',
        "shouted extra": '# /// script\n# dependencies = ["gamma[ MORE ]"]\n# ///\n',
        "extra in an entry of its own": '# /// script\n# dependencies = ["gamma", "gamma[more]"]\n# ///\n',
    },
    "without the extra": {"no extra": '# /// script\n# dependencies = ["gamma"]\n# ///\n'},
    "a marker": {
        "single quotes": """# /// script\n# dependencies = ["alpha; python_version >= '3.8'", "beta"]\n# ///\n""",
        "double quotes": """# /// script\n# dependencies = ['beta', 'alpha ;python_version>="3.8"']\n# ///\n""",
    },
    "two markers": {
        "both in one": """# /// script\n# dependencies = ["alpha<2; python_version >= '3.8'", "alpha; python_version < '3.8'"]\n# ///\n""",
    },
    "a marker of elsewhere": {
        "Windows alone": """# /// script\n# dependencies = ["alpha; sys_platform == 'win32'", "beta"]\n# ///\n"""
    },
    "a Python with an end": {
        "from and to": '# /// script\n# requires-python = ">=3.8,<4"\n# dependencies = []\n# ///\n',
        "to and from": '# /// script\n# requires-python = "<4.0, >=3.8"\n# dependencies = []\n# ///\n',
    },
    "a Python about that": {"tilde": '# /// script\n# requires-python = "~=3.8"\n# dependencies = []\n# ///\n'},
    "a Python with a star": {"minor": '# /// script\n# requires-python = "==@MINOR@.*"\n# dependencies = ["alpha"]\n# ///\n'},
    "a Python of one minor version": {  # uv takes the first of them, too
        "minor alone": '# /// script\n# requires-python = "==@MINOR@"\n# dependencies = ["tool"]\n# ///\n',
        "minor and zero": '# /// script\n# requires-python = "== @MINOR@.0"\n# dependencies = ["tool"]\n# ///\n',
    },
    "wheels in a folder": {
        "find-links": '# /// script\n# dependencies = ["alpha"]\n# [tool.uv]\n# find-links = ["wheels"]\n# ///\n',
        "find-links with a dot": '# /// script\n# dependencies = ["alpha"]\n# tool.uv.find-links = ["./wheels/"]\n# ///\n',
        "below/find-links": '# /// script\n# dependencies = ["alpha"]\n# [tool.uv]\n# find-links = ["../wheels"]\n# ///\n',
    },
    "wheels in a folder and nowhere else": {
        "no-index": '# /// script\n# dependencies = ["alpha"]\n# [tool.uv]\n# no-index = true\n# find-links = ["wheels"]\n# ///\n',
    },
    "an index of its own": {
        "array of tables": """\
# /// script
# dependencies = ["alpha"]
#
# [[tool.uv.index]]
# name = "own"
# url = "./wheels"
# format = "flat"
# ///
""",
        "list of tables": """\
# /// script
# dependencies = ["alpha"]
# [tool.uv]
# index = [{ url = "wheels/", format = "flat", name = "own", default = false }]
# ///
""",
    },
    "an index for one package": {
        "explicit": """\
# /// script
# dependencies = ["alpha<2", "tool"]
# [tool.uv.sources]
# alpha = { index = "own" }
# [[tool.uv.index]]
# name = "own"
# url = "./wheels"
# format = "flat"
# explicit = true
# ///
""",
    },
    "a folder": {
        "source": '# /// script\n# dependencies = ["lib"]\n# [tool.uv.sources]\n# lib = { path = "lib" }\n# ///\n',
        "source as a table": '# /// script\n# dependencies = ["Lib"]\n# [tool.uv.sources.lib]\n# path = "./lib/"\n# ///\n',
        "below/source": '# /// script\n# dependencies = ["lib"]\n# [tool.uv.sources]\n# lib = { path = "../lib" }\n# ///\n',
    },
    "a folder that is edited": {
        "editable": '# /// script\n# dependencies = ["lib"]\n# [tool.uv.sources]\n# lib = { path = "lib", editable = true }\n# ///\n',
    },
    "a wheel by its path": {
        "wheel source": """\
# /// script
# dependencies = ["alpha"]
# [tool.uv.sources]
# alpha = { path = "wheels/alpha-1.0-py3-none-any.whl" }
# ///
""",
    },
    "a wheel by its URL": {
        "url": '# /// script\n# dependencies = ["alpha @ file://@HERE@/wheels/alpha-1.0-py3-none-any.whl"]\n# ///\n',
        "url in other letters": '# /// script\n# dependencies = ["ALPHA@file://@HERE@/wheels/alpha-1.0-py3-none-any.whl"]\n# ///\n',
    },
    "a repository": {
        "git url": '# /// script\n# dependencies = ["lib @ git+file://@HERE@/lib.git@v1"]\n# ///\n',
    },
    "a branch of a repository": {
        "git source": """\
# /// script
# dependencies = ["lib"]
# [tool.uv.sources]
# lib = { git = "file://@HERE@/lib.git", branch = "main" }
# ///
""",
    },
    "constraints": {
        "one constraint": '# /// script\n# dependencies = ["alpha"]\n# [tool.uv]\n# constraint-dependencies = ["alpha<2"]\n# ///\n',
        "the same, spelt otherwise": '# /// script\n# dependencies = ["alpha"]\n# tool.uv.constraint-dependencies = [ "Alpha <2.0" ]\n# ///\n',
    },
    "overrides": {
        "one override": '# /// script\n# dependencies = ["beta"]\n# [tool.uv]\n# override-dependencies = ["alpha==2.0"]\n# ///\n',
    },
    "exclusions": {
        "one exclusion": '# /// script\n# dependencies = ["beta"]\n# [tool.uv]\n# exclude-dependencies = ["alpha"]\n# ///\n',
    },
    "the lowest": {"lowest": '# /// script\n# dependencies = ["alpha>=1"]\n# [tool.uv]\n# resolution = "lowest-direct"\n# ///\n'},
    "what uv does anyway": {  # but against a project that says otherwise
        "highest": '# /// script\n# dependencies = ["alpha"]\n# [tool.uv]\n# resolution = "highest"\n# ///\n',
    },
    "no building": {"wheels alone": '# /// script\n# dependencies = ["beta"]\n# [tool.uv]\n# no-build = true\n# ///\n'},
    "pre-releases": {"pre-releases": '# /// script\n# dependencies = ["alpha<2"]\n# [tool.uv]\n# prerelease = "allow"\n# ///\n'},
    "a version of uv": {"of uv": '# /// script\n# dependencies = ["tool"]\n# [tool.uv]\n# required-version = ">=0.5"\n# ///\n'},
    "metadata by hand": {
        "dependency-metadata": """\
# /// script
# dependencies = ["beta"]
# [[tool.uv.dependency-metadata]]
# name = "beta"
# version = "1.0"
# requires-dist = []
# ///
""",
    },
}

#: both read them; what they need is to be had from a network, or from a Python that is not here
ELSEWHERE: dict[str, dict[str, str]] = {
    "the original report": {
        "as reported": """\
# /// script
# requires-python = ">=3.10,<=3.10"
# dependencies = [
#     "scipy",
#     "numpy",
#     "matplotlib",
#     "pandas",
# ]
# ///
""",
        "sorted": """\
# /// script
# requires-python = "<=3.10, >=3.10"
# dependencies = ["matplotlib", "numpy", "pandas", "scipy"]
# ///
""",
    },
    "one minor version": {
        "two numbers": '# /// script\n# requires-python = "==3.12"\n# dependencies = ["rich"]\n# ///\n',
        "three numbers": '# /// script\n# requires-python = "== 3.12.0"\n# dependencies = ["rich"]\n# ///\n',
    },
    "a Python to come": {"future": '# /// script\n# requires-python = ">=3.99"\n# dependencies = ["rich"]\n# ///\n'},
    "requests": {
        "socks": """\
# /// script
# dependencies = ["requests[socks,security]>=2.31", "typing_extensions; python_version < '3.11'"]
# ///
""",
        "socks, otherwise": """\
# /// script
# dependencies = [
#   "Typing.Extensions ; python_version<'3.11'",
#   "requests [security, socks] >= 2.31.0",
# ]
# ///
""",
    },
    "torch": {
        "cpu index": """\
# /// script
# requires-python = ">=3.10"
# dependencies = ["torch>=2.4", "torchvision"]
#
# [tool.uv.sources]
# torch = [
#   { index = "pytorch-cpu", marker = "sys_platform != 'darwin'" },
# ]
# torchvision = { index = "pytorch-cpu" }
#
# [[tool.uv.index]]
# name = "pytorch-cpu"
# url = "https://download.example.org/whl/cpu"
# explicit = true
# ///
""",
    },
    "torch, another way": {
        "extra index": """\
# /// script
# requires-python = ">=3.10"
# dependencies = ["torch>=2.4", "torchvision"]
# [tool.uv]
# extra-index-url = ["https://download.example.org/whl/cpu"]
# index-strategy = "unsafe-best-match"
# ///
""",
    },
    "frozen in time": {
        "a day": """\
# /// script
# dependencies = ["rich"]
# [tool.uv]
# exclude-newer = "2024-05-01T00:00:00Z"
# ///
""",
    },
    "a repository far away": {
        "tag": '# /// script\n# dependencies = ["fit @ git+https://git.example.org/group/fit.git@v1.2#subdirectory=python"]\n# ///\n',
    },
    "an archive far away": {
        "zip": '# /// script\n# dependencies = ["fit @ https://example.org/archive/fit-1.2.zip ; os_name == \'posix\'"]\n# ///\n',
    },
}

#: both refuse them
REFUSED: dict[str, str] = {
    "two blocks": '# /// script\n# dependencies = ["alpha"]\n# ///\n\n# /// script\n# dependencies = ["beta"]\n# ///\n',
    "unclosed": '# /// script\n# requires-python = ">=3.8"\n# dependencies = ["alpha"]\n\nimport alpha\n',
    "a mention before it": '"""What `# /// script` is for."""\n# /// script\n# dependencies = ["alpha"]\n# ///\n',
    "closed by a line of another kind": '# /// script\n# dependencies = ["alpha"]\n# ---\nimport alpha\n',
    "an empty line in it": '# /// script\n# requires-python = ">=3.8"\n\n# dependencies = ["alpha"]\n# ///\n',
    "no space in its lines": '#/// script\n#dependencies = ["alpha"]\n#///\n',
    "in capitals": '# /// SCRIPT\n# dependencies = ["alpha"]\n# ///\n',
    "no block": "import alpha\n",
    "no comma": '# /// script\n# dependencies = [\n#   "alpha"\n#   "beta"\n# ]\n# ///\n',
    "no bracket": '# /// script\n# dependencies = ["alpha", "beta"\n# ///\n',
    "no quotes": "# /// script\n# dependencies = [alpha, beta]\n# ///\n",
    "quotes of a word processor": "# /// script\n# dependencies = [“alpha”]\n# ///\n",
    "a colon for the equals sign": '# /// script\n# dependencies: ["alpha"]\n# ///\n',
    "a key twice": '# /// script\n# dependencies = ["alpha"]\n# dependencies = ["beta"]\n# ///\n',
    "a string for the list": '# /// script\n# dependencies = "alpha"\n# ///\n',
    "a table for the list": '# /// script\n# [dependencies]\n# alpha = ">=1"\n# ///\n',
    "a number in the list": '# /// script\n# dependencies = ["alpha", 1.0]\n# ///\n',
    "a number for the Python": '# /// script\n# requires-python = 3.11\n# dependencies = []\n# ///\n',
    "a version for the Python": '# /// script\n# requires-python = "3.11"\n# dependencies = []\n# ///\n',
    "a caret": '# /// script\n# requires-python = "^3.11"\n# dependencies = []\n# ///\n',
    "a star that has no place": '# /// script\n# requires-python = ">=3.8.*"\n# dependencies = []\n# ///\n',
    "one equals sign": '# /// script\n# dependencies = ["alpha=1.0"]\n# ///\n',
    "no operator": '# /// script\n# dependencies = ["alpha 1.0"]\n# ///\n',
    "a remark in the entry": '# /// script\n# dependencies = ["alpha # the newest"]\n# ///\n',
    "an option of pip": '# /// script\n# dependencies = ["-r requirements.txt"]\n# ///\n',
    "a folder alone": '# /// script\n# dependencies = ["./lib"]\n# ///\n',
    "a relative URL": '# /// script\n# dependencies = ["lib @ ../lib"]\n# ///\n',
    "a bare marker": '# /// script\n# dependencies = ["alpha; python_version"]\n# ///\n',
    "a list for uv": "# /// script\n# dependencies = []\n# [tool]\n# uv = []\n# ///\n",
    "a wrong word for uv": '# /// script\n# dependencies = []\n# [tool.uv]\n# resolution = "newest"\n# ///\n',
    "a source of no kind": '# /// script\n# dependencies = ["lib"]\n# [tool.uv.sources]\n# lib = "lib"\n# ///\n',
    "a source of two kinds": '# /// script\n# dependencies = ["lib"]\n# [tool.uv.sources]\n# lib = { path = "lib", git = "https://example.org/lib" }\n# ///\n',
    "an index without a place": '# /// script\n# dependencies = []\n# [[tool.uv.index]]\n# name = "own"\n# ///\n',
    "an option of a project": '# /// script\n# dependencies = []\n# [tool.uv]\n# dev-dependencies = ["pytest"]\n# ///\n',
}
