"""Any words as text of LaTeX that pdflatex can set, and how wide they come out."""

from __future__ import annotations

import re
import unicodedata

from analysis.stats.rounding import DASH

LETTERS = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "[": "{[}",  # after a line break it would begin an argument, as a star would
    "]": "{]}",
    "*": "{*}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "`": r"\textasciigrave{}",
    DASH: "---",
    "\N{EN DASH}": "--",
    "\N{NO-BREAK SPACE}": "~",
    "\N{MINUS SIGN}": "$-$",
    "\N{PLUS-MINUS SIGN}": r"$\pm$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{MIDDLE DOT}": r"$\cdot$",
    "\N{DEGREE SIGN}": r"$^\circ$",
    "\N{LESS-THAN OR EQUAL TO}": r"$\le$",
    "\N{GREATER-THAN OR EQUAL TO}": r"$\ge$",
    "\N{ALMOST EQUAL TO}": r"$\approx$",
    "\N{RIGHTWARDS ARROW}": r"$\to$",
    "\N{DAGGER}": r"$\dagger$",
    "\N{DOUBLE DAGGER}": r"$\ddagger$",
    "\N{LEFT SINGLE QUOTATION MARK}": "`",
    "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    "\N{LEFT DOUBLE QUOTATION MARK}": "``",
    "\N{RIGHT DOUBLE QUOTATION MARK}": "''",
    "\N{MICRO SIGN}": r"$\mu$",
    "ß": r"\ss{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
    "œ": r"\oe{}",
    "Œ": r"\OE{}",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "ł": r"\l{}",
    "Ł": r"\L{}",
    "\N{LATIN SMALL LETTER DOTLESS I}": r"\i{}",
}
# By the code point of the combining accent that a letter decomposes to.
ACCENTS = {
    **{0x300: "`", 0x301: "'", 0x302: "^", 0x303: "~", 0x304: "=", 0x306: "u", 0x307: "."},
    **{0x308: '"', 0x30A: "r", 0x30B: "H", 0x30C: "v", 0x323: "d", 0x327: "c"},
}
GREEK = re.compile(r"GREEK (SMALL|CAPITAL) LETTER (\w+)")
SMALL_GREEK = (
    *("ALPHA", "BETA", "GAMMA", "DELTA", "EPSILON", "ZETA", "ETA", "THETA", "IOTA", "KAPPA"),
    *(
        "LAMBDA",
        "MU",
        "NU",
        "XI",
        "PI",
        "RHO",
        "SIGMA",
        "TAU",
        "UPSILON",
        "PHI",
        "CHI",
        "PSI",
        "OMEGA",
    ),
)
CAPITAL_GREEK = (  # the others are Latin capitals
    *("GAMMA", "DELTA", "THETA", "LAMBDA", "XI", "PI", "SIGMA", "UPSILON", "PHI", "PSI", "OMEGA"),
)
PERCENT = re.compile(r"(?<=\d) %")  # never at the beginning of a line
NEGATIVE = re.compile(r"(?<![\w)\]-])-(?=\d)")
OPENING = re.compile(r'^"(?=\w)')
SIGNS = {">=": "\N{GREATER-THAN OR EQUAL TO}", "<=": "\N{LESS-THAN OR EQUAL TO}"}
LONG_WORD = 16  # letters, beyond which a word may be broken wherever one of these stands
BREAKS = re.compile(r"(?<=[_=,/.:-])(?=.)")

# Points of a letter in 8 point Computer Modern, which is wider than Times; others take OTHER.
WIDTHS = {
    2.6: " !',.:;[]`fijl",
    3.8: "-()Icerstz",
    6.6: "ABCDEFGHKLNPQRTUVXYZ",
    7.8: "#%&+=@OQMm<>$",
    8.8: "W|",
}
WIDTH = {letter: points for points, letters in WIDTHS.items() for letter in letters}
OTHER = 4.8
FOREIGN = 7.8  # a letter that is not ASCII, as long as it is set as one


def latex_text(words: str, *, breakable: bool = False) -> str:
    """Return words as LaTeX that pdflatex sets with its own fonts, whatever letters they have.

    Args:
        words: Any text; white space of all kinds is one space.
        breakable: Whether long words, such as names of fields and files, may be broken at a line's
            end, without a hyphen.
    """
    spaced = PERCENT.sub("\N{NO-BREAK SPACE}%", re.sub(r"\s+", " ", words))
    return " ".join(_word(word, breakable=breakable) for word in spaced.split(" "))


def text_width(words: str) -> float:
    """Return about how wide words are in 8 point type, in points, rather too wide than too thin."""
    shown = unicodedata.normalize("NFC", words)
    return sum(
        WIDTH.get(letter, OTHER) if letter.isascii() else _foreign_width(letter) for letter in shown
    )


def _word(word: str, *, breakable: bool) -> str:
    if not breakable or len(word) <= LONG_WORD:
        parts = [word]
    else:
        pieces = BREAKS.split(word)
        parts = [
            piece[start : start + LONG_WORD]
            for piece in pieces
            for start in range(0, len(piece), LONG_WORD)
        ]
    return r"\allowbreak{}".join(_escaped(part) for part in parts)


def _escaped(word: str) -> str:
    signed = NEGATIVE.sub("\N{MINUS SIGN}", SIGNS.get(word, word))
    shown = unicodedata.normalize("NFC", OPENING.sub("\N{LEFT DOUBLE QUOTATION MARK}", signed))
    # Two hyphens in a row would be a dash.
    return "{}".join("".join(map(_letter, part)) for part in re.split("(?<=-)(?=-)", shown))


def _letter(letter: str) -> str:
    if letter in LETTERS:
        return LETTERS[letter]
    if letter.isascii() and letter.isprintable():
        return letter
    if greek := _greek(letter):
        return f"${greek}$"
    parts = unicodedata.normalize("NFD", letter)
    if len(parts) == 2 and parts[0].isascii() and parts[0].isalpha() and ord(parts[1]) in ACCENTS:
        base = rf"\{parts[0]}" if parts[0] in "ij" else parts[0]
        return rf"\{ACCENTS[ord(parts[1])]}{{{base}}}"
    plain = unicodedata.normalize("NFKC", letter)
    if plain != letter and plain.isascii() and plain.isprintable():
        return "".join(map(_letter, plain))
    return _escaped(_code_point(letter))


def _greek(letter: str) -> str:
    found = GREEK.fullmatch(unicodedata.name(letter, ""))
    if found is None:
        return ""
    name = found[2].replace("LAMDA", "LAMBDA")  # Unicode's spelling
    if name not in (SMALL_GREEK if found[1] == "SMALL" else CAPITAL_GREEK):
        return ""
    return "\\" + (name.lower() if found[1] == "SMALL" else name.capitalize())


def _code_point(letter: str) -> str:
    return f"[U+{ord(letter):04X}]"


def _foreign_width(letter: str) -> float:
    code = _code_point(letter)
    return text_width(code) if _letter(letter) == _escaped(code) else FOREIGN
