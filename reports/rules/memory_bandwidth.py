"""Busy cores share a saturated memory system: more of them move the same bytes in the same time.

What it sees: nothing that proves it. A core that waits for memory counts as busy in every clock of the kernel, so
a recording made of those clocks shows a program at full use that does not get faster. Proof needs the hardware's
own counters of memory traffic, which corelens does not read; therefore it never gives this verdict, and a
program that suffers from it is called healthy.

Why it costs: a memory controller serves so many bytes per second. Once the cores that run ask for all of them,
the next core only makes the others wait, and so does the second thread of a core.

What to do: measure the throughput of the same work with 1, 2, 4, … workers, each recording labelled, and compare
them. Busy cores that grow while the throughput does not are its sign:

    corelens compare one.corelens two.corelens four.corelens

To prove it, read the traffic with `perf stat` on the memory controllers (the uncore events of your processor) or
with VTune's memory access analysis, and hold it against what STREAM reaches on the same machine. If they meet,
move fewer bytes: smaller types, blocks that fit into the cache, fewer passes over the same array, fewer workers.

When it is wrong: throughput that stays level has other causes with the same look, above all cores that are two
threads of one physical core, a lower clock when all cores run, and work that spins at barriers.
"""

SLUG = "memory-bandwidth"
