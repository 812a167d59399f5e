"""The explosion as Markdown: the verdict, a row per run, a table of owners per run, and what it means."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from corelens.reports.exploded import Explosion, ExplosionRun
from corelens.reports.explosion_words import FROM_SOURCES, THE_STORY, Statement, statements
from corelens.reports.formatting import markdown_text, plain
from corelens.reports.sections import ABSENT, percent, seconds

EMULATED = "emulated pools: counts are real, times are not"
_NOT_TIMES = "†"


def markdown(found: Explosion) -> str:
    """Lay out the whole report."""
    blocks = [
        "# The thread explosion, predicted and counted",
        markdown_text(THE_STORY),
        markdown_text(place(found)),
        _verdict(found),
        *_emulation(found),
        "## Runs",
        _table(_RUN_COLUMNS, map(_run_row, found.runs)),
        _bullets(_notes(found)),
        *_sweep(found.sweep),
        *_words(found),
        "## By owner",
        "\n\n".join(block for run in found.runs for block in _owners(run)),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def place(found: Explosion) -> str:
    """Say where this was measured."""
    host = found.host
    packages = ", ".join(f"{name} {found.packages[name]}" for name in _PACKAGES if name in found.packages)
    return (
        f"Measured on {host.hostname}: {host.cpu_model}, {host.logical_cores} logical cores; Linux {host.kernel},"
        f" Python {host.python}{f'; {packages}' if packages else ''}; recorded by corelens {found.corelens}."
    )


def verdict(found: Explosion) -> str:
    """Say whether prediction and observation agree, in one line."""
    count = len(found.everything)
    runs = "the one run" if count == 1 else f"all {count} runs"
    if not found.differences:
        return f"Predicted equals observed to the thread in {runs}."
    wrong = sum(not run.agrees for run in found.everything)
    return f"Predicted and observed differ in {wrong} of {count} runs."


_PACKAGES = ("torch", "numpy", "optuna")
_RUN_COLUMNS = (
    ("run", False), ("what", False), ("cores", True), ("pools", False), ("predicted", True), ("observed", True),
    ("equal", False), ("processes", True), ("trials at once", True), ("wall time", True), ("busy cores", True),
    ("run-queue wait", True),
)  # fmt: skip
_OWNER_COLUMNS = (
    ("process", False), ("owner", False), ("predicted", True), ("observed", True), ("why", False),
)  # fmt: skip
_SWEEP_COLUMNS = (
    ("cores", True), ("pools", False), ("predicted", True), ("observed", True), ("equal", False), ("sum", False),
)  # fmt: skip


def _verdict(found: Explosion) -> str:
    line = markdown_text(verdict(found))
    if not found.differences:
        return f"**{line}**"
    lines = [f"> **{line}**", ">", *(f"> - {markdown_text(text)}" for text in found.differences)]
    return "\n".join(["> [!CAUTION]", *lines])


def _emulation(found: Explosion) -> list[str]:
    emulated = sorted({run.cores for run in found.everything if run.emulated})
    if not emulated:
        return []
    cores = " and ".join(map(str, emulated)) if len(emulated) < 3 else ", ".join(map(str, emulated))
    return [
        f"> **{EMULATED}.** This machine is not one of {cores} cores, so native pools were given the sizes that"
        " they take there: torch by MKL's and libgomp's variables while it was imported, which were gone before the"
        " work began, OpenBLAS by threadpoolctl. `torch.set_num_threads` was not used for it: it starts"
        " torch's own pthreadpool as well, which such a machine does not have by itself. Columns marked"
        f" {_NOT_TIMES} say nothing about a real machine of that size."
    ]


def _run_row(run: ExplosionRun) -> tuple[str, ...]:
    mark = f" {_NOT_TIMES}" if run.emulated else ""
    return (
        run.name,
        run.what,
        str(run.cores),
        _pools(run),
        str(run.predicted),
        ABSENT if run.observed is None else str(run.observed),
        _equal(run),
        str(sum(role.observed_processes for role in run.roles)),
        ABSENT if run.trials_at_once is None else f"{run.trials_at_once:.1f}",
        seconds(run.wall_s) + mark,
        f"{run.busy_cores_mean:.2f}{mark}",
        percent(run.run_queue_wait_share) + mark,
    )


def _pools(run: ExplosionRun) -> str:
    return "emulated" if run.emulated else "native"


def _equal(run: ExplosionRun) -> str:
    return "yes" if run.agrees else "NO"


def _notes(found: Explosion) -> list[str]:
    notes = ["Every process counts at its own moment of most threads; corelens counts nothing of its own."]
    if any(run.emulated for run in found.runs):
        notes.append(f"{_NOT_TIMES} not representative: {EMULATED}.")
    if found.identical_values is not None:
        same = "the same values" if found.identical_values else "DIFFERENT VALUES"
        notes.append(f"Equal trials found {same} in every run.")
    return notes


def _sweep(runs: Sequence[ExplosionRun]) -> list[str]:
    if not runs:
        return []
    rows = [
        (
            str(run.cores),
            _pools(run),
            str(run.predicted),
            ABSENT if run.observed is None else str(run.observed),
            _equal(run),
            "; ".join(equation for role in run.roles for equation in role.observed_equations),
        )
        for run in runs
    ]
    return [f"## The count grows with the cores: {markdown_text(runs[0].what)}", _table(_SWEEP_COLUMNS, rows)]


def _owners(run: ExplosionRun) -> list[str]:
    rows = [
        (
            term.role,
            term.name,
            str(term.predicted),
            f"{term.observed}{'' if term.agrees else ' (NO)'}",
            term.why,
        )
        for term in run.terms
    ]
    return [
        f"### {markdown_text(f'{run.name}: {run.what}, {run.cores} cores ({_pools(run)} pools)')}",
        *([f"**{markdown_text(run.trouble)}**"] if run.trouble else []),
        _table(_OWNER_COLUMNS, rows),
        _bullets(_sums(run)),
        _drawing(run.tree),
    ]


def _sums(run: ExplosionRun) -> list[str]:
    lines: list[str] = []
    for role in run.roles:
        each = f", each of {role.observed_processes}" if role.observed_processes > 1 else ""
        lines.append(f"{role.role}{each}, predicted: {role.predicted_equation or 'no such process'}")
        lines += [f"{role.role}{each}, observed: {equation}" for equation in role.observed_equations]
    return lines


def _words(found: Explosion) -> Iterable[str]:
    said = statements(found)
    wrong = [one for one in said if one.claim is not None]
    working = [one for one in said if one.claim is None]
    yield "## What the story got wrong"
    yield _statements([*wrong, *FROM_SOURCES])
    if working:
        yield "## What holds, and what works"
        yield _statements(working)


def _statements(found: Sequence[Statement]) -> str:
    # Our own sentences, which are Markdown; nothing in them comes from the recorded program.
    return "\n".join(f"- {_claim(one)}{one.text} *({one.basis})*" for one in found)


def _claim(statement: Statement) -> str:
    return "" if statement.claim is None else f"**“{statement.claim}”** "


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {markdown_text(line)}" for line in lines)


def _table(columns: Sequence[tuple[str, bool]], rows: Iterable[Sequence[str]]) -> str:
    lines = [_row(name for name, _ in columns), _row("---:" if right else "---" for _, right in columns)]
    return "\n".join([*lines, *(_row(map(markdown_text, row)) for row in rows)])


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _drawing(lines: Sequence[str]) -> str:
    return "\n".join(["```text", *(plain(line).replace("`", "'") for line in lines), "```"]) if lines else ""
