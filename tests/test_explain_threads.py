"""Counts that somebody saw, explained without a recording: the story's numbers, and one that fits nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given as given_by
from hypothesis import settings
from hypothesis import strategies as st

from corelens.cli import main
from corelens.errors import ExitCode
from corelens.reports.facts.decompositions import (
    FEW_THREADS,
    MOST_ASSUMPTIONS,
    MOST_SHOWN,
    Decomposition,
    Explanation,
    checks,
    explain,
)
from corelens.reports.facts.thread_guesses import BACKENDS, LIBRARIES, Given

FIVE, THREE = Given(64, 5), Given(64, 3)


def texts(each: Decomposition) -> list[set[str]]:
    return [{one.text for one in together} for together in each.assumptions]


def shown(found: Explanation) -> list[Decomposition]:
    return [*found.exact, *found.near, *found.nearest]


def test_387_is_a_pool_of_threads_or_385_and_two_that_nobody_names() -> None:
    found = explain(387, FIVE)
    assert [each.prediction.equation() for each in found.exact] == [
        "387 = 1 main + 5 Python workers + 3 pool handlers + 63 OpenBLAS (numpy) + 5 x 63 libgomp (torch)"
    ]
    assert texts(found.exact[0]) == [
        {"the workers run on multiprocessing's ThreadPool, as with joblib's threading backend"}
    ]
    assert [(each.prediction.total, each.unexplained, each.assumed) for each in found.near] == [
        (384, 3, 0),
        (385, 2, 1),
    ]
    assert texts(found.near[1]) == [{"a tqdm progress bar is shown"}]


def test_what_is_said_of_the_backend_leaves_two_threads_of_387_over() -> None:
    found = explain(387, Given(64, 5, backend="optuna-threads"))
    assert all("pool handlers" not in each.prediction.equation() for each in shown(found))
    assert (found.exact[0].assumed if found.exact else MOST_ASSUMPTIONS) == MOST_ASSUMPTIONS
    assert [(each.prediction.total, each.unexplained) for each in found.near][:2] == [(384, 3), (385, 2)]


def test_257_is_three_workers_and_a_progress_bar() -> None:
    best = explain(257, THREE).exact[0]
    assert best.prediction.equation() == (
        "257 = 1 main + 3 Python workers + 1 tqdm monitor + 63 OpenBLAS (numpy) + 3 x 63 libgomp (torch)"
    )
    assert (best.assumed, best.before_work) == (1, 64)


def test_257_with_five_workers_asked_for_says_that_there_are_fewer() -> None:
    found = explain(257, FIVE)
    assert found.exact
    assert all(any("not 5" in text for text in one) for one in texts(found.exact[0]))


def test_68_is_torch_held_to_one_thread_or_operations_too_small_to_split() -> None:
    best = explain(68, THREE).exact[0]
    assert (
        best.prediction.equation() == "68 = 1 main + 3 Python workers + 1 tqdm monitor + 63 OpenBLAS (numpy)"
    )
    told = {text for one in texts(best) for text in one}
    assert any("torch.set_num_threads(1)" in text for text in told)
    assert any("too small to be split" in text for text in told)


def test_5_is_limits_that_were_set_in_time() -> None:
    best = explain(5, THREE).exact[0]
    assert best.prediction.equation() == "5 = 1 main + 3 Python workers + 1 tqdm monitor"
    assert any("before Python started" in text for text in texts(best)[0])
    assert best.before_work == 1


def test_a_number_that_fits_nothing_is_not_explained() -> None:
    found = explain(151, FIVE)
    assert not found.exact
    assert not found.near
    assert all(abs(each.unexplained) > FEW_THREADS for each in found.nearest)
    assert [abs(each.unexplained) for each in found.nearest] == sorted(
        abs(each.unexplained) for each in found.nearest
    )
    # Each takes less for granted than those that come closer.
    assert [each.assumed for each in found.nearest] == sorted(
        (each.assumed for each in found.nearest), reverse=True
    )


def test_a_second_blas_is_no_assumption_where_it_was_said() -> None:
    best = explain(447, Given(64, 5, ("torch", "numpy", "scipy"))).exact[0]
    assert best.assumed == 0
    assert "63 OpenBLAS (scipy)" in best.prediction.equation()


def test_without_torch_there_are_no_teams() -> None:
    assert explain(69, Given(64, 5, ("numpy",))).exact[0].assumed == 0
    assert all(
        "torch" not in each.prediction.equation() for each in shown(explain(300, Given(64, 5, ("numpy",))))
    )


def test_one_worker_works_in_the_main_thread() -> None:
    best = explain(127, Given(64, 1)).exact[0]
    assert (best.assumed, best.prediction.equation()) == (
        0, "127 = 1 main + 63 OpenBLAS (numpy) + 63 libgomp (torch)",
    )  # fmt: skip


def test_a_loky_worker_has_its_share_of_the_cores() -> None:
    best = explain(23, Given(64, 5, backend="joblib-loky")).exact[0]
    assert best.prediction.equation() == "23 = 1 main + 11 OpenBLAS (numpy) + 11 libgomp (torch)"
    assert texts(best) == [{"the count is that of one worker process"}]


def test_a_pool_of_processes_can_be_counted_together() -> None:
    best = explain(67 + 3 * 127, Given(64, 3, backend="process-pool")).exact[0]
    assert best.prediction.equation() == (
        "448 = 1 main + 3 pool handlers + 63 OpenBLAS (numpy) + 3 x 127 in worker processes"
    )


def test_hyper_threads_are_half_a_core_to_torch() -> None:
    best = explain(1 + 5 + 63 + 5 * 31, FIVE).exact[0]
    assert texts(best) == [{"64 are logical cores, two to a physical one, and torch counts 32"}]


@settings(max_examples=40, deadline=None)
@given_by(
    count=st.integers(1, 2000),
    cores=st.integers(1, 256),
    workers=st.integers(1, 40),
    backend=st.none() | st.sampled_from(BACKENDS),
    libraries=st.none() | st.lists(st.sampled_from(LIBRARIES), unique=True).map(tuple),
)
def test_no_explanation_is_invented(
    count: int, cores: int, workers: int, backend: str | None, libraries: tuple[str, ...] | None
) -> None:
    found = explain(count, Given(cores, workers, libraries, backend))
    everything = shown(found)
    assert everything
    for each in everything:
        assert each.prediction.total + each.unexplained == count
        assert all(len(together) == each.assumed <= MOST_ASSUMPTIONS for together in each.assumptions)
        assert each.before_work >= 1
    assert all(each.unexplained == 0 for each in found.exact)
    assert all(0 < abs(each.unexplained) <= FEW_THREADS for each in found.near)
    assert not (found.nearest and (found.exact or found.near))
    assert [each.assumed for each in found.exact] == sorted(each.assumed for each in found.exact)
    assert max(map(len, (found.exact, found.near, found.nearest))) <= MOST_SHOWN
    asked = {
        assumption.check for each in everything for together in each.assumptions for assumption in together
    }
    assert {how for _, how in checks(found)} == asked


# the command


def test_the_command_prints_sums_and_what_tells_them_apart(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain-threads", "387", "--cores", "64", "--workers", "5"]) == 0
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    assert lines[0] == "387 threads with 64 cores and 5 workers: 1 exact sum, 2 near"
    assert "+ 2 unexplained" in printed
    assert "py-spy dump --nonblocking --pid PID | grep '(_handle_'" in printed
    assert lines[-1].strip() == "corelens record -p PID"


def test_the_command_says_when_nothing_fits(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain-threads", "151", "--cores", "64", "--workers", "5"]) == 0
    printed = capsys.readouterr().out
    assert "nothing that the model knows comes within 5 threads" in printed
    assert "that this would have and that were not seen" in printed


def test_json_holds_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    argv = [
        "explain-threads",
        "257",
        "--cores",
        "64",
        "--workers",
        "3",
        "--libraries",
        "numpy, torch",
        "--json",
    ]
    assert main(argv) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["given"] == {"cores": 64, "workers": 3, "libraries": ["numpy", "torch"], "backend": None}
    best = said["exact"][0]
    assert (best["threads"], best["unexplained"], best["threads_before_work"]) == (257, 0, 64)
    assert sum(term["threads"] for term in best["terms"]) == 257
    assert all(each["how"] and each["question"] for each in said["checks"])


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["0", "--cores", "64", "--workers", "5"], "THREADS 0 is too small"),
        (["387", "--cores", "0", "--workers", "5"], "--cores 0 is too small"),
        (["387", "--cores", "64", "--workers", "-1"], "--workers -1 is too small"),
        (["387", "--cores", "64", "--workers", "5", "--libraries", "jax"], "does not know 'jax'"),
        (["387", "--cores", "64", "--workers", "5", "--backend", "dask"], "does not know 'dask'"),
        (["387", "--workers", "5"], "got no --cores"),
        (["--cores", "64", "--workers", "5"], "got no THREADS"),
        (["many", "--cores", "64", "--workers", "5"], "invalid int value: 'many'"),
    ],
)
def test_trouble_is_one_line(argv: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = main(["explain-threads", *argv])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else -1
    printed = capsys.readouterr()
    assert code == ExitCode.USAGE
    assert printed.out == ""
    assert len(printed.err.strip().splitlines()) == 1
    assert told in printed.err


def test_the_page_shows_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parent.parent / "docs" / "threads.md").read_text()
    example = page.partition("$ corelens explain-threads 387 --cores 64 --workers 5\n")[2].partition("\n…\n")[
        0
    ]
    main(["explain-threads", "387", "--cores", "64", "--workers", "5"])
    assert example
    assert capsys.readouterr().out.startswith(example)
