"""The public names of the packages as MyST text, read from the sources; none of them is imported.

from api_pages import api_text

text = api_text(Path("."))
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import griffe

# What names the rest of a package, which other programs may rely on.
FACES = ("sweeps", "trainable", "analysis", "analysis.stats")
PACKAGES = ("trainable", "analysis", "sweeps")
# What a section of a docstring is called in a list of fields.
FIELDS = {"parameters": "param", "attributes": "ivar", "raises": "raises"}


def api_text(root: Path) -> str:
    """Return a section for each face: what its docstring says, and all that it exports.

    Args:
        root: The folder that holds the packages.
    """
    loader = griffe.GriffeLoader(
        search_paths=[root], allow_inspection=False, docstring_parser=griffe.Parser.google
    )
    for package in PACKAGES:
        loader.load(package)
    faces = [loader.modules_collection[face] for face in FACES]
    return "\n\n".join(line for face in faces for line in _section(face))


def _section(face: griffe.Module) -> Iterator[str]:
    exported = [str(name) for name in face.exports or []]
    links = {name: f"{{py:obj}}`~{face.path}.{name}`" for name in exported}
    yield f"## `{face.path}`\n\n```{{py:currentmodule}} {face.path}\n```"
    yield _linked(_text(face), links)
    for name in exported:
        found = face[name]
        target = found.final_target if found.is_alias else found
        if not target.is_module:
            yield _described(target, name, links)


def _described(found: griffe.Object, name: str, links: dict[str, str]) -> str:
    """Return the directive that describes a function or a class, its public methods within it."""
    body = _body(found, links)
    if isinstance(found, griffe.Class):
        body += [_described(one, one.name, links) for one in _methods(found)]
        return _directive("class", name + _signature(found), body)
    if isinstance(found, griffe.Function):
        kind = "method" if found.parent and found.parent.is_class else "function"
        kind = "classmethod" if "classmethod" in found.labels else kind
        return _directive(kind, name + _signature(found), body)
    assert isinstance(found, griffe.Attribute)
    return _directive("property", f"{name}\n:type: {found.annotation}", body)


def _methods(found: griffe.Class) -> list[griffe.Object]:
    """Return what of a class has a name and a docstring for others."""
    members = [one for one in found.members.values() if isinstance(one, griffe.Object)]
    return [one for one in members if one.is_public and one.docstring]


def _signature(found: griffe.Class | griffe.Function) -> str:
    parameters = [one for one in found.parameters if one.name not in ("self", "cls")]
    shown: list[str] = []
    for parameter in parameters:
        keyword_only = parameter.kind is griffe.ParameterKind.keyword_only
        if keyword_only and "*" not in shown:
            shown.append("*")
        stars = {"variadic positional": "*", "variadic keyword": "**"}
        text = stars.get(str(parameter.kind and parameter.kind.value), "") + parameter.name
        text += f": {parameter.annotation}" if parameter.annotation else ""
        text += f" = {parameter.default}" if parameter.default and "*" not in text else ""
        shown.append(text)
    returns = getattr(found, "returns", None)
    return f"({', '.join(shown)})" + (f" -> {returns}" if returns else "")


def _body(found: griffe.Object, links: dict[str, str]) -> list[str]:
    """Return the text of a docstring, and what it says of arguments, results and errors."""
    sections = found.docstring.parsed if found.docstring else []
    texts = [s.value for s in sections if isinstance(s, griffe.DocstringSectionText)]
    fields = [line for section in sections for line in _fields(section)]
    return [_linked(text, links) for text in [*texts, "\n".join(fields)] if text]


def _fields(section: griffe.DocstringSection) -> Iterator[str]:
    kind = section.kind.value
    if kind in FIELDS:
        for one in section.value:
            named = one.annotation if kind == "raises" else one.name
            yield f":{FIELDS[kind]} {named}: {_in_one_line(one.description)}"
    elif kind == "returns":
        said = " ".join(f"{one.name or ''} {one.description}".strip() for one in section.value)
        yield f":returns: {_in_one_line(said)}"
    elif kind == "admonition":
        yield f"\n{section.title}: {_in_one_line(section.value.description)}"


def _directive(kind: str, head: str, body: Iterable[str]) -> str:
    text = "\n\n".join(body)
    longest = max(map(len, re.findall("(?m)^:{3,}", text)), default=2)
    fence = ":" * (longest + 1)
    return f"{fence}{{py:{kind}}} {head}\n\n{text}\n{fence}"


def _text(found: griffe.Object) -> str:
    return found.docstring.value if found.docstring else ""


def _in_one_line(text: str) -> str:
    return " ".join(text.split())


def _linked(text: str, links: dict[str, str]) -> str:
    return re.sub(r"(?<!`)`(\w+)`(?!`)", lambda hit: links.get(hit[1], hit[0]), text)
