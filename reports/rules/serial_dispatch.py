"""The caller waits for each piece of work before it sends the next, or runs the work itself.

What it sees: several workers of which one at a time has a task, while the others wait where tasks arrive and the
caller waits for a result; the task goes from worker to worker. Or an event loop whose thread sleeps in a blocking
call, or computes, inside of one of its own callbacks instead of waiting for its sockets. Or a pool that never gets a
task while its parent computes.

Why it costs: a pool gives speed only while several tasks are in flight. With one in flight it is a plain loop with
messages added. An event loop that is blocked in one request serves no other request in that time.

What to do: send all tasks, then collect the results (`futures = [pool.submit(f, x) for x in xs]`, then
`[future.result() for future in futures]`; `pool.map`; one `ray.get` over a list). In an event loop, hand a blocking
call to threads (`await asyncio.to_thread(f, x)`, or `def` instead of `async def` for an endpoint of FastAPI), and a
computation to a `ProcessPoolExecutor` with `run_in_executor`.

When it is wrong: where each task needs the result of the one before, there is nothing to send ahead; run it without
a pool. An event loop with one client at a time gains nothing from threads.
"""

from __future__ import annotations

from collections.abc import Iterator

from corelens.reports.facts.facts import Facts
from corelens.reports.findings import Finding
from corelens.reports.rules.serial import crews, event_loops, idle_pools, ray

SLUG = "serial-dispatch"


def check(facts: Facts) -> Iterator[Finding]:
    """Look at each crew, at a driver of Ray that uses one worker, at pools without tasks, and at each event loop."""
    yield from crews.findings(facts, SLUG)
    yield from ray.findings(facts, SLUG)
    yield from idle_pools.findings(facts, SLUG)
    yield from event_loops.findings(facts, SLUG)
