"""The reference pages say what the code does, and the prose names only what exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from corelens.cli import COMMANDS
from docs.generate import is_current, left_over, pages, table

ROOT = Path(__file__).parent.parent
PROSE = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
# Named as the reason why an exit code is kept free.
ANNOUNCED = ("check",)
LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)")


@pytest.mark.parametrize("name", sorted(pages()))
def test_generated_page_is_current(name: str) -> None:
    assert is_current(name, pages()[name]), f"docs/{name} is not current; run: make docs"


def test_no_page_of_a_rule_is_left_over() -> None:
    assert left_over() == []


@pytest.mark.parametrize("path", PROSE, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    missing = [link for link in LINK.findall(path.read_text()) if not (path.parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize("path", PROSE, ids=lambda path: path.name)
def test_prose_names_only_commands_that_exist(path: Path) -> None:
    text = path.read_text()
    code = "\n".join([*re.findall(r"```.*?```", text, re.DOTALL), *re.findall(r"`[^`\n]+`", text)])
    named = set(re.findall(r"^`?corelens ([a-z-]+)", code, re.MULTILINE))
    assert named <= {*(command.name for command in COMMANDS), *ANNOUNCED}


def test_make_targets_in_prose_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {word for path in PROSE for word in re.findall(r"`make ([a-z]+)", path.read_text())}
    assert named <= targets


def test_a_cell_cannot_break_its_table() -> None:
    assert list(table(("a",), [("x|y\nz",)])) == ["| a |", "|---|", "| x\\|y z |", ""]
