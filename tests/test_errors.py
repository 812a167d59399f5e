"""Every kind of trouble has a documented exit code of its own."""

from __future__ import annotations

from corelens import errors
from corelens.errors import MEANINGS, CorelensError, ExitCode, MissingExtra, OutputExists


def test_every_exit_code_is_documented() -> None:
    assert set(MEANINGS) == set(ExitCode)


def test_exit_codes_are_told_apart() -> None:
    classes = [
        each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, CorelensError)
    ]
    codes = [each.exit_code for each in classes]
    assert sorted(codes) == sorted(set(codes))


def test_a_message_says_what_was_seen_and_what_to_do() -> None:
    assert str(CorelensError("seen", "do")) == "seen; do"
    assert str(CorelensError("seen")) == "seen"


def test_remedies_spell_out_the_flag() -> None:
    assert "pip install 'corelens[lab]'" in str(MissingExtra("torch", "lab"))
    assert "--force" in str(OutputExists("a.corelens"))
