"""Choosing among "task/model" pairs, as parameters of notebooks list them."""

from collections.abc import Iterable

from lib.base.pairs import parsed


def of_kind(pairs: Iterable[str], kind: str) -> list[str]:
    """Those pairs whose task is tabular, image or series."""
    from lib.data import catalogue
    return [pair for pair in pairs if catalogue.kind(parsed(pair)[0]) == kind]


def nets_of(pairs: Iterable[str]) -> list[str]:
    """The nets of some pairs as "task/model", whatever else the pairs say, each once."""
    return list(dict.fromkeys("/".join(parsed(pair)[:2]) for pair in pairs))


def with_classes(pairs: Iterable[str]) -> list[str]:
    """Those pairs whose task is to tell classes apart, not to predict a number."""
    from lib import data
    return [pair for pair in pairs if data.load(parsed(pair)[0]).classes]


def on_tasks(pairs: Iterable[str], others: Iterable[str]) -> list[str]:
    """Those pairs whose task one of the `others` has too."""
    wanted = {parsed(pair)[0] for pair in others}
    return [pair for pair in pairs if parsed(pair)[0] in wanted]
