"""Nothing was found that is worth changing: what the program could gain is small, or not proven.

What it sees: every rule looked, and none found a cause that costs a tenth of the core time that the program may
use and that the recording proves at least as likely as not. Cores may well be idle: a program that waits for
other machines, for a user or for the next request is healthy. Findings that are smaller or less certain are still
listed beneath the verdict.

Why it costs: it does not, as far as this recording shows. The numbers beside the verdict say how much of the
machine was used.

What to do: nothing. To make the program faster, look for less work rather than for more cores: a profiler of one
process (py-spy, perf) tells which function takes the time. To learn whether more workers would help, record it
with twice as many and compare the two:

    corelens compare two-workers.corelens four-workers.corelens

When it is wrong: when the recording misses the trouble. It covers the time that was recorded and no other; a run
that is much shorter than usual shows start-up and little else. What could not be seen stands at the end of every
report, with what would have to be allowed. A program that is slow because of its algorithm, or because its
memory system is saturated, looks healthy to everything that counts core time alone.
"""

SLUG = "healthy"
