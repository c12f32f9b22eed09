"""What says how the package is cited, installed and run says the same as pyproject.toml."""

import re
import tomllib

import yaml
from paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CONSTRAINTS = (ROOT / "constraints.txt").read_text(encoding="utf-8")
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


PINNED = {
    plain(name): version for name, version in re.findall(r"(?m)^([\w.-]+)==(\S+)$", CONSTRAINTS)
}


def requirements() -> list[str]:
    lists = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    return [line for lines in lists for line in lines if not line.startswith(PROJECT["name"])]


def test_every_requirement_has_a_floor_and_a_pin_that_reaches_it() -> None:
    found = [re.fullmatch(r"([\w-]+)(?:\[\w+\])?>=([\d.]+)", line) for line in requirements()]
    assert len(found) > 25
    for hit in found:
        assert hit is not None
        pinned, floor = ([int(n) for n in v.split(".")] for v in (PINNED[plain(hit[1])], hit[2]))
        assert pinned >= floor, hit[0]


def test_the_citation_names_this_version_and_the_paper() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(citation)  # without them it is no citation
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
    dated = f"## {PROJECT['version']}, {citation['date-released']}"
    assert dated in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert [one["name"] for one in citation["authors"]] == [
        one["name"] for one in PROJECT["authors"]
    ]
    (paper,) = citation["references"]
    names = [one["family-names"] for one in paper["authors"]]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"*{paper['title']}* ({', '.join(names)}, {paper['year']})" in " ".join(readme.split())
    assert paper["url"] == PROJECT["urls"]["Paper"]


def test_condas_environment_has_a_python_that_serves_and_installs_this_package() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    python, pip, inner = environment["dependencies"]
    assert (pip, inner) == ("pip", {"pip": ["-c constraints.txt", "-e ."]})
    least = PROJECT["requires-python"].removeprefix(">=").split(".")
    assert python.removeprefix("python=").split(".") >= least


def test_the_image_holds_what_the_wheel_is_built_from_and_runs_as_a_user_without_rights() -> None:
    lines = DOCKERFILE.splitlines()
    copied = {name for line in lines if line.startswith("COPY") for name in line.split()[1:-1]}
    needed = {"pyproject.toml", "constraints.txt", PROJECT["readme"], *PROJECT["license-files"]}
    assert copied == needed | {"trainable", "sweeps", "analysis"}
    (user,) = [line.split()[1] for line in lines if line.startswith("USER")]
    assert user not in ("0", "root")
    (base,) = [line.split()[1] for line in lines if line.startswith("FROM")]
    environment = (ROOT / "environment.yml").read_text(encoding="utf-8")
    assert f"python={base.removeprefix('python:').removesuffix('-slim')}" in environment
