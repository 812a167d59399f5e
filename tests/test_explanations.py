"""Every verdict is explained, and an explanation says the same in a terminal and as a page."""

from __future__ import annotations

from pathlib import Path

import pytest

from corelens.cli import main
from corelens.errors import ExitCode
from corelens.reports.explanation_writers import index, page
from corelens.reports.explanations import (
    HEADINGS,
    TAXONOMY,
    Block,
    Malformed,
    explanation,
    explanations,
    rule_modules,
)
from corelens.reports.rules import RULES

DOCSTRING = """One line: what it is.

What it sees: two things at once, and
a third.

And in a second paragraph more.

Why it costs: `x` waits.

What to do: set this

    export A=1
    export B=2

and start again.

When it is wrong: OpenMP only.
"""
# Words whose rules are not in yet: this list only ever gets shorter, and is empty in the end.
AWAITED = frozenset(TAXONOMY) - {"healthy", "insufficient-evidence", "memory-bandwidth"}


def test_a_docstring_is_taken_apart() -> None:
    one = explanation("a-b", DOCSTRING)
    assert (one.slug, one.summary) == ("a-b", "One line: what it is.")
    assert dict(one.parts) == {
        "What it sees": (
            Block(("Two things at once, and a third.",)),
            Block(("And in a second paragraph more.",)),
        ),
        "Why it costs": (Block(("`x` waits.",)),),
        "What to do": (
            Block(("Set this",)),
            Block(("export A=1", "export B=2"), verbatim=True),
            Block(("and start again.",)),
        ),
        "When it is wrong": (Block(("OpenMP only.",)),),
    }


@pytest.mark.parametrize(
    ("damage", "instead", "complaint"),
    [
        ("Why it costs:", "Why it is dear:", "needs one line, then"),
        ("When it is wrong: OpenMP only.", "When it is wrong:", "nothing under 'When it is wrong'"),
        ("One line: what it is.", "", "needs one line"),
        ("What it sees:", "What to do:", "needs one line, then"),
    ],
)
def test_a_docstring_of_another_form_is_refused(damage: str, instead: str, complaint: str) -> None:
    with pytest.raises(Malformed, match=complaint):
        explanation("a-b", DOCSTRING.replace(damage, instead))


def test_every_rule_is_explained_under_the_name_of_its_module() -> None:
    modules = {module.__name__: module for module in rule_modules()}
    slugs = [one.slug for one in explanations()]
    assert len(set(slugs)) == len(slugs) == len(modules)
    assert set(slugs) <= set(TAXONOMY)
    for name, module in modules.items():
        assert name.rpartition(".")[2].replace("_", "-") == module.SLUG
    assert {rule.__module__ for rule in RULES} <= modules.keys()


def test_every_module_with_a_check_is_run() -> None:
    with_check = {module.__name__ for module in rule_modules() if hasattr(module, "check")}
    assert with_check == {rule.__module__ for rule in RULES}


def test_every_word_of_the_taxonomy_is_explained() -> None:
    assert set(TAXONOMY) - {one.slug for one in explanations()} <= AWAITED


def test_a_page_has_every_part_and_keeps_what_is_to_be_pasted() -> None:
    text = "\n".join(page(explanation("a-b", DOCSTRING)))
    assert text.startswith("# a-b\n\nOne line: what it is.\n")
    assert [line for line in text.splitlines() if line.startswith("## ")] == [f"## {one}" for one in HEADINGS]
    assert "```\nexport A=1\nexport B=2\n```\n" in text


def test_the_list_links_every_page() -> None:
    lines = list(index([explanation("a-b", DOCSTRING)]))
    assert lines[2:] == ["| [a-b](a-b.md) | One line: what it is. |"]


def test_the_command_shows_one_and_lists_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "healthy"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("healthy: ")
    assert [line for line in shown.splitlines() if line in HEADINGS] == list(HEADINGS)
    assert main(["explain"]) == 0
    listed = capsys.readouterr().out
    assert [one.slug for one in explanations() if f"{one.slug} " not in listed] == []


@pytest.mark.parametrize(
    ("word", "remedy"),
    [("helthy", "did you mean healthy?"), ("Healthy", "did you mean healthy?"), ("xyz", "list them with")],
)
def test_a_word_that_is_no_verdict_is_one_line(
    word: str, remedy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", word]) == ExitCode.USAGE
    shown = capsys.readouterr()
    assert (shown.out, shown.err.count("\n")) == ("", 1)
    assert f"there is no verdict '{word}'; {remedy}" in shown.err


def test_the_pages_lie_where_the_list_says() -> None:
    folder = Path(__file__).parent.parent / "docs" / "rules"
    assert {path.stem for path in folder.glob("*.md")} == {"index", *(one.slug for one in explanations())}
