"""Secrets on command lines are hidden; what a reader needs stays."""

from __future__ import annotations

import pytest

from corelens.probes.masking import MAX_ARGUMENT_CHARACTERS, MAX_ARGUMENTS, masked


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        (["--password=hunter2"], ["--password=***"]),
        (["--password", "hunter2"], ["--password", "***"]),
        (["--db-password", "hunter2", "next"], ["--db-password", "***", "next"]),
        (["--api-key=abc"], ["--api-key=***"]),
        (["--api_key", "abc"], ["--api_key", "***"]),
        (["--token", "--verbose"], ["--token", "--verbose"]),
        (["TOKEN=abc"], ["TOKEN=***"]),
        (["AWS_SECRET_ACCESS_KEY=abc"], ["AWS_SECRET_ACCESS_KEY=***"]),
        (["postgres://me:pw@host/db"], ["postgres://***@host/db"]),
        (["https://host/?a=1&access_token=q&b=2"], ["https://host/?a=1&access_token=***&b=2"]),
        (["Authorization: Bearer abc.def"], ["Authorization:***"]),
        (["-H", "X: Bearer abc.def"], ["-H", "X: Bearer ***"]),
        (["sk-abcdefghijkl"], ["***"]),
        (["--id=c1371f6255cc735787cca923a115c69ecf0f827aad011d81"], ["--id=***"]),
        (["eyJhdXRvbWF0aWNfb2JqZWN0X3NwaWxs"], ["***"]),
    ],
)
def test_secrets_are_hidden(argv: list[str], shown: list[str]) -> None:
    assert masked(argv) == shown


@pytest.mark.parametrize(
    "argv",
    [
        ["python", "search.py", "-m", "pure", "-n", "5", "--stagnation-limit", "10"],
        ["--max-tokens", "512"],
        ["--n_tokens=512"],
        ["--author=Jane"],
        ["/home/me/venv/lib/python3.11/site-packages/ray/core/src/ray/raylet/raylet"],
        ["session_2026-11-23_23-58-34_099682_4980"],
        ["-c", "from multiprocessing.spawn import spawn_main; spawn_main(tracker_fd=17, pipe_handle=23)"],
        ["12345678901234567890123456789012345"],
        ["https://example.org/a/b?c=d"],
        [""],
        [],
    ],
)
def test_what_is_no_secret_stays(argv: list[str]) -> None:
    assert masked(argv) == argv


def test_length_is_bounded_and_says_so() -> None:
    long = "x y " * 400
    assert masked([long]) == [f"{long[:MAX_ARGUMENT_CHARACTERS]}… (1600 characters)"]
    many = masked(["a"] * 200)
    assert len(many) == MAX_ARGUMENTS + 1
    assert many[-1] == "… (200 arguments)"
