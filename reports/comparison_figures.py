"""The figures of a comparison: key with its unit, heading, meaning, and how it is read from one report.

One table serves the arithmetic, the writers and the documentation of the JSON.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from corelens.reports.report import Report

_SECONDS_PER_HOUR = 3600.0
_NO_TRIALS = "the program marked no trials"
_NONE_COMPLETE = "no trial completed"


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of a row. `read` gives the value for one report, or a text that says why there is none."""

    key: str
    heading: str
    unit: str
    meaning: str
    digits: int
    read: Callable[[Report], float | str] | None = None
    """None for figures that relate a run to the baseline."""
    scale: float = 1.0
    """Factor from the value, whose unit is in the key, to `unit`, in which writers show it."""

    @property
    def short(self) -> str:
        """The heading where a line has 80 columns; the unit stands under it."""
        return _SHORT.get(self.key, self.heading)


_SHORT = {
    "parallel_efficiency": "effi-\nciency",
    "busy_cores_mean": "busy\ncores",
    "utilisation": "utili-\nsation",
    "run_queue_wait_share": "queue\nwait",
    "threads_peak": "peak\nthreads",
    "processes_peak": "proc-\nesses",
    "worker_rss_bytes": "memory/\nworker",
    "recorder_own_cores": "recor-\nder",
    "startup_s": "start-\nup",
    "trials_per_hour_in_trials": "trials\n/h",
    "speed_up_in_trials": "speed-\nup",
    "trials_at_once": "at\nonce",
    "trial_processes": "proc-\nesses",
    "trial_threads": "threads",
    "core_s_per_trial": "CPU/\ntrial",
    "worker_pss_bytes": "PSS/\nworker",
}


def _complete(report: Report) -> float | str:
    return _NO_TRIALS if report.trials is None else float(report.trials.complete)


def _per_hour(report: Report) -> float | str:
    if report.trials is None or report.wall_s <= 0:
        return _NO_TRIALS if report.trials is None else "the recording has no length"
    return report.trials.complete * _SECONDS_PER_HOUR / report.wall_s


def _per_hour_in_trials(report: Report) -> float | str:
    if report.trials is None:
        return _NO_TRIALS
    return _NONE_COMPLETE if report.trials.per_hour is None else report.trials.per_hour


def _startup(report: Report) -> float | str:
    if report.trials is None or not report.trials.trials:
        return _NO_TRIALS
    return min(trial.begin_s for trial in report.trials.trials)


def _at_once(report: Report) -> float | str:
    if report.trials is None:
        return _NO_TRIALS
    return _NONE_COMPLETE if report.trials.overlap_mean is None else report.trials.overlap_mean


def _core_s_per_trial(report: Report) -> float | str:
    if report.trials is None:
        return _NO_TRIALS
    return report.cpu.used_core_s / report.trials.complete if report.trials.complete else _NONE_COMPLETE


def _trial_processes(report: Report) -> float | str:
    if report.trials is None or not report.trials.trials:
        return _NO_TRIALS
    return float(len({trial.pid for trial in report.trials.trials}))


def _trial_threads(report: Report) -> float | str:
    if report.trials is None or not report.trials.trials:
        return _NO_TRIALS
    return float(len({(trial.pid, trial.tid) for trial in report.trials.trials}))


def _wait_share(report: Report) -> float | str:
    share = report.cpu.run_queue_wait_share
    return "no thread ran while it was looked at" if share is None else share


def _worker_rss(report: Report) -> float | str:
    rss = report.memory.rss_bytes
    return "the memory was not seen" if rss is None else rss.median


def _worker_pss(report: Report) -> float | str:
    pss = report.memory.pss_bytes
    return "the proportional memory was not seen" if pss is None else pss.median


def _others(report: Report) -> float | str:
    cores = report.cpu.others_cores_mean
    return "the use of the cores by others was not seen" if cores is None else cores


