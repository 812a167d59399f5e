"""The recording cannot tell: too little of the program was seen to name a cause or to call it healthy.

What it sees: readings that every verdict rests on are missing. The recording is shorter than the program's
start-up, the recorder was not allowed to look (no ptrace, a container without the target's /proc, another user's
process), or the threads did next to nothing while it ran.

Why it costs: it may or may not. Saying *healthy* here would be a guess, and so would be any cause.

What to do: record what is missing. The report says under the verdict which reading would decide, and this tells
what can be seen from here and how to see the rest:

    corelens doctor

A program that takes minutes is recorded for a minute of its steady work, attached:

    corelens record -p PID --duration 60

When it is wrong: when the program really is that short or that idle. Then there is nothing to find, and a longer
recording will say so.
"""

SLUG = "insufficient-evidence"
