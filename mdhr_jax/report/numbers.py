"""Numbers as text: percent with one place, as the paper prints them."""

from mdhr_jax.report.evidence import Interval, Number

UNDEFINED = "–"
"""Stands where there is no number."""

MARK = " *"
"""Behind a difference whose interval excludes zero."""


def percent(share: float | None) -> str:
    """A share in percent."""
    return UNDEFINED if share is None else _signs(f"{100 * share:.1f}")


def signed(share: float) -> str:
    """A difference of shares in percent, with its sign."""
    return _signs(f"{100 * share:+.1f}")


def between(interval: Interval) -> str:
    """An interval of shares in percent."""
    return f"{percent(interval[0])} to {percent(interval[1])}"


def with_interval(number: Number | None) -> str:
    """A number, and its interval where it has one."""
    if number is None or number.value is None:
        return UNDEFINED
    text = percent(number.value)
    return text if number.interval is None else f"{text} ({between(number.interval)})"


def difference(number: Number | None) -> str:
    """A difference, its interval where it has one, and the mark where that excludes zero."""
    if number is None or number.value is None:
        return UNDEFINED
    text = signed(number.value)
    if number.interval is None:
        return text
    lower, upper = number.interval
    return f"{text} ({signed(lower)} to {signed(upper)})" + (MARK if lower > 0 or upper < 0 else "")


def minus(number: Number | None, percent_of_paper: float | None) -> Number | None:
    """A number minus one that the paper prints, which is taken as exact."""
    if number is None or number.value is None or percent_of_paper is None:
        return None
    printed = percent_of_paper / 100
    within = None if number.interval is None else (number.interval[0] - printed, number.interval[1] - printed)
    return Number(number.value - printed, within, number.runs)


def _signs(text: str) -> str:
    """True minus signs, and none before a zero."""
    if text.lstrip("+-") == "0.0":
        return "0.0"
    return text.replace("-", "−")
