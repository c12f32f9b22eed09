"""What the three packages export, and that nobody reaches past it or behind an underscore."""

import ast
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT

OURS = ("trainable", "sweeps", "analysis")
FACES = (*OURS, "analysis.stats")  # what names what other programs may rely on
HEAVY = {"torch", "ray", "mlflow", "optuna", "pandas", "numpy", "matplotlib", "yaml"}
SOURCES = [path for folder in (*OURS, "examples") for path in sorted((ROOT / folder).rglob("*.py"))]
# Of libraries that have no public way to the same: the file, and what it reads.
LIBRARIES = {
    ("analysis/record/mlflow_calls.py", "request_utils._get_request_session"),
    ("sweeps/execution/executor.py", "ray._private"),
    ("sweeps/execution/lifeline.py", "os._exit"),
    ("sweeps/search/event_log.py", "hashlib._Hash"),
    ("trainable/cli/streams.py", "os._exit"),
    ("trainable/storage/json_files.py", "hashlib._Hash"),
    ("trainable/training/averaging.py", "torch.nn.modules.batchnorm._BatchNorm"),
}


def in_a_fresh_process(program: str) -> str:
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout


def exported(package: str) -> list[str]:
    names: list[str] = importlib.import_module(package).__all__
    return names


def imported_for_types(package: str) -> dict[str, str]:
    """By name, the module that a type checker takes it from."""
    body = ast.parse((ROOT / package.replace(".", "/") / "__init__.py").read_bytes()).body
    (block,) = [node for node in body if isinstance(node, ast.If)]
    found = {}
    for node in block.body:
        assert isinstance(node, ast.ImportFrom)
        for alias in node.names:
            is_module = node.module == package
            found[alias.name] = f"{package}.{alias.name}" if is_module else str(node.module)
    return found


def imported_lazily(package: str) -> dict[str, str]:
    """By name, the module that a running program takes it from."""
    body = ast.parse((ROOT / package.replace(".", "/") / "__init__.py").read_bytes()).body
    (block,) = [node for node in body if isinstance(node, ast.If)]
    (assignment,) = block.orelse
    assert isinstance(assignment, ast.Assign)
    assert isinstance(assignment.value, ast.Call)
    homes: dict[str, str] = ast.literal_eval(assignment.value.args[1])
    return homes


@pytest.mark.parametrize("package", FACES)
def test_every_public_name_is_imported_when_asked_for_and_documented(package: str) -> None:
    names = exported(package)
    assert len(names) > 5
    imports = f"import json; from {package} import {', '.join(names)}"
    said = in_a_fresh_process(
        f"{imports}; print(json.dumps({{n: eval(n).__doc__ for n in {names}}}))"
    )
    for name, documentation in json.loads(said).items():
        # A dataclass that says nothing of itself has its signature there.
        assert documentation, name
        assert not documentation.startswith(f"{name}("), name


@pytest.mark.parametrize("package", FACES)
def test_type_checkers_programs_and_all_agree_on_the_names(package: str) -> None:
    names = exported(package)
    assert names == sorted(names)
    assert imported_lazily(package) == imported_for_types(package)
    assert sorted(imported_lazily(package)) == names
    module = importlib.import_module(package)
    assert set(names) <= set(dir(module))
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'nothing'"):
        _ = module.nothing


@pytest.mark.parametrize("package", FACES)
def test_the_package_explains_its_names_with_an_example_of_them(package: str) -> None:
    documentation = str(importlib.import_module(package).__doc__)
    quoted = set(re.findall(r"`(\w+)`", documentation))
    example = [line[4:] for line in documentation.splitlines() if line.startswith("    ")]
    tree = ast.parse("\n".join(example))
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    taken = {alias.name for node in imports for alias in node.names}
    assert taken <= used
    assert all(alias.name in exported(str(node.module)) for node in imports for alias in node.names)
    assert set(exported(package)) <= quoted | taken


def test_the_packages_alone_import_nothing_heavy() -> None:
    said = in_a_fresh_process("import sys, trainable, sweeps, analysis.stats; print(*sys.modules)")
    assert HEAVY & set(said.split()) == set()
    # In use they do, so that the line above can fail.
    said = in_a_fresh_process("import sys; from trainable import presets; print(*sys.modules)")
    assert HEAVY & set(said.split()) == {"yaml"}


def example_sources() -> dict[str, str]:
    """By file, the Python of the scripts and notebooks that people copy."""
    found = {p.name: p.read_text(encoding="utf-8") for p in (ROOT / "examples").glob("*.py")}
    for path in (ROOT / "examples").glob("*.ipynb"):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        lines = [line for cell in cells if cell["cell_type"] == "code" for line in cell["source"]]
        code = [line if line.endswith("\n") else f"{line}\n" for line in lines]
        found[path.name] = "".join(line for line in code if not line.startswith("%"))
    return found


@pytest.mark.parametrize("name", sorted(example_sources()))
def test_examples_import_public_names_alone(name: str) -> None:
    used = 0
    for node in ast.walk(ast.parse(example_sources()[name])):
        if isinstance(node, ast.Import):
            assert not [a.name for a in node.names if a.name.partition(".")[0] in OURS]
        if isinstance(node, ast.ImportFrom) and str(node.module).partition(".")[0] in OURS:
            assert {alias.name for alias in node.names} <= set(exported(str(node.module)))
            used += 1
    assert used


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name != "_"


def reached_behind_an_underscore(path: Path) -> set[str]:
    """Private names of other modules and of other objects that a file reads or sets."""
    found = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{a.name}" for a in node.names if is_private(a.name)}
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) not in ("self", "cls"):
            found |= {ast.unparse(node)} if is_private(node.attr) else set()
    return found


def test_nothing_behind_an_underscore_is_used_from_elsewhere() -> None:
    found = {
        (path.relative_to(ROOT).as_posix(), name)
        for path in SOURCES
        for name in reached_behind_an_underscore(path)
    }
    assert found == LIBRARIES
