"""The verdict rules on values: each word, and the case beside it that must get another."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from corelens.reports.facts import limit_code
from corelens.reports.facts.limit_code import Set
from corelens.reports.facts.limit_readers import LIBRARIES, loading_module, number, openblas_with, winner
from corelens.reports.facts.limit_verdicts import (
    VERDICTS,
    Cores,
    Reading,
    on_missing,
    on_nothing,
    on_replaced,
    on_unread,
    on_variable,
    readers_of,
)
from corelens.vocabulary import LIMIT_VARIABLES

MACHINE = Cores(allowed=128, physical=64, online=128)


def reading(
    library: str,
    at_load: Mapping[str, str] | None,
    *sizes: int,
    observed: int | None = None,
    cores: Cores = MACHINE,
    inherited: bool = False,
) -> Reading:
    return Reading(LIBRARIES[library], at_load, sizes, observed, cores, inherited=inherited)


OMP, MKL, BLAS = "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"


@pytest.mark.parametrize(
    ("at", "name", "value", "word", "says"),
    [
        (reading("openblas", {OMP: "1"}, 1), OMP, "1", "took-effect", "1 thread"),
        (reading("openblas", {}, 64), OMP, "1", "set-too-late", "when it was loaded"),
        (reading("openblas", {OMP: "8"}, 8), OMP, "1", "set-too-late", "8 threads"),
        # The default happens to be what was asked for; the variable has no part in it.
        (reading("openblas", {}, 1), OMP, "1", "set-too-late", "1 thread"),
        (reading("openblas", {OMP: "1", BLAS: "4"}, 4), OMP, "1", "overridden", "OPENBLAS_NUM_THREADS=4"),
        (reading("openblas", {OMP: "4", BLAS: "4"}, 4), OMP, "4", "took-effect", "says the same"),
        (reading("openblas", {OMP: "4", BLAS: "0"}, 4), OMP, "4", "took-effect", "4 threads"),
        (reading("openblas", {OMP: "4", BLAS: "0"}, 4), BLAS, "0", "ignored", "'0'"),
        (reading("openblas", {OMP: "100"}, 64), OMP, "100", "overridden", "build allows 64"),
        (reading("openblas", {OMP: "8"}, 2, cores=Cores(2, 2, 2)), OMP, "8", "overridden", "affinity"),
        (reading("openblas", {OMP: "8"}, 1), OMP, "8", "overridden", "code changed it"),
        (reading("openblas", {OMP: "8"}, 8, 1), OMP, "8", "overridden", "threadpoolctl"),
        (reading("openblas", None, 8), OMP, "8", "took-effect", "8 threads"),
        (reading("openblas", None, 8), OMP, "1", "unknown", "nobody saw"),
        (reading("openblas", {OMP: "8"}), OMP, "8", "unknown", "no team was seen"),
        (reading("torch", {MKL: "1", OMP: "8"}, 1), OMP, "8", "overridden", "MKL_NUM_THREADS=1"),
        (reading("torch", {MKL: "1", OMP: "8"}, 1), MKL, "1", "took-effect", "while torch was imported"),
        (reading("torch", {OMP: "100"}, 64), OMP, "100", "overridden", "64 physical cores"),
        (reading("torch", {OMP: "100", "MKL_DYNAMIC": "FALSE"}, 100), OMP, "100", "took-effect", "100"),
        (reading("torch", {OMP: "100", "MKL_DYNAMIC": "0"}, 64), OMP, "100", "overridden", "physical"),
        # Half the hardware threads: somewhere between 16 and 32 physical cores.
        (reading("torch", {OMP: "64"}, 20, cores=Cores(32, 64, 128)), OMP, "64", "overridden", "may use"),
        (reading("torch", {OMP: "64"}, 4, cores=Cores(32, 64, 128)), OMP, "64", "overridden", "set_num"),
        (reading("torch", {OMP: "1"}, 1, observed=16), OMP, "1", "overridden", "one team to 16"),
        (reading("torch", {OMP: "16"}, 16, observed=2), OMP, "16", "took-effect", "16 threads"),
        (reading("torch", {OMP: "1"}, 1), "GOMP_SPINCOUNT", "0", "set-too-late", "came later"),
        (reading("torch", {"GOMP_SPINCOUNT": "0"}, 1), "GOMP_SPINCOUNT", "0", "unknown", "no size"),
        (reading("libgomp", {OMP: "4,2"}, 4), OMP, "4,2", "took-effect", "4 threads"),
        (reading("libgomp", {OMP: "lots"}, 2), OMP, "lots", "ignored", "'lots'"),
        (reading("libomp", {}, 1), OMP, "1", "took-effect", "before the first use"),
        (reading("libomp", {}, 64), OMP, "1", "set-too-late", "at its first use"),
        (reading("numexpr", {OMP: "1", "NUMEXPR_NUM_THREADS": "2"}, 2), OMP, "1", "overridden", "NUMEXPR"),
    ],
)  # fmt: skip
def test_the_verdict_on_a_variable(at: Reading, name: str, value: str, word: str, says: str) -> None:
    verdict = on_variable(at, name, value)
    assert verdict.word == word
    assert word in VERDICTS
    assert says in verdict.why


@pytest.mark.parametrize(("observed", "word"), [(4, "took-effect"), (5, "overridden"), (None, "unknown")])
def test_a_team_limit_is_held_against_the_teams_that_were_seen(observed: int | None, word: str) -> None:
    at = reading("torch", {"OMP_THREAD_LIMIT": "4"}, 64, observed=observed)
    assert on_variable(at, "OMP_THREAD_LIMIT", "4").word == word


def test_a_fork_inherits_what_was_loaded_and_not_what_was_set_afterwards() -> None:
    at = reading("openblas", {}, 64, inherited=True)
    assert on_variable(at, OMP, "1", set_by_parent=True).word == "not-inherited"
    # What the child itself sets is merely too late.
    assert on_variable(at, OMP, "1", set_by_parent=False).word == "set-too-late"
    assert on_variable(reading("openblas", {}, 64), OMP, "1", set_by_parent=True).word == "set-too-late"


@pytest.mark.parametrize(
    ("observed", "word"), [(8, "took-effect"), (64, "overridden"), (4, "unknown"), (None, "unknown")]
)
def test_from_outside_the_largest_team_decides(observed: int | None, word: str) -> None:
    at = Reading(LIBRARIES["torch"], {OMP: "8"}, (), observed, MACHINE, assumed=True)
    assert on_variable(at, OMP, "8").word == word


def test_from_outside_a_cut_down_value_shows_too() -> None:
    at = Reading(LIBRARIES["torch"], {OMP: "100"}, (), 64, MACHINE, assumed=True)
    assert on_variable(at, OMP, "100").word == "overridden"


def test_a_limit_that_comes_too_late_comes_with_what_works() -> None:
    fix = on_variable(reading("torch", {}, 64), OMP, "1").fix
    assert fix is not None
    assert "OMP_NUM_THREADS=1 python" in fix
    assert "torch.set_num_threads(1)" in fix
    assert on_variable(reading("torch", {OMP: "1"}, 1), OMP, "1").fix is None


def test_a_replaced_a_missing_and_an_unread_variable() -> None:
    replaced = on_replaced(reading("openblas", {OMP: "2"}, 2), OMP, "1")
    assert (replaced.word, "set it to 2" in replaced.why) == ("overridden", True)
    assert "removed it" in on_replaced(reading("openblas", {}, 2), OMP, "1").why
    assert on_missing(reading("openblas", {}, 64), OMP, "1").word == "not-inherited"
    unread = on_unread(BLAS, ["torch intra-op"])
    assert (unread.word, "torch intra-op" in unread.why) == ("ignored", True)


def test_a_pool_that_nothing_limits_says_what_would() -> None:
    free = on_nothing(reading("torch", {}, 64), [BLAS])
    assert free is not None
    assert free.fix is not None
    assert (free.word, BLAS in free.why) == ("", True)
    one = on_nothing(reading("torch", {}, 1))
    assert one is not None
    assert one.fix is None
    assert on_nothing(reading("torch inter-op", {}, 64)) is None


@pytest.mark.parametrize(
    ("at", "asked"),
    [
        (reading("torch", {}, 64), None),
        (reading("torch", {}, 128), None),
        (reading("torch", {}, 16), Set(16, lasting=True)),
        (reading("torch", {}, 20, cores=Cores(32, 64, 128)), None),
        (reading("torch", {OMP: "1"}, 1), None),
        (reading("torch", {OMP: "100"}, 64), None),
        (reading("torch", {OMP: "1"}, 64), Set(64, lasting=True)),
        (reading("torch", {}, 64, 64, 1), Set(1, lasting=True)),
        (reading("torch", {}, 64, 1, 64), Set(1, lasting=False)),
        (reading("torch", {}), None),
        (reading("torch", None, 16), None),
        (reading("torch", {}, 16, cores=Cores(None, None)), None),
        (reading("openblas", {}, 64), None),
        (reading("openblas", {}, 64, 1), Set(1, lasting=True)),
        # What a thread has of libgomp is its own; a new one shows what the variables say.
        (reading("libgomp", {}, 5), None),
        (reading("numexpr", {}, 16), None),
    ],
)
def test_what_code_set_is_what_nothing_else_explains(at: Reading, asked: Set | None) -> None:
    assert limit_code.set_by_code(at) == asked


def test_torch_calls_reach_only_threads_that_are_new_to_torch() -> None:
    late = limit_code.on_torch_call(Set(1, True), [16, 16])
    assert (late.word, "2 threads" in late.why, "up to 16" in late.why) == ("set-too-late", True, True)
    assert limit_code.on_torch_call(Set(1, True), []).word == "took-effect"
    assert "a while" in limit_code.on_torch_call(Set(1, False), [16]).why


@pytest.mark.parametrize(
    ("size", "torch_set", "larger", "word"),
    [
        (64, None, [64], "not-inherited"),
        (64, None, [], "took-effect"),
        (64, None, None, "unknown"),
        (1, None, None, None),
        (16, Set(16, True), [16], "overridden"),
        (1, Set(1, True), [16], "not-inherited"),
    ],
)
def test_threadpoolctl_limits_openmp_in_its_own_thread_alone(
    size: int, torch_set: Set | None, larger: list[int] | None, word: str | None
) -> None:
    verdict = limit_code.on_threadpoolctl(reading("torch", {}, size), 1, torch_set, larger)
    assert (verdict.word if verdict else None) == word


@pytest.mark.parametrize(
    ("observed", "threads", "word"),
    [(8, 8, "took-effect"), (64, 8, "set-too-late"), (None, 8, "unknown"), (64, 64, None)],
)
def test_from_outside_torchs_own_pool_betrays_the_call(
    observed: int | None, threads: int, word: str | None
) -> None:
    at = Reading(LIBRARIES["torch"], {}, (), observed, MACHINE, assumed=True)
    verdict = limit_code.on_seen_pool(at, threads)
    assert (verdict.word if verdict else None) == word


@pytest.mark.parametrize(
    ("name", "text", "asked"),
    [
        (OMP, "4", 4), (OMP, " 4 ", 4), (OMP, "4,2", 4), (OMP, "0", None), (OMP, "", None), (OMP, "-1", None),
        (OMP, "4x", None), ("MKL_DOMAIN_NUM_THREADS", "MKL_DOMAIN_ALL=2, MKL_DOMAIN_BLAS=1", 2),
        ("MKL_DOMAIN_NUM_THREADS", "MKL_DOMAIN_BLAS=1", None), ("MKL_DOMAIN_NUM_THREADS", "MKL_ALL 3", None),
    ],
)  # fmt: skip
def test_what_a_value_asks_for(name: str, text: str, asked: int | None) -> None:
    assert number(name, text) == asked


def test_openblas_over_openmp_reads_one_variable() -> None:
    found = openblas_with("openmp")
    assert winner(found, {BLAS: "1", OMP: "2"}) == (OMP, 2)
    assert winner(openblas_with("pthreads"), {BLAS: "1", OMP: "2"}) == (BLAS, 1)


@pytest.mark.parametrize(
    ("path", "module"),
    [
        ("/v/site-packages/numpy.libs/libscipy_openblas64_-32.so", "numpy"),
        ("/v/site-packages/scipy.libs/libscipy_openblas-6c.so", "scipy.linalg"),
        ("/v/site-packages/torch/lib/libgomp.so.1", "torch"),
        ("/v/site-packages/scikit_learn.libs/libgomp-a34.so.1", "sklearn"),
        ("/usr/lib/x86_64-linux-gnu/libopenblas.so.0", None),
    ],
)
def test_wheels_carry_their_libraries(path: str, module: str | None) -> None:
    assert loading_module(path) == module


def test_every_variable_of_the_table_is_one_that_is_recorded() -> None:
    for library in LIBRARIES.values():
        assert {*library.variables, *library.policies} <= set(LIMIT_VARIABLES)
    assert readers_of("POLARS_MAX_THREADS") == ("polars",)
