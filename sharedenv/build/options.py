"""How environments are built: what commands take as options and hand to the builder, which most of them never load."""

from __future__ import annotations

from sharedenv.values import frozen


@frozen
class BuildOptions:
    """How environments are built."""

    compile: bool = True
    offline: bool = False
    upgrade: bool = False  # choose versions anew; of all packages, or
    upgrade_packages: tuple[str, ...] = ()  # of these alone, normal names (PEP 503)
    rebuild: bool = False
    strict: bool = False  # `==3.12` in requires-python is 3.12.0 alone
    drift: bool = False  # ask uv whether sources that can move have moved
    lock_timeout: float | None = None  # seconds

    def words(self) -> tuple[str, ...]:
        """What a command line says for it, but for what belongs to one call (upgrade, rebuild, drift)."""
        return (
            *(() if self.compile else ("--no-compile",)),
            *(("--offline",) if self.offline else ()),
            *(("--strict-python",) if self.strict else ()),
            *(() if self.lock_timeout is None else (f"--lock-timeout={self.lock_timeout}",)),
        )
