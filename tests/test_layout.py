"""The tree, the wheel's list of packages and the direction of imports agree."""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import corelens

ROOT = Path(__file__).parent.parent
FOLDERS = ("probes", "scenarios", "reports")
KERNEL = ("recording", "vocabulary", "errors", "marks")
# What each part may import. `cli` is the only part that sees everything.
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "marks": set(),
    "vocabulary": set(),
    "recording": {"vocabulary", "errors"},
    "recorder_child": {"errors"},
    "probes": set(KERNEL),
    "scenarios": {"errors", "marks"},
    "reports": {"recording", "vocabulary", "errors"},
    "cli": {*KERNEL, "probes", "scenarios", "reports"},
    "__main__": {"cli"},
    "__init__": {"marks", "recorder_child"},
}
# Loaded inside the functions that need them, because each costs more than most commands do.
HEAVY = {
    "numpy",
    "torch",
    "ray",
    "optuna",
    "matplotlib",
    "rich",
    "rich_argparse",
    "joblib",
    "psutil",
    "threadpoolctl",
}
LONGEST_FUNCTION = 60
EMPTY_NAMES = ("utils", "helpers", "manager", "misc", "common")


def parts() -> list[tuple[str, Path]]:
    inner = [(path.stem, path) for path in (ROOT / "corelens").glob("*.py")]
    command = [("cli", path) for path in (ROOT / "corelens" / "cli").rglob("*.py")]
    outer = [(folder, path) for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    return sorted(inner + command + outer)


def short(value: object) -> str:
    return str(value).replace(f"{ROOT}/", "")


each_part = pytest.mark.parametrize(("part", "path"), parts(), ids=short)


def imports(nodes: Iterator[ast.AST]) -> set[str]:
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


def at_import(tree: ast.Module) -> Iterator[ast.AST]:
    """Statements that run when the module is imported: outside functions and `if TYPE_CHECKING`."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        waiting += ast.iter_child_nodes(node)


def test_every_package_is_in_the_wheel() -> None:
    """A folder with an __init__.py that pyproject forgets would vanish from the wheel."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = {"corelens", "corelens.cli"}
    for folder in FOLDERS:
        inits = (ROOT / folder).rglob("__init__.py")
        found |= {".".join(("corelens", *path.parent.relative_to(ROOT).parts)) for path in inits}
    assert set(listed) == found


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_module_lies_outside_a_package(folder: str) -> None:
    strays = {path.parent for path in (ROOT / folder).rglob("*.py")}
    assert [short(stray) for stray in sorted(strays) if not (stray / "__init__.py").exists()] == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_link_points_at_folder(folder: str) -> None:
    link = ROOT / "corelens" / folder
    assert link.is_symlink()
    assert str(link.readlink()) == f"../{folder}"


def test_the_versions_agree() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert declared == corelens.__version__


@each_part
def test_imports_point_one_way(part: str, path: Path) -> None:
    names = imports(ast.walk(ast.parse(path.read_text())))
    seen = {name.split(".")[1] for name in names if name.startswith("corelens.")}
    public = set(corelens.__all__) if part == "cli" else {"__version__"}
    assert seen - {part} - public <= ALLOWED[part]


@each_part
def test_the_kernel_needs_the_standard_library_only(part: str, path: Path) -> None:
    if part in FOLDERS or part == "cli":
        names = imports(at_import(ast.parse(path.read_text()))) if part != "scenarios" else set[str]()
        assert {name.split(".")[0] for name in names} & HEAVY == set()
        return
    names = imports(ast.walk(ast.parse(path.read_text())))
    assert {name.split(".")[0] for name in names} <= {*sys.stdlib_module_names, "corelens"}


@each_part
def test_no_function_is_too_long(part: str, path: Path) -> None:
    nodes = ast.walk(ast.parse(path.read_text()))
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    sizes = {node.name: (node.end_lineno or 0) - node.lineno + 1 for node in functions}
    assert {name: size for name, size in sizes.items() if size > LONGEST_FUNCTION} == {}


@each_part
def test_every_module_says_what_it_is_for(part: str, path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))
    assert not any(word in path.stem for word in EMPTY_NAMES)
