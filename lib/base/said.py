"""Numbers as a person says them."""


def duration(seconds: float) -> str:
    """Seconds in words: `12 s`, `3 min 20 s`, `2 h 05 min`."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def size(count: float) -> str:
    """Bytes in words: `12.3 MB` (10⁶)."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def count(number: int, one: str, several: str = "") -> str:
    """`1 thread`, `2 threads`."""
    return f"{number} {one}" if number == 1 else f"{number} {several or one + 's'}"


def written(value: float) -> str:
    """A number in three significant digits or more, written out.

    >>> [written(value) for value in (0.0842, 5.9412, 999.7, 25703.2)]
    ['0.0842', '5.94', '1,000', '25,703']
    """
    return f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:.3g}"


def bounded(words: str, most: int = 400) -> str:
    """One line of at most so many characters, whatever the words are.

    >>> bounded("two\\nlines " + "x" * 9, 14)
    'two lines xxx…'
    """
    line = " ".join(words.split())
    return line if len(line) <= most else f"{line[:most - 1]}…"
