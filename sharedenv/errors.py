"""The one error that users read."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

EXIT_FAILED = 1  #: some script failed, or an environment asked about is not built or not sound
EXIT_USAGE = 2  #: wrong usage, bad scripts, the name of a run or key that is none, or no room for a journal; nothing was run
EXIT_BUILD = 3  #: an environment could not be built
EXIT_BUG = 70  #: a bug in sharedenv (EX_SOFTWARE of sysexits)
EXIT_INTERRUPTED = 130  #: ended by Ctrl-C (128 + SIGINT)


class SharedenvError(Exception):
    """Something the user can understand and mend.

    message    what was being done and to what: lower case, no final period
    cause      why; the words of another tool (uv, the kernel) go here unchanged, several lines allowed
    hint       one command to run next, or None where there is none
    exit_code  what the process ends with; see the constants above
    """

    def __init__(
        self, message: str, *, cause: str | None = None, hint: str | None = None, exit_code: int = EXIT_USAGE
    ) -> None:
        super().__init__(message)
        self.message = message
        self.cause = cause
        self.hint = hint
        self.exit_code = exit_code

    def __str__(self) -> str:
        """All of it, a line each: what a traceback shows."""
        return "\n".join([self.message, *([f"cause: {self.cause}"] if self.cause else []), *([f"hint: {self.hint}"] if self.hint else [])])

    def __reduce__(self) -> "tuple[Callable[..., SharedenvError], tuple[object, ...]]":
        """It passes from process to process, whatever a subclass is made from."""
        return _made_again, (type(self), self.message, self.__dict__)


def _made_again(cls: type[SharedenvError], message: str, state: dict[str, object]) -> SharedenvError:
    made = cls.__new__(cls, message)
    made.__dict__.update(state)
    return made
