"""Requirements as values, the many ways to write them, and a model of when two lists mean the same.

The model knows nothing of packaging: versions are tuples, lists are sets. `scripts/fuzz_key` uses it, too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

NAMES = ("numpy", "py", "test", "pytest", "ruamel-yaml", "a-b-c", "x1")
EXTRAS = ("all", "more-speed", "s3")
URLS = (
    "https://example.org/x-1.0-py3-none-any.whl",
    "https://example.org/x-1.0-py3-none-any.whl#sha256=00ff",
    "git+https://example.org/x.git@main",
    "git+https://example.org/x.git@main#subdirectory=a",
)
LITERALS = (
    ("python_version", "<", "3.12"),
    ("python_version", "<", "3.120"),
    ("sys_platform", "==", "linux"),
    ("sys_platform", "==", "Linux"),
    ("platform_machine", "!=", "arm64"),
    ("python_full_version", ">=", "3.9.0"),
    ("python_full_version", ">=", "3.9"),
)
FOLDED = (">=", "<=", ">", "<", "==", "!=")  # operators for which 1.0 and 1.0.0 are the same
SUFFIXES = ("", "", "", "", "a1", "rc2", ".post1", ".dev3")


@dataclass(frozen=True)
class Specifier:
    """An operator (``==*`` and ``!=*`` with a star), a release, a suffix."""

    operator: str
    release: tuple[int, ...]
    suffix: str = ""

    def meaning(self) -> tuple[object, ...]:
        """Equal for equal meaning."""
        release = self.release
        if self.operator in FOLDED:
            while len(release) > 1 and release[-1] == 0:
                release = release[:-1]
        return self.operator, release, self.suffix


@dataclass(frozen=True)
class Wish:
    """One requirement, not yet written down."""

    name: str
    extras: frozenset[str] = frozenset()
    specifiers: tuple[Specifier, ...] = ()
    url: str = ""
    marker: tuple[tuple[str, str, str], ...] = ()


def meaning(wishes: list[Wish]) -> object:
    """A value that two lists share when, and only when, they mean the same."""
    merged: dict[object, tuple[set[object], set[object]]] = {}
    for wish in wishes:
        extras, specifiers = merged.setdefault((wish.name, wish.url, wish.marker), (set(), set()))
        extras |= wish.extras
        specifiers |= {specifier.meaning() for specifier in wish.specifiers}
    return {place: (frozenset(extras), frozenset(specifiers)) for place, (extras, specifiers) in merged.items()}


def random_wish(random: Random) -> Wish:
    """Any requirement."""
    extras = frozenset(random.sample(EXTRAS, random.choice((0, 0, 0, 1, 2))))
    marker = tuple(random.sample(LITERALS, random.choice((0, 0, 0, 1, 2))))
    url = random.choice(URLS) if random.random() < 0.15 else ""
    count = 0 if url else random.choice((0, 1, 1, 2, 3))
    return Wish(random.choice(NAMES), extras, tuple(random_specifier(random) for _ in range(count)), url, marker)


def random_specifier(random: Random) -> Specifier:
    """Any specifier that PEP 440 takes."""
    operator = random.choice((*FOLDED, ">=", "<", "~=", "==*", "!=*", "==="))
    release = tuple(random.choice((0, 0, 1, 2, 10)) for _ in range(random.choice((2, 2, 3, 4) if operator == "~=" else (1, 2, 3))))
    return Specifier(operator, release, "" if "*" in operator else random.choice(SUFFIXES))


def changed(wishes: list[Wish], random: Random) -> list[Wish]:
    """The list with one thing changed, which may be nothing to its meaning: ask ``meaning``."""
    if not wishes:
        return [random_wish(random)]
    place = random.randrange(len(wishes))
    wish = wishes[place]
    new = random.choice(
        [
            replace(wish, name=random.choice(NAMES)),
            replace(wish, extras=wish.extras ^ {random.choice(EXTRAS)}),
            replace(wish, marker=tuple(random.sample(LITERALS, random.choice((0, 1, 2))))),
            replace(wish, url=random.choice(URLS), specifiers=()),
            replace(wish, specifiers=_changed(wish.specifiers, random) if not wish.url else ()),
        ]
    )
    return random.choice(([*wishes[:place], new, *wishes[place + 1 :]], [*wishes, new], wishes[:place] + wishes[place + 1 :]))


def _changed(specifiers: tuple[Specifier, ...], random: Random) -> tuple[Specifier, ...]:
    if not specifiers or random.random() < 0.3:
        return (*specifiers, random_specifier(random))
    place = random.randrange(len(specifiers))
    old = specifiers[place]
    digits = list(old.release)
    digits[random.randrange(len(digits))] += 1
    new = random.choice([replace(old, release=tuple(digits)), replace(old, release=(*old.release, 0)), random_specifier(random)])
    return (*specifiers[:place], new, *specifiers[place + 1 :])


def respelled(wishes: list[Wish], random: Random) -> list[str]:
    """Another way to write the list: shuffled, split, doubled, and every entry spelt otherwise."""
    entries: list[Wish] = []
    for wish in wishes:
        if wish.specifiers and random.random() < 0.3:
            entries += [replace(wish, specifiers=(one,)) for one in wish.specifiers]
        else:
            entries.append(wish)
        if random.random() < 0.1:
            entries.append(wish)
        if wish.extras and random.random() < 0.2:
            entries.append(replace(wish, extras=frozenset(), specifiers=wish.specifiers[:1]))
    random.shuffle(entries)
    return [spelled(entry, random) for entry in entries]


def spelled(wish: Wish, random: Random) -> str:
    """One way to write a requirement (PEP 508)."""
    space = _spaces(random)
    text = _name(wish.name, random)
    if wish.extras:
        extras = [_name(extra, random) for extra in wish.extras]
        random.shuffle(extras)
        text += space() + "[" + space() + (space() + "," + space()).join(extras) + space() + "]"
    specifiers = [_specifier(specifier, random) for specifier in wish.specifiers]
    random.shuffle(specifiers)
    if wish.url:
        text += f"{space()}@{space()}{wish.url}"
    elif specifiers:
        listed = (space() + "," + space()).join(specifiers)
        text += space() + (f"({listed})" if random.random() < 0.1 and "===" not in listed else listed)
    if wish.marker:
        text += (" " if wish.url or "===" in text else space()) + ";" + space() + _marker(wish, random)
    return space() + text + ("" if wish.url else space())


def _spaces(random: Random) -> Callable[[], str]:
    return lambda: random.choice(("", "", "", "", " ", "  ", "\t", "\n", "\u00a0"))


def _name(name: str, random: Random) -> str:
    letters = [random.choice((letter, letter.upper())) if random.random() < 0.3 else letter for letter in name]
    return "".join(random.choice("-_.") if letter == "-" else letter for letter in letters)


def _specifier(specifier: Specifier, random: Random) -> str:
    release = specifier.release
    if specifier.operator in FOLDED and random.random() < 0.3:
        release += (0,) * random.choice((1, 2))
    version = ".".join(map(str, release))
    suffix = specifier.suffix
    if specifier.operator == "===":
        return f"==={version}{suffix}"
    if suffix and random.random() < 0.3:
        suffix = {"a1": ".alpha.1", "rc2": "-C_2", ".post1": "-1", ".dev3": "_DEV3"}[suffix]
    version = random.choice(("", "", "", "v")) + version
    star = ".*" if specifier.operator.endswith("*") else ""
    return specifier.operator.removesuffix("*") + _spaces(random)() + version + suffix + star


def _marker(wish: Wish, random: Random) -> str:
    space = _spaces(random)
    parts = []
    for variable, operator, literal in wish.marker:
        quote = random.choice("'\"")
        part = f"{variable}{space()}{operator}{space()}{quote}{literal}{quote}"
        parts.append(f"({part})" if random.random() < 0.1 else part)
    return f"{space()} and {space()}".join(parts)


def garbage(random: Random) -> str:
    """Text that is hardly ever a requirement."""
    alphabet = "abzAZ019-_.[](),;@<>=!~*+'\"\\ \t\n#${}/:é∞\x00"
    start = spelled(random_wish(random), random) if random.random() < 0.7 else ""
    letters = list(start)
    for _ in range(random.randrange(1, 6)):
        place = random.randrange(len(letters) + 1)
        if letters and random.random() < 0.4:
            del letters[place - 1]
        else:
            letters.insert(place, random.choice(alphabet))
    return "".join(letters)
