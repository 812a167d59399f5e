"""How to limit native pools, as lines to paste: by the kind of library that has the threads."""

from __future__ import annotations

from collections.abc import Iterable

from corelens.reports.facts.native_teams import OPENMP, Team
from corelens.reports.facts.owned import BLIS, MKL, NUMBA_WORKQUEUE, OPENBLAS, TORCH_PTHREADPOOL

_VARIABLES = {
    OPENBLAS: "OPENBLAS_NUM_THREADS",
    MKL: "MKL_NUM_THREADS",
    BLIS: "BLIS_NUM_THREADS",
    NUMBA_WORKQUEUE: "NUMBA_NUM_THREADS",
}
_BY_THREADPOOLCTL = OPENMP | {OPENBLAS, MKL, BLIS}


def variable(kind: str) -> str | None:
    """The variable that limits this kind of pool when the library is loaded."""
    return "OMP_NUM_THREADS" if kind in OPENMP else _VARIABLES.get(kind)


def is_torch(team: Team) -> bool:
    """Whether torch decides about its threads."""
    return team.kind == TORCH_PTHREADPOOL or "/torch/" in (team.library or "") or "(torch)" in team.label


def in_shell(teams: Iterable[Team], threads: int) -> tuple[str, ...]:
    """Variables to set before the program starts."""
    names = dict.fromkeys(variable(team.kind) for team in teams)
    return tuple(f"export {name}={threads}" for name in names if name is not None)


def in_python(teams: Iterable[Team], threads: int) -> tuple[str, ...]:
    """Calls that limit pools in a process that runs."""
    lines: dict[str, None] = {}
    for team in teams:
        if is_torch(team):
            lines[f"import torch; torch.set_num_threads({threads})"] = None
        elif team.kind in _BY_THREADPOOLCTL:
            lines[f"import threadpoolctl; threadpoolctl.threadpool_limits({threads})"] = None
        elif team.kind == NUMBA_WORKQUEUE:
            lines[f"import numba; numba.set_num_threads({threads})"] = None
    return tuple(lines)


def named(teams: Iterable[Team]) -> str:
    """`OpenBLAS (numpy)`; several are joined with `and`."""
    return " and ".join(dict.fromkeys(team.label for team in teams))
