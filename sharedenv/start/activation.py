"""Shell code that makes an environment the active one, as a venv's own `activate` does. Pure, but for `calling_program`."""

import os

from sharedenv.errors import EXIT_USAGE, SharedenvError

TYPE_CHECKING = False
if TYPE_CHECKING:  # a start of `activate` pays for every import
    from collections.abc import Callable, Mapping

#: shells we write for → the names of programs that read that code
SHELLS: dict[str, tuple[str, ...]] = {
    "sh": ("sh", "bash", "rbash", "dash", "ksh", "ksh93", "mksh", "zsh", "ash", "busybox"),
    "csh": ("csh", "tcsh", "bsd-csh"),
    "fish": ("fish",),
}

#: variables that would send the environment's Python elsewhere: gone while it is active
_MISLEADING = ("PYTHONHOME", "PYTHONEXECUTABLE")

#: what is evaluated when there is nothing to activate: a job script ends, since it would go on with another Python; a
#: person's shell stays
FAILURE = {
    "sh": "case $- in (*i*) false;; (*) exit 1;; esac;",
    "csh": "if (! $?prompt) exit 1;",
    "fish": "status is-interactive; or exit 1;",
}


def shell_of(environ: "Mapping[str, str]", caller: str = "") -> str:
    """The kind of shell that reads our code: the program ``caller`` when it is one, else what SHELL names, else sh.

    SHELL is the login shell: a job script for bash has it, too, where its user logs in with csh.
    """
    for path in (caller, environ.get("SHELL", "")):
        program = os.path.basename(path)
        for kind, programs in SHELLS.items():
            if program in programs:
                return kind
    return "sh"


def calling_program() -> str:
    """Path of the program that started this process; "" where that can't be seen."""
    try:
        return os.readlink(f"/proc/{os.getppid()}/exe")
    except OSError:
        return ""


def activation(environment: str, shell: str, prompt: str, entries: str = "") -> str:
    """Code to be evaluated by a shell of this kind: VIRTUAL_ENV, PATH, no PYTHONHOME or PYTHONEXECUTABLE, and a `deactivate`.

    environment  absolute path
    prompt       VIRTUAL_ENV_PROMPT, for themes that show it; our code leaves the prompt alone
    entries      a folder that comes before its bin on PATH (see entry_points), or ""

    Each line ends with a semicolon, so that it works where a shell joins the lines too (csh, fish, `eval $(…)` without
    quotes). Raises SharedenvError for a path that PATH or the shell can't hold.
    """
    _check(environment, ":" if shell == "sh" else ":\n")
    return _WRITERS[shell](environment, prompt, entries)


def taskprolog(environment: str, environ: "Mapping[str, str]", entries: str = "") -> str:
    """Lines for Slurm's TaskProlog: `export NAME=VALUE` and `unset NAME` reach the task, unquoted up to the line's end.

    Raises SharedenvError for a path with a line break.
    """
    _check(environment, ":\n")
    path = os.pathsep.join(filter(None, [entries, os.path.join(environment, "bin"), environ.get("PATH")]))
    _check(path, "\n")
    return "\n".join([f"export VIRTUAL_ENV={environment}", f"export PATH={path}", *(f"unset {name}" for name in _MISLEADING)])


def _check(text: str, forbidden: str) -> None:
    if found := set(text) & set(forbidden):
        names = {":": "a colon", "\n": "a line break"}
        raise SharedenvError(
            f"can't activate {text!r}",
            cause=f"its path holds {' and '.join(names[each] for each in sorted(found))}",
            hint="sharedenv exec SCRIPT needs no activation",
            exit_code=EXIT_USAGE,
        )


