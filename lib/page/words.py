"""Numbers and verdicts for a reader, with as many digits as the interval supports."""

import math
from collections.abc import Iterable

MOST_DECIMALS = 4
NONE = "–"                  # where there is no number


def decimals(low: float, high: float, usual: int = 2) -> int:
    """Decimals that an interval supports: ±0.46 two, ±0.5 one, ±5 none; `usual` without one."""
    half = abs(high - low) / 2
    if not math.isfinite(half) or half == 0:
        return usual
    return min(MOST_DECIMALS, max(0, math.ceil(round(math.log10(5 / half), 9))))


def fixed(value: float, digits: int = 2) -> str:
    """A number with so many decimals, thousands separated, with a minus sign: "−1,234.6"; NONE for
    NaN."""
    if value is None or value != value:
        return NONE
    return f"{value:z,.{digits}f}".replace("-", "−")


def number(value: float, low: float = math.nan, high: float = math.nan, digits: int = 2) -> str:
    """A value with the digits that its interval supports; with `digits` decimals without one."""
    return fixed(value, decimals(low, high, digits))


def ci(value: float, low: float, high: float, unit: str = "pp") -> str:
    """A value with its interval in a sentence: "0.12 pp (95 % CI −0.30 to 0.63)"."""
    said, ends = f"{number(value, low, high)} {unit}".rstrip(), _ends(low, high)
    return f"{said} (95 % CI {' to '.join(ends)})" if ends else said


def cell(value: float, low: float, high: float, least: int = 0) -> str:
    """A value with its interval in a table: "0.12 [−0.30, 0.63]"; least: decimals at least."""
    digits = max(least, decimals(low, high))
    said, ends = fixed(value, digits), [fixed(end, digits) for end in (low, high) if end == end]
    return f"{said} [{', '.join(ends)}]" if ends else said


def _ends(low: float, high: float) -> list[str]:
    known = low == low and high == high
    return [fixed(end, decimals(low, high)) for end in (low, high)] if known else []


def times(ratio: float) -> str:
    """A ratio in two or three significant digits: "7.2×", "0.55×", "258×"."""
    digits = 0 if ratio >= 9.95 else 1 if ratio >= 0.995 else 2
    return NONE if ratio != ratio else f"{fixed(ratio, digits)}×"


def count(number: int, one: str, several: str = "") -> str:
    """"1 network", "1,234 networks"; several: the plural, where it is not that with an s."""
    return f"{number:,} {one if number == 1 else several or one + 's'}"


def listed(names: Iterable[object]) -> str:
    """Names in a sentence: "HQQ, GPTQ and BRECQ"."""
    words = [str(name) for name in names]
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
