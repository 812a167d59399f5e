"""How many threads libraries give themselves: precedence and clamps as they were measured."""

from __future__ import annotations

import pytest

from corelens.reports.facts.pool_sizes import (
    Machine,
    openblas_threads,
    scikit_learn_threads,
    torch_threads,
)

BIG = Machine(128, 64, 128)
TWO = Machine(2, 2, 2)


@pytest.mark.parametrize(
    ("machine", "variables", "threads"),
    [
        (BIG, {}, 64),
        (BIG, {"OMP_NUM_THREADS": "8"}, 8),
        (BIG, {"MKL_NUM_THREADS": "4"}, 4),
        (BIG, {"MKL_NUM_THREADS": "4", "OMP_NUM_THREADS": "8"}, 4),
        (BIG, {"OPENBLAS_NUM_THREADS": "1", "NUMEXPR_NUM_THREADS": "1"}, 64),
        (BIG, {"OMP_NUM_THREADS": "100"}, 64),
        (BIG, {"MKL_NUM_THREADS": "100", "MKL_DYNAMIC": "FALSE"}, 100),
        (BIG, {"OMP_NUM_THREADS": "4,2"}, 4),
        (BIG, {"OMP_NUM_THREADS": "many"}, 64),
        (BIG, {"OMP_NUM_THREADS": "0"}, 64),
        (TWO, {"OMP_NUM_THREADS": "7"}, 2),
        (Machine(8, 8, 3), {}, 3),
    ],
)
def test_torch_takes_mkls_number(machine: Machine, variables: dict[str, str], threads: int) -> None:
    assert torch_threads(machine, variables).value == threads


@pytest.mark.parametrize(
    ("machine", "variables", "reason"),
    [
        (Machine(128, None, 128), {}, "physical cores is not recorded"),
        (Machine(128, 64, 32), {}, "leaves out cores"),
        (BIG, None, "variables could not be read"),
        (Machine(64, 64, 64, "aarch64"), {}, "no MKL on aarch64"),
    ],
)
def test_what_torch_takes_is_unknown_with_its_reason(
    machine: Machine, variables: dict[str, str] | None, reason: str
) -> None:
    size = torch_threads(machine, variables)
    assert size.value is None
    assert reason in size.source


@pytest.mark.parametrize(
    ("variables", "threads"),
    [
        ({}, 2),
        ({"OMP_NUM_THREADS": "1"}, 1),
        ({"OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "1"}, 2),
        ({"GOTO_NUM_THREADS": "1"}, 1),
        ({"OPENBLAS_NUM_THREADS": "16"}, 2),
        ({"MKL_NUM_THREADS": "1"}, 2),
    ],
)
def test_openblas_has_variables_of_its_own(variables: dict[str, str], threads: int) -> None:
    assert openblas_threads(TWO, variables).value == threads


def test_openblas_sees_the_affinity_alone() -> None:
    assert openblas_threads(Machine(128, 64, 6), {}).value == 6
    assert openblas_threads(Machine(128, 64, None), {}).value == 128
    assert openblas_threads(Machine(None, None, None), {}).value is None
    assert openblas_threads(TWO, None).value is None


def test_scikit_learn_takes_openmps_variable_or_the_physical_cores() -> None:
    assert scikit_learn_threads(BIG, {}).value == 64
    assert scikit_learn_threads(BIG, {"OMP_NUM_THREADS": "100"}).value == 100
    assert scikit_learn_threads(BIG, None).value is None
