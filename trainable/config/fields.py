"""Every field of a config in words: what it is by default, what it means, and what it may be.

The words are the comments of `schema.py`, where each field has its own beside it or above it.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trainable.config import schema
from trainable.config.schema import (
    CHOICES,
    DEFAULTS,
    RULES,
    ConfigError,
    TrialConfig,
    Value,
    suggest,
)

FIELD = re.compile(r"    (\w+): \w+ = [^#]*?(?:  # (.*))?")
COMMENT = re.compile(r"    # (.*)")
INDENT, WIDTH = 28, 79  # columns before the meaning of a field, and in all


@dataclass(frozen=True, kw_only=True)
class Field:
    """A field of a config in words.

    Attributes:
        name: Its name.
        section: The heading of the fields that it stands among.
        meaning: What it means, in which unit, and where its default comes from.
        choices: What it may be, empty where that is no list of names.
        rule: Between which bounds it must lie, empty where there are none.
    """

    name: str
    section: str
    meaning: str
    choices: tuple[str, ...]
    rule: str

    def holds(self, word: str) -> bool:
        """Whether the name, the meaning or a choice has a word in it, whatever its case."""
        return word.lower() in " ".join((self.name, self.meaning, *self.choices)).lower()

    def lines(self) -> Iterator[str]:
        """Yield the field for a screen."""
        shown = _yaml(DEFAULTS[self.name])
        head = f"  {self.name} = {shown}"
        said = [self.meaning, *([self.rule] if self.rule else [])]
        unsaid = [one for one in self.choices if not re.search(rf"\b{one}\b", f"{said} {shown}")]
        if unsaid:
            said.append(f"one of {', '.join(self.choices)}")
        wrapped = textwrap.wrap("; ".join(said), WIDTH - INDENT, break_on_hyphens=False)
        if len(head) > INDENT - 2:
            yield head
            head = ""
        for line in wrapped:
            yield f"{head:{INDENT}}{line}"
            head = ""


def all_fields() -> list[Field]:
    """Return every field of a config in the order of the schema."""
    rules = {name: rule for name, rule, _ in RULES}
    return [
        Field(
            name=name,
            section=section,
            meaning=meaning,
            choices=tuple(CHOICES.get(name, ())),
            rule=rules.get(name, ""),
        )
        for name, section, meaning in _commented()
    ]


def describe_fields(word: str = "") -> list[str]:
    """Return lines for a screen of 80 columns about the fields that have a word in them.

    Raises:
        ConfigError: No field has the word.
    """
    found = [field for field in all_fields() if field.holds(word)]
    if not found:
        raise ConfigError(
            f"a field must have the word in its name or meaning, but none has {word!r}; "
            f"{suggest(word, DEFAULTS)}"
        )
    lines: list[str] = []
    for field in found:
        if f"{field.section}:" not in lines:
            lines.append(f"{field.section}:")
        lines += field.lines()
    return lines


def _yaml(value: Value) -> str:
    """Return a value as a YAML file has it."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value) or '""'


def _commented() -> Iterator[tuple[str, str, str]]:
    """Yield name, section and comment of each field, as they stand in the schema's text."""
    text = Path(schema.__file__).read_text(encoding="utf-8")
    body = text.partition(f"class {TrialConfig.__name__}:")[2].partition("    def ")[0]
    section, above, meaning = "", list[str](), ""
    after_gap = False
    for line in body.splitlines():
        if found := FIELD.fullmatch(line):
            # Of two bounds the first alone says what they bound.
            meaning = found[2] or " ".join(above) or meaning
            yield found[1], section, meaning
            above = []
        elif (found := COMMENT.fullmatch(line)) and after_gap:
            section = found[1].partition(":")[0]
        elif found:
            above.append(found[1])
        after_gap = not line.strip()