def _sh(environment: str, prompt: str, entries: str) -> str:
    first = f"{_sh_quote(entries)}:" if entries else ""
    # every variable is read as ${X-}: job scripts run under `set -u`
    return "\n".join(
        [
            'if [ -n "${_SHAREDENV_PATH-}" ]; then deactivate; fi;',
            "deactivate () {",
            '  PATH="${_SHAREDENV_PATH-$PATH}"; export PATH; unset _SHAREDENV_PATH;',
            *(
                f'  if [ -n "${{_SHAREDENV_{name}-}}" ]; then\n'
                f'    {name}="$_SHAREDENV_{name}"; export {name}; unset _SHAREDENV_{name}; fi;'
                for name in _MISLEADING
            ),
            "  unset VIRTUAL_ENV; unset VIRTUAL_ENV_PROMPT;",
            "  unset -f deactivate; hash -r 2>/dev/null || true; };",
            '_SHAREDENV_PATH="${PATH-}";',
            *(f'_SHAREDENV_{name}="${{{name}-}}"; unset {name};' for name in _MISLEADING),
            f"VIRTUAL_ENV={_sh_quote(environment)}; export VIRTUAL_ENV;",
            f"VIRTUAL_ENV_PROMPT={_sh_quote(prompt)}; export VIRTUAL_ENV_PROMPT;",
            f'PATH={first}"$VIRTUAL_ENV/bin${{PATH:+:$PATH}}"; export PATH;',
            "hash -r 2>/dev/null || true;",
        ]
    )


def _csh(environment: str, prompt: str, entries: str) -> str:
    first = f"{_csh_quote(entries)}:" if entries else ""
    deactivate = (
        'setenv PATH "$_SHAREDENV_PATH:q"; unset _SHAREDENV_PATH; unsetenv VIRTUAL_ENV; unsetenv VIRTUAL_ENV_PROMPT; '
        "unalias deactivate; rehash"
    )
    return " ".join(
        [
            # csh expands variables before it looks at the condition: eval puts that off
            "if ($?_SHAREDENV_PATH) eval 'setenv PATH \"$_SHAREDENV_PATH:q\"';",
            'set _SHAREDENV_PATH="$PATH:q";',
            f"setenv VIRTUAL_ENV {_csh_quote(environment)};",
            f"setenv VIRTUAL_ENV_PROMPT {_csh_quote(prompt)};",
            f'setenv PATH {first}"$VIRTUAL_ENV:q/bin:$PATH:q";',
            *(f"unsetenv {name};" for name in _MISLEADING),
            f"alias deactivate {_csh_quote(deactivate)};",
            "rehash;",
        ]
    )


def _fish(environment: str, prompt: str, entries: str) -> str:
    first = f"{_fish_quote(entries)} " if entries else ""
    return "\n".join(
        [
            "functions -q deactivate; and set -q _SHAREDENV_PATH; and deactivate;",
            "function deactivate;",
            "  set -gx PATH $_SHAREDENV_PATH; set -e _SHAREDENV_PATH;",
            *(
                f"  set -q _SHAREDENV_{name}; and set -gx {name} $_SHAREDENV_{name}; set -e _SHAREDENV_{name};"
                for name in _MISLEADING
            ),
            "  set -e VIRTUAL_ENV; set -e VIRTUAL_ENV_PROMPT; functions -e deactivate;",
            "end;",
            "set -g _SHAREDENV_PATH $PATH;",
            *(f"set -q {name}; and set -g _SHAREDENV_{name} ${name}; set -e {name};" for name in _MISLEADING),
            f"set -gx VIRTUAL_ENV {_fish_quote(environment)};",
            f"set -gx VIRTUAL_ENV_PROMPT {_fish_quote(prompt)};",
            f'set -gx PATH {first}"$VIRTUAL_ENV/bin" $PATH;',
        ]
    )


def _csh_quote(text: str) -> str:
    # between single quotes only the quote itself and history's ! mean anything
    return "'" + text.replace("'", "'\\''").replace("!", "\\!") + "'"


def _fish_quote(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _sh_quote(text: str) -> str:
    return "'" + text.replace("'", "'\"'\"'") + "'"


_WRITERS: "dict[str, Callable[[str, str, str], str]]" = {"sh": _sh, "csh": _csh, "fish": _fish}
