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
MOST_FILES = 12  # of a folder
MOST_DEPTH = 6  # modules of one folder that stand on each other

# Every folder, from the lowest, and the folders that it stands on. Commands stand on all of them.
ROOMS = {
    "trainable.storage": "",
    "trainable.config": "trainable.storage",
    "trainable.data.sources": "trainable.storage trainable.config",
    "trainable.data.folders": "trainable.storage trainable.config trainable.data.sources",
    "trainable.data": "trainable.storage trainable.config trainable.data.sources",
    "trainable.networks": "trainable.storage trainable.config",
    "trainable.training": "trainable.config trainable.data trainable.data.sources "
    "trainable.networks",
    "trainable.inference": "trainable.storage trainable.config trainable.data trainable.networks",
    "trainable.runs": "trainable.storage trainable.config trainable.data trainable.networks "
    "trainable.training",
    "trainable.cli": "trainable.storage trainable.config trainable.networks trainable.training "
    "trainable.runs",
    "trainable.benchmarking": "trainable.config trainable.data trainable.data.sources "
    "trainable.networks trainable.training",
    "analysis.record": "trainable.storage",
    "analysis.cli": "analysis.record trainable.storage",
    "analysis.inference": "analysis.record",
    "analysis.stats": "trainable.storage analysis.record analysis.inference",
    "analysis.figures": "analysis.record analysis.inference analysis.stats",
    "analysis.result_tables": "analysis.record analysis.inference analysis.stats",
    "analysis.report": "trainable.storage analysis.record analysis.stats analysis.figures "
    "analysis.result_tables",
    "analysis.benchmarking": "trainable.storage analysis.record analysis.inference analysis.stats",
    "sweeps.storage": "trainable",
    "sweeps.planning": "trainable analysis.record analysis.inference analysis.stats sweeps.storage",
    "sweeps.search.spaces": "trainable",
    "sweeps.search": "trainable analysis.record analysis.inference analysis.stats sweeps.storage "
    "sweeps.planning sweeps.search.spaces",
    "sweeps.record": "trainable analysis.record sweeps.storage sweeps.planning",
    "sweeps.execution": "trainable sweeps.planning sweeps.search sweeps.record",
    "sweeps.mlflow_ui": "trainable analysis.record sweeps.record",
    "sweeps.driver": "trainable analysis.record analysis.inference analysis.stats sweeps.storage "
    "sweeps.planning sweeps.search sweeps.search.spaces sweeps.record sweeps.execution "
    "sweeps.mlflow_ui",
    "sweeps.api": "trainable analysis.record analysis.stats sweeps.storage sweeps.planning "
    "sweeps.search sweeps.search.spaces sweeps.record sweeps.execution sweeps.driver",
    # It measures two of the sweeps, which are commands.
    "sweeps.benchmarking": "trainable analysis.record analysis.benchmarking sweeps sweeps.planning "
    "sweeps.search sweeps.search.spaces sweeps.record sweeps.execution sweeps.mlflow_ui",
}

FORBIDDEN = {
    "trainable": {"ray", "pyarrow", "optuna", "mlflow", "pandas"},
    "sweeps": set[str](),
    "analysis": {"torch", "ray"},
}
ALLOWED = {"trainable/ray_trainable.py": {"ray"}, "trainable/storage/object_store.py": {"pyarrow"}}
# What all three packages must do alike; it needs the standard library and itself alone.
COMMON = (
    "trainable.cli.parsed_options",
    "trainable.cli.parser",
    "trainable.cli.streams",
    "trainable.storage.json_files",
    "trainable.storage.lazy_exports",
    "trainable.storage.redaction",
    "trainable.storage.user_cache",
)
# What the driver shares with the analysis: the border to MLflow, what a record is, what its numbers
# say, and a record to measure with.
SHARED = (
    "analysis.benchmarking.synthetic_record",
    "analysis.inference.blocks",
    "analysis.inference.planning",
    "analysis.inference.sequential",
    "analysis.record.choice",
    "analysis.record.mlflow_calls",
    "analysis.record.mlflow_database",
    "analysis.record.origin",
    "analysis.record.schema",
    "analysis.record.tracking_uri",
    "analysis.record.version_mix",
    "analysis.stats.intervals",
    "analysis.stats.ranking",
    "analysis.stats.rounding",
)


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for package in OURS for path in (ROOT / package).rglob("*.py")}
FOLDERS = {name for name, path in MODULES.items() if path.name == "__init__.py"}
COMMANDS = {name for name in MODULES if name.count(".") == 1} - FOLDERS


def folder_of(module: str) -> str:
    return module if module in FOLDERS else module.rpartition(".")[0]