FIGURES: dict[str, Figure] = {
    figure.key: figure
    for figure in (
        Figure("trials_complete", "trials", "", "Trials that completed.", 0, _complete),
        Figure(
            "wall_s",
            "wall",
            "s",
            "From the start of the program to its end, start-up included.",
            1,
            lambda report: report.wall_s,
        ),
        Figure(
            "trials_per_hour",
            "trials/h",
            "",
            "Complete trials per hour of wall time: what the user waits and pays for, start-up included.",
            0,
            _per_hour,
        ),
        Figure(
            "speed_up",
            "speed-up",
            "×",
            "Trials per hour over those of the baseline (median), or wall time of the baseline over wall time"
            " where neither marks trials.",
            2,
        ),
        Figure(
            "parallel_efficiency",
            "efficiency",
            "",
            "Speed-up per worker, E = S / p (Grama et al., Introduction to Parallel Computing, 2nd ed., 5.2)."
            " Not the parallel efficiency of POP, which relates useful time on cores to wall time.",
            2,
        ),
        Figure(
            "busy_cores_mean",
            "busy cores",
            "",
            "Core-seconds of the whole process tree per second of wall time.",
            2,
            lambda report: report.cpu.busy_cores_mean,
        ),
        Figure(
            "utilisation",
            "utilisation",
            "%",
            "Busy cores over the cores that the program may use (1 = all of them).",
            0,
            lambda report: report.cpu.utilisation,
            100.0,
        ),
        Figure(
            "run_queue_wait_share",
            "run-queue wait",
            "%",
            "Share of the threads' runnable time that they spent without a core: oversubscription.",
            1,
            _wait_share,
            100.0,
        ),
        Figure(
            "threads_peak",
            "peak threads",
            "",
            "Most threads at once in the whole process tree.",
            0,
            lambda report: float(report.threads.peak),
        ),
        Figure(
            "processes_peak",
            "processes",
            "",
            "Most processes at once, helpers such as resource trackers included.",
            0,
            lambda report: float(report.processes_peak),
        ),
        Figure(
            "worker_rss_bytes",
            "memory/worker",
            "MB",
            "Median over the workers of their largest resident set; the main process's where there are none.",
            0,
            _worker_rss,
            1e-6,
        ),
        Figure(
            "recorder_own_cores",
            "recorder",
            "cores",
            "CPU that recording itself took, per second.",
            3,
            lambda report: report.recorder.own_cores,
        ),
        Figure(
            "startup_s",
            "start-up",
            "s",
            "From the start of the program to the begin of its first trial.",
            1,
            _startup,
        ),
        Figure(
            "trials_per_hour_in_trials",
            "trials/h in the trials",
            "",
            "Complete trials per hour from the first begin to the last end of a trial, without start-up.",
            0,
            _per_hour_in_trials,
        ),
        Figure(
            "speed_up_in_trials",
            "speed-up in the trials",
            "×",
            "Trials per hour in the trials over those of the baseline (median): what long searches tend to.",
            2,
        ),
        Figure(
            "trials_at_once",
            "trials at once",
            "",
            "Mean number of trials in flight from the first begin to the last end.",
            2,
            _at_once,
        ),
        Figure(
            "trial_processes", "processes with trials", "", "Processes that ran trials.", 0, _trial_processes
        ),
        Figure("trial_threads", "threads with trials", "", "Threads that ran trials.", 0, _trial_threads),
        Figure(
            "core_s_per_trial",
            "CPU/trial",
            "core-s",
            "Core-seconds of the whole process tree per complete trial, start-up included.",
            2,
            _core_s_per_trial,
        ),
        Figure(
            "worker_pss_bytes",
            "PSS/worker",
            "MB",
            "Like worker_rss_bytes, shared pages divided among those who share them.",
            0,
            _worker_pss,
            1e-6,
        ),
        Figure(
            "others_cores_mean",
            "others",
            "cores",
            "Cores that programs outside the process tree used meanwhile.",
            2,
            _others,
        ),
    )
}


def measure(report: Report) -> tuple[dict[str, float | None], dict[str, str]]:
    """Read every figure that needs one report alone: values, and the reasons of those that are missing."""
    read = {key: figure.read(report) for key, figure in FIGURES.items() if figure.read is not None}
    values: dict[str, float | None] = {
        key: None if isinstance(value, str) else value for key, value in read.items()
    }
    return values, {key: value for key, value in read.items() if isinstance(value, str)}
