"""Hide what gives access: passwords, tokens and keys in URIs, commands and any other text.

Where it cannot be told where a secret ends, more is hidden, never less. Every search here goes
through the text once, whatever stands in it. All three packages use this module; it imports the
standard library alone.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from urllib.parse import unquote, unquote_plus

HIDDEN = "***"
MOST_URI = 10_000  # characters; a real one has a few hundred
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
LEAST_LITERAL = 4  # characters; a shorter secret would hide half of a message
# What is to be done about `is_unclear`.
UNQUOTED = "in user and password write `%@:/?#` as %25, %40, %3A, %2F, %3F and %23"

# Parts of names, and ends of names, whose values are hidden; case and `-_.` do not count.
PARTS = (
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "credential",
    "signature",
    "authorization",
    "accesskey",
    "apikey",
)
ENDS = ("pwd", "pass", "key", "sig", "sas", "auth", "jwt", "cookie")
# In a URI a bare `key` is one that opens something; elsewhere these are names of ours.
OPEN = ("key", "trainingkey", "trialkey", "sweepkey", "readoutkey")

_NAMED = re.compile(r"(pass|pwd|secret|token|credential|sig|auth|key|sas|jwt|cookie)[\w.%-]*", re.I)
_BEFORE = frozenset("_.-")  # and letters and digits: what a name may begin with
_SEPARATOR = re.compile(r"[ \t\\\"'\]]*[=:][ \t]*")
_BARE = re.compile(r"[^\s&]*")
_WORD = re.compile(r"\S*")
_END_OF_HOST = re.compile("[/?#]")
_FILE = re.compile(r"(sqlite(\+\w+)?|file)://$", re.I)
_QUOTE = re.compile(r"(?:[A-Za-z]{0,2}|\\)([\"'])")
_BEARER = re.compile(r"\bbearer[ \t]+(\S+)", re.I)

Span = tuple[int, int]


def redact(text: str, *uris: str) -> str:
    """Return a text without what gives access to the URIs, servers and accounts in it.

    Args:
        text: Any message, of one line or many.
        uris: URIs that the message may be about: their secrets are hidden wherever they stand.
    """
    for secret in sorted({one for uri in uris for one in _secrets(uri)}, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return _without(text, [*_in_uris(text), *_in_values(text), *_bearers(text)])


def redact_uri(uri: str) -> str:
    """Return a URI without what gives access to it; all of `uri` is taken for one."""
    if "://" not in uri:
        return redact(HIDDEN + uri[uri.rfind("@") :] if "@" in uri else uri)
    start = uri.index("://") + 3
    return _without(uri, _in_uri(uri, start, len(uri), None))


def redact_command(argv: Sequence[str]) -> list[str]:
    """Return the words of a command without the secrets in them."""
    shown: list[str] = []
    hide_next = False
    for word in argv:
        option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
        if hide_next:
            shown.append(HIDDEN)
        elif option and equals and _is_secret(option, in_uri=False):
            shown.append(f"{option}={HIDDEN}")
        else:
            hidden = redact_uri(value) if "://" in value else redact(value)
            shown.append(option + equals + hidden)
        hide_next = word.startswith("--") and not equals and _is_secret(word, in_uri=False)
    return shown


def is_unclear(uri: str) -> bool:
    """Return whether it cannot be told for sure where the user and password of a URI end.

    That is so where an `@` stands in them as it is or none after them, and in all but a database's
    URI, which SQLAlchemy splits, where one of `/?#` does. MLflow takes the last `/` of SQLite's for
    the end of a folder's name.
    """
    if "://" not in uri:
        return "@" in uri
    if uri.startswith("sqlite") and "/" in uri.partition("?")[2] and redact_uri(uri) != uri:
        return True
    marks = "@" if uri.startswith(DATABASES) else "/?#@"
    start = uri.index("://") + 3
    end = _end_of_user(uri, start, len(uri), None)
    if end == start:
        return False
    return uri[end : end + 1] != "@" or any(mark in uri[start:end] for mark in marks)


def printable(text: str) -> str:
    """Return a text that moves no cursor and sets no colour, in which line breaks stay."""
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() or one == "\n" else one.encode("unicode_escape").decode()
        for one in text
    )


def shorten(text: str, most: int = 100) -> str:
    """Return a text for a message: one that is longer than `most` is cut, and says so."""
    return text if len(text) <= most else f"{text[:most]}… ({len(text)} characters)"


def read_uri(text: str) -> str:
    """Return the URI that an option gives: `-` is the first line of standard input.

    A password given there is in no list of processes and in no shell's history.
    """
    return sys.stdin.readline(MOST_URI).strip() if text == "-" else text


def _in_uris(text: str) -> Iterator[Span]:
    """Yield what is secret in the URIs of a text, each up to the next blank."""
    found = text.find("://")
    while found >= 0:
        start, found = found + 3, text.find("://", found + 3)
        limit = found if found >= 0 else len(text)
        word = _WORD.match(text, start, limit)
        assert word is not None  # nosec B101  # cannot happen
        yield from _in_uri(text, start, word.end(), limit)


def _in_uri(text: str, start: int, end: int, limit: int | None) -> Iterator[Span]:
    """Yield what is secret in a URI, whose part after `://` is `text[start:end]`.

    Args:
        text: The whole text.
        start: Where the part after `://` begins.
        end: Where that part ends.
        limit: Where another URI may begin; None where no text follows.
    """
    yield start, _end_of_user(text, start, end, limit)
    place = hidden_to = start
    for part in re.split("([?&;#])", text[start:end]):
        name, equals, value = part.partition("=")
        if equals and place >= hidden_to:
            if _is_secret(unquote_plus(name), in_uri=True):
                # A `;` or `#` may be a part of the value.
                following = text.find("&", place, end)
                hidden_to = following if following >= 0 else end
                yield place + len(name) + 1, hidden_to
            elif "%" in value and _has_secrets(unquote_plus(value)):
                yield place + len(name) + 1, place + len(part)
        place += len(part)


def _end_of_user(text: str, start: int, end: int, limit: int | None) -> int:
    """Return where user and password of a URI end, `start` where it has none.

    SQLAlchemy lets a password hold all but `@`, urllib lets it end at the first of `/?#`, and
    people forget to quote either: it is taken to reach to the last `@`.
    """
    if text.startswith("/", start) and _FILE.search(text, max(0, start - 30), start):
        return start  # a path, which may hold an `@`
    found = _END_OF_HOST.search(text, start, end)
    host = text[start : found.start() if found else end]
    last = text.rfind("@", start, end)
    if ":" not in host and "@" not in host:
        # A `?` ends a name that has no password; what follows is a query.
        query = text.find("?", start, end)
        last = text.rfind("@", start, query if query >= 0 else end)
        return last if last >= 0 else start
    if last >= 0:
        return last
    port = host.rpartition(":")[2]
    if limit is not None:
        port = port.rstrip("\\.,;:!?)]}>'\"`")
    if not port or port.isdecimal() or host.endswith("]"):
        return start
    # No port: a password without its `@`, unless that follows after a blank.
    line = text.find("\n", end, limit or end)
    last = text.rfind("@", end, line if line >= 0 else limit or end)
    return last if last >= 0 else end


def _in_values(text: str) -> Iterator[Span]:
    """Yield the values of `name=value`, `name: value` and the like whose name says a secret."""
    done = 0
    for found in _NAMED.finditer(text):
        begin = found.start()
        while begin > done and (text[begin - 1].isalnum() or text[begin - 1] in _BEFORE):
            begin -= 1
        separator = _SEPARATOR.match(text, found.end())
        name = text[begin : found.end()]
        if begin < done or separator is None or not _is_secret(name, in_uri=False):
            done = max(done, found.end())
            continue
        done = _end_of_value(text, separator.end(), line="auth" in name.lower())
        yield separator.end(), done


def _end_of_value(text: str, start: int, *, line: bool) -> int:
    """Return where a value ends that begins at `start`: a quoted one at its quote.

    Args:
        text: The whole text.
        start: Where the value begins.
        line: Whether a value without quotes goes to the end of its line.
    """
    newline = text.find("\n", start)
    end_of_line = newline if newline >= 0 else len(text)
    opening = _QUOTE.match(text, start, end_of_line)
    if opening is None:
        bare = _BARE.match(text, start, end_of_line)
        assert bare is not None  # nosec B101  # cannot happen
        return end_of_line if line else bare.end()
    closing = opening.end() - 1
    while True:
        closing = text.find(opening[1], closing + 1, end_of_line)
        if closing < 0:
            return end_of_line
        if text[closing - 1] != "\\":
            return closing + 1


def _bearers(text: str) -> Iterator[Span]:
    return (found.span(1) for found in _BEARER.finditer(text))


def _has_secrets(text: str) -> bool:
    """Return whether a value that was quoted for a URI, such as `odbc_connect`, holds secrets."""
    user = "://" in text and "@" in text
    return user or any(True for spans in (_in_values(text), _bearers(text)) for _ in spans)


def _is_secret(name: str, *, in_uri: bool) -> bool:
    plain = re.sub(r"[\W_]", "", name).lower()
    if not in_uri and plain in OPEN:
        return False
    return plain.endswith(ENDS) or any(part in plain for part in PARTS)


def _secrets(uri: str) -> Iterator[str]:
    """Yield what is secret in a URI, as it stands there and as it was before it was quoted."""
    start = uri.find("://") + 3
    spans = _in_uri(uri, start, len(uri), None) if start > 2 else [(0, uri.rfind("@"))]
    for begin, end in spans:
        hidden = uri[begin:end]
        for one in (hidden, hidden.partition(":")[2]):
            plain = {one, unquote(one), unquote_plus(one)}
            yield from (text for text in plain if len(text) >= LEAST_LITERAL)


def _without(text: str, spans: Iterable[Span]) -> str:
    """Return a text with HIDDEN in place of each of some spans, which may overlap."""
    parts: list[str] = []
    done = 0
    for begin, end in sorted(spans):
        if end <= begin or end <= done:
            continue
        if begin > done or not parts:
            parts += [text[done:begin], HIDDEN]
        done = end
    return "".join([*parts, text[done:]])


def first_line(error: Exception, *uris: str) -> str:
    """Return what an error says, on one line and without the secrets in it.

    Args:
        error: An exception that a library raised.
        uris: URIs that the library was given: the message may quote parts of them.
    """
    lines = redact(str(error), *uris).splitlines()
    return lines[0][:200] if lines else type(error).__name__
