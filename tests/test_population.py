"""How many threads there were: the kernel's counts less the agent's own threads."""

from __future__ import annotations

from corelens.reports.facts.bins import grid_for, largest, when_largest
from corelens.reports.facts.population import Population, population
from corelens.reports.facts.processes import lives
from corelens.reports.facts.threads import threads
from corelens.vocabulary import Line, columnar_line
from tests.made_threads import MS, SECOND, agent, born, counted, died, ended, listed, recording


def people(*lines: Line) -> Population:
    made = recording([born(), *lines])
    alive = lives(made)
    return population(made, alive, threads(made, alive, grid_for(10 * SECOND, 100 * MS)).all)


def agents_thread(t_ns: int, tid: int) -> Line:
    return columnar_line("threads.born", t_ns, [(100, tid, t_ns // (10 * MS), "corelens-agent")])


def test_levels_follow_every_process() -> None:
    found = people(counted(SECOND, (100, 3)), counted(2 * SECOND, (100, 2)), died(3 * SECOND))
    (levels,) = found.levels.values()
    assert levels == [(0, 1), (SECOND, 3), (2 * SECOND, 2), (3 * SECOND, 0)]


def test_every_thread_of_the_agent_is_left_out_while_it_lives() -> None:
    found = people(
        listed(0, [100]),
        agent(SECOND, agent_tid=101),
        agents_thread(SECOND, 101),
        counted(SECOND, (100, 2)),
        agents_thread(2 * SECOND, 102),
        counted(2 * SECOND, (100, 3)),
        ended(3 * SECOND, [101, 102]),
        counted(3 * SECOND, (100, 4)),
    )
    assert [count for _, count in found.threads] == [1, 1, 4]


def test_a_thread_with_the_agents_name_in_a_program_without_agent_counts() -> None:
    found = people(listed(0, [100]), agents_thread(SECOND, 101), counted(SECOND, (100, 2)))
    assert found.peak == 2


def test_an_agent_that_was_never_listed_is_left_out_from_its_first_report_on() -> None:
    found = people(counted(SECOND, (100, 3)), agent(2 * SECOND, agent_tid=101), counted(3 * SECOND, (100, 4)))
    assert [count for _, count in found.threads] == [1, 3]


def test_the_moment_of_the_largest_value_lies_in_its_bin() -> None:
    grid = grid_for(SECOND, 50 * MS)
    levels = [(0, 1), (250 * MS, 7), (260 * MS, 9), (270 * MS, 9), (310 * MS, 2)]
    found = when_largest(levels, grid)
    assert [value for _, value in found] == largest(levels, grid) == [1, 1, 9, 9, 2, 2, 2, 2, 2, 2]
    assert found[2] == (260 * MS, 9)
    assert found[3] == (300 * MS, 9)
