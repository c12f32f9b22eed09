"""The design's import rules, held over every file: imports point one way."""

import ast
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from importlib.metadata import packages_distributions
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = ("trainable", "sweeps", "analysis")
SCRIPTS = ("sweeps", "analysis")  # their scripts put this folder first on the path
FORBIDDEN = {
    "trainable": {"ray", "pyarrow", "optuna", "mlflow", "pandas", "sweeps", "analysis"},
    "sweeps": {"analysis"},
    "analysis": {"torch", "ray", "trainable", "sweeps"},
}
# What all three packages must do alike; it needs the standard library alone.
COMMON = ("trainable.json_files.", "trainable.redaction.")
ALLOWED = {"trainable/ray_trainable.py": {"ray"}, "trainable/object_store.py": {"pyarrow"}}
# The border to MLflow, which both who writes the record and who reads it pass.
SHARED = ("analysis._mlflow_calls.", "analysis._mlflow_database.", "analysis._artifact_place.")


def files_of(package: str) -> list[Path]:
    found = sorted((ROOT / package).rglob("*.py"))
    assert found
    return found


FILES = {path.relative_to(ROOT).as_posix(): path for name in OURS for path in files_of(name)}


@cache
def imports_of(path: Path) -> frozenset[str]:
    """Every dotted name that a file imports, in functions and for types, too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
            names.add(str(node.module))
    return frozenset(names)


def graph_of(package: str) -> dict[str, set[str]]:
    """The modules of a package, and which others of it each imports."""
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in files_of(package)
    }
    return {name: set(modules) & imports_of(path) for name, path in modules.items()}


@pytest.mark.parametrize("name", FILES)
def test_a_file_imports_only_what_its_package_may(name: str) -> None:
    shared = (*COMMON, *SHARED)
    others = [dotted for dotted in imports_of(FILES[name]) if not f"{dotted}.".startswith(shared)]
    imported = {dotted.partition(".")[0] for dotted in others}
    forbidden = FORBIDDEN[name.partition("/")[0]] - ALLOWED.get(name, set())
    assert imported & forbidden == set()


@pytest.mark.parametrize("name", COMMON)
def test_what_is_common_to_all_needs_nothing_but_python(name: str) -> None:
    path = ROOT / f"{name.strip('.').replace('.', '/')}.py"
    found = {dotted.partition(".")[0] for dotted in imports_of(path)}
    assert found <= set(sys.stdlib_module_names)


@pytest.mark.parametrize("package", OURS)
def test_the_modules_of_a_package_import_one_way(package: str) -> None:
    graph = graph_of(package)
    assert any(graph.values())
    TopologicalSorter(graph).prepare()  # raises CycleError


def test_the_trainables_line_begins_with_the_config_and_ends_with_ray() -> None:
    graph = graph_of("trainable")
    assert graph["trainable.config"] == set()
    assert graph["trainable.identity"] == {"trainable.config"}
    # The trainer takes built objects; run folders, keys and Ray come after it.
    order = ("trainer", "training_run", "ray_trainable")
    for earlier, later in pairwise(order):
        assert f"trainable.{earlier}" in graph[f"trainable.{later}"]
    assert not graph["trainable.trainer"] & {"trainable.identity", "trainable.run_folder"}
    assert not [name for name, found in graph.items() if "trainable.ray_trainable" in found]


def test_no_module_hides_a_library() -> None:
    installed = {name for name in packages_distributions() if name not in OURS}
    assert {"torch", "ray", "mlflow"} < installed
    hidden = installed | set(sys.stdlib_module_names)
    own = {path.stem for name in SCRIPTS for path in files_of(name) if path.stem != "__init__"}
    assert own & hidden == set()
    assert set(OURS) & hidden == set()


@pytest.mark.parametrize("name", [name for name in FILES if not name.startswith("trainable/")])
def test_scripts_have_a_bare_name_and_a_main_and_helpers_neither(name: str) -> None:
    body = ast.parse(FILES[name].read_bytes()).body
    has_main = "main" in [node.name for node in body if isinstance(node, ast.FunctionDef)]
    runs = [node for node in body if isinstance(node, ast.If) and "__main__" in ast.dump(node.test)]
    is_script = not Path(name).stem.startswith("_")
    assert (has_main, len(runs)) == (is_script, int(is_script))


def test_what_the_driver_shares_with_the_analysis_is_light() -> None:
    heavy = ("mlflow", "pandas", "numpy", "matplotlib", "sqlalchemy")
    modules = ", ".join(name.removesuffix(".") for name in SHARED)
    program = f"import sys, {modules}; print(*sys.modules)"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert [name for name in heavy if name in done.stdout.split()] == []


def test_the_trainer_needs_torch_alone() -> None:
    heavy = ("ray", "pyarrow", "optuna", "mlflow", "pandas", "torchvision")
    program = "import sys, trainable.training_run; print(*sys.modules)"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert "torch" in loaded
    assert [name for name in heavy if name in loaded] == []
