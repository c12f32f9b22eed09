"""Times as a person reads them."""

from __future__ import annotations


def format_seconds(seconds: float) -> str:
    """Return a time as hours, minutes and seconds, with the days before them where there are any.

    Args:
        seconds: The time in seconds; what is below 0 counts as 0.
    """
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"{f'{days} d ' if days else ''}{hours:02d}:{minutes:02d}:{rest:02d}"


def format_roughly(seconds: float) -> str:
    """Return a time in the largest unit of which it has at least two, as an estimate deserves."""
    for unit, name in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{max(1.0, seconds):.0f} second{'s' * (round(seconds) > 1)}"
