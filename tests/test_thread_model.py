"""The closed form against counts that were read off running programs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corelens.reports.facts import owned
from corelens.reports.facts.thread_model import (
    AGENT,
    BACKEND_HELPERS,
    POOL_THREADS,
    RAY_DRIVER,
    TQDM_MONITOR,
    Blas,
    Inputs,
    Teams,
    helpers_of,
    predict,
    rdb_heartbeats,
)

NUMPY, SCIPY = Blas("numpy"), Blas("scipy")


def raised(workers: int, size: int, **more: object) -> Inputs:
    """A box of two cores where torch.set_num_threads(size) was called and every worker opened a region."""
    made = Inputs(workers, 2, (Teams("torch", size, workers),), (NUMPY,), set_num_threads=size)
    return replace(made, **more)  # type: ignore[arg-type]


def big(workers: int, **more: object) -> Inputs:
    """128 logical and 64 physical cores with numpy and torch at their own sizes."""
    made = Inputs(workers, 128, (Teams("torch", 64, workers),), (NUMPY,))
    return replace(made, **more)  # type: ignore[arg-type]


MEASURED = {
    "set_num_threads(64), 3 workers": (raised(3, 64), 257),
    "set_num_threads(64), 5 workers": (raised(5, 64), 385),
    "joblib threading, 3 workers": (raised(3, 64, helpers=helpers_of("joblib-threads")), 260),
    "joblib threading, 5 workers": (raised(5, 64, helpers=helpers_of("joblib-threads")), 388),
    "set_num_threads(8), 4 workers": (raised(4, 8), 41),
    "set_num_threads(16), 2 workers": (raised(2, 16), 49),
    "set_num_threads(16), 5 workers, BLAS raised to 16": (raised(5, 16, blas=(Blas("numpy", 16),)), 111),
    "set_num_threads(64), 3 workers, main used OpenMP": (
        raised(3, 64, teams=(Teams("torch", 64, 3, main=True),)),
        320,
    ),
    "set_num_threads(64), operations too small to split": (raised(5, 64, teams=(Teams("torch", 64, 0),)), 70),
    "128 cores, 3 workers": (big(3), 256),
    "128 cores, 5 workers": (big(5), 384),
    "128 cores, 3 workers, progress bar": (big(3, helpers=(TQDM_MONITOR,)), 257),
    "128 cores, 5 workers, progress bar": (big(5, helpers=(TQDM_MONITOR,)), 385),
    "128 cores, joblib threading, 5 workers": (big(5, helpers=helpers_of("joblib-threads")), 387),
    "128 cores, 5 workers, scipy": (big(5, blas=(NUMPY, SCIPY)), 447),
    "limits set late": (big(3, helpers=(TQDM_MONITOR,)), 257),
    "set_num_threads(1) before the workers": (
        big(3, helpers=(TQDM_MONITOR,), set_num_threads=1, teams=(Teams("torch", 1, 3),)),
        68,
    ),
    "variables set before start": (
        big(3, helpers=(TQDM_MONITOR,), blas=(Blas("numpy", 1),), teams=(Teams("torch", 1, 3),)),
        5,
    ),
    "a loky worker limited to 12 of each": (
        Inputs(0, 64, (Teams("torch", 12, 0, main=True),), (Blas("numpy", 12),)),
        23,
    ),
    "a spawned worker": (Inputs(0, 128, (Teams("torch", 64, 0, main=True),), (NUMPY,)), 1 + 63 + 63),
}


@pytest.mark.parametrize("case", MEASURED)
def test_the_model_hits_what_was_counted(case: str) -> None:
    inputs, counted = MEASURED[case]
    assert predict(inputs).total == counted


def test_the_sum_is_told_in_words() -> None:
    assert predict(big(5, helpers=(TQDM_MONITOR,))).equation() == (
        "385 = 1 main + 5 Python workers + 1 tqdm monitor + 63 OpenBLAS (numpy) + 5 x 63 libgomp (torch)"
    )


def test_a_predicted_absence_is_a_term_and_no_word() -> None:
    predicted = predict(MEASURED["variables set before start"][0])
    assert predicted.by_owner()[owned.OPENMP_GNU] == predicted.by_owner()[owned.OPENBLAS] == 0
    assert "libgomp" not in predicted.equation()


def test_openblas_obeys_its_build_its_cores_and_what_it_was_told() -> None:
    assert [NUMPY.threads(cores) for cores in (1, 2, 64, 128, 192)] == [1, 2, 64, 64, 64]
    assert Blas("numpy", 16).threads(2) == 16
    assert Blas("numpy", 999).threads(2) == 64
    assert Blas("numpy", 128, build_maximum=256).threads(4) == 128


def test_a_fork_ends_the_threads_of_openblas() -> None:
    assert predict(big(3)).total - predict(big(3, forked=True)).total == 63


def test_the_inter_op_pool_counts_whole() -> None:
    assert predict(big(3, inter_op=64)).total - predict(big(3)).total == 64


@pytest.mark.parametrize(
    ("version", "helpers"),
    [
        ("0.19.0", (POOL_THREADS,)),
        ("1.0.0", (POOL_THREADS,)),
        ("2.5.0", (POOL_THREADS,)),
        ("2.6.0", ()),
        ("4.7.0", ()),
        ("5.0.0", ()),
        ("unreleased", ()),
        (None, ()),
    ],
)
def test_old_releases_of_optuna_kept_handlers(version: str | None, helpers: tuple[object, ...]) -> None:
    assert helpers_of("optuna-threads", version) == helpers


def test_every_helper_counts_what_it_says() -> None:
    alone = predict(Inputs(0, 2)).total
    for helper in (TQDM_MONITOR, RAY_DRIVER, AGENT, rdb_heartbeats(4), *sum(BACKEND_HELPERS.values(), ())):
        assert predict(Inputs(0, 2, helpers=(helper,))).total == alone + helper.count


@given(
    workers=st.integers(0, 200),
    cores=st.integers(1, 512),
    size=st.integers(0, 512),
    busy=st.integers(0, 200),
    main=st.booleans(),
    told=st.none() | st.integers(0, 512),
    inter_op=st.integers(0, 128),
)
def test_the_terms_add_up_and_none_is_negative(
    workers: int, cores: int, size: int, busy: int, *, main: bool, told: int | None, inter_op: int
) -> None:
    predicted = predict(
        Inputs(workers, cores, (Teams("torch", size, busy, main),), (NUMPY, SCIPY), told, (), inter_op)
    )
    assert (
        predicted.total == sum(term.count for term in predicted.terms) == sum(predicted.by_owner().values())
    )
    assert all(term.count >= 0 and term.why for term in predicted.terms)