@cache
def imports_of(module: str) -> frozenset[str]:
    """Every dotted name that a file imports, in functions and for types, too."""
    names = set()
    for node in ast.walk(ast.parse(MODULES[module].read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: a relative import"
            dotted = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= dotted
            if not dotted <= set(MODULES):  # of a module, and not modules of a folder
                names.add(str(node.module))
    return frozenset(names)


def graph_of(package: str) -> dict[str, set[str]]:
    """The modules of a package, and which others of it each imports."""
    modules = {name for name in MODULES if f"{name}.".startswith(f"{package}.")}
    return {name: (modules & imports_of(name)) - {package} for name in modules}


def folders_under(module: str) -> set[str]:
    """The other folders of ours that a module stands on."""
    found = {folder_of(name) for name in imports_of(module) if name in MODULES}
    return found - {folder_of(module)}


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_file_imports_only_what_its_package_may(module: str) -> None:
    imported = {dotted.partition(".")[0] for dotted in imports_of(module)}
    place = MODULES[module].relative_to(ROOT).as_posix()
    forbidden = FORBIDDEN[module.partition(".")[0]] - ALLOWED.get(place, set())
    assert imported & forbidden == set()


def test_every_folder_stands_on_those_that_the_table_names() -> None:
    found: dict[str, set[str]] = {name: set() for name in FOLDERS - set(OURS)}
    for module in MODULES:
        if (folder := folder_of(module)) in found:
            found[folder] |= folders_under(module)
    for folder, below in found.items():
        if folder.startswith("sweeps."):  # which stands on the trainer as a whole
            below -= {name for name in FOLDERS if name.startswith("trainable")}
            below.add("trainable")
    assert found == {folder: set(names.split()) for folder, names in ROOMS.items()}


def test_no_folder_stands_on_a_later_one_of_the_table() -> None:
    order = list(ROOMS)
    for place, folder in enumerate(order):
        inner = {name for name in ROOMS[folder].split() if name not in OURS}
        assert inner <= set(order[:place]), folder


def test_only_the_driver_stands_on_other_packages_and_on_little_of_the_analysis() -> None:
    for module in MODULES:
        package = module.partition(".")[0]
        others = {
            name
            for name in imports_of(module)
            if name in MODULES and name.partition(".")[0] not in (package,)
        }
        if package == "trainable":
            assert others == set(), module
        elif package == "analysis":
            assert others <= set(COMMON), module
        else:
            of_analysis = {name for name in others if name.startswith("analysis")}
            assert of_analysis <= set(SHARED), module


@pytest.mark.parametrize("folder", sorted(FOLDERS))
def test_a_folder_has_few_files_and_no_long_way_through_it(folder: str) -> None:
    own = {name for name in MODULES if folder_of(name) == folder and name != folder}
    assert len(own) <= MOST_FILES, "split the folder"

    @cache
    def depth(module: str) -> int:
        return 1 + max((depth(name) for name in imports_of(module) & own), default=0)

    assert max((depth(name) for name in own), default=0) <= MOST_DEPTH


@pytest.mark.parametrize("module", sorted(MODULES))
def test_no_file_or_folder_hides_behind_an_underscore(module: str) -> None:
    assert not [part for part in module.split(".") if part.startswith("_")]


@pytest.mark.parametrize("name", COMMON)
def test_what_is_common_to_all_needs_nothing_but_python(name: str) -> None:
    found = {one for one in imports_of(name) if one.startswith(OURS)}
    assert {one for one in found if one in MODULES} <= set(COMMON)
    others = {dotted.partition(".")[0] for dotted in imports_of(name) - found}
    assert others <= set(sys.stdlib_module_names)


@pytest.mark.parametrize("package", OURS)
def test_the_modules_of_a_package_import_one_way(package: str) -> None:
    graph = graph_of(package)
    assert any(graph.values())
    TopologicalSorter(graph).prepare()  # raises CycleError


def test_the_trainables_line_begins_with_the_config_and_ends_with_ray() -> None:
    graph = graph_of("trainable")
    assert graph["trainable.config.schema"] == {
        "trainable.config.choices",
        "trainable.storage.redaction",
    }
    # The trainer takes built objects; run folders, keys and Ray come after it.
    order = ("trainable.training.trainer", "trainable.runs.training_run", "trainable.ray_trainable")
    for earlier, later in pairwise(order):
        assert earlier in graph[later]
    assert not [name for name, found in graph.items() if "trainable.ray_trainable" in found]


def test_no_module_hides_a_library() -> None:
    installed = {name for name in packages_distributions() if name not in OURS}
    assert {"torch", "ray", "mlflow"} < installed
    hidden = installed | set(sys.stdlib_module_names)
    own = {name.split(".")[1] for name in MODULES if "." in name and name.startswith(SCRIPTS)}
    assert {"lambda_grid", "record"} < own
    assert own & hidden == set()
    assert set(OURS) & hidden == set()


@pytest.mark.parametrize("module", sorted(set(MODULES) - FOLDERS))
def test_commands_have_a_main_and_what_lies_in_folders_has_none(module: str) -> None:
    body = ast.parse(MODULES[module].read_bytes()).body
    has_main = "main" in [node.name for node in body if isinstance(node, ast.FunctionDef)]
    runs = [node for node in body if isinstance(node, ast.If) and "__main__" in ast.dump(node.test)]
    is_command = module in COMMANDS - {"trainable.ray_trainable"}
    assert (has_main, len(runs)) == (is_command, int(is_command))


def test_what_the_driver_shares_with_the_analysis_is_light() -> None:
    heavy = ("mlflow", "pandas", "matplotlib", "sqlalchemy", "scipy")  # torch brings numpy anyway
    program = f"import sys, {', '.join(SHARED)}; print(*sys.modules)"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert [name for name in heavy if name in done.stdout.split()] == []


def test_the_trainer_needs_torch_alone() -> None:
    heavy = ("ray", "pyarrow", "optuna", "mlflow", "pandas", "torchvision")
    program = "import sys, trainable.runs.training_run; print(*sys.modules)"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert "torch" in loaded
    assert [name for name in heavy if name in loaded] == []
