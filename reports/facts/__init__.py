"""All arithmetic over a recording: values in, values out."""

from corelens.reports.facts.summary import summarise

__all__ = ["summarise"]
