"""What a run rests on, and the seconds that it took, whenever that was."""

from datetime import datetime

from lib.base import paths
from lib.study import cache


def rested_on() -> list[dict]:
    """Each entry of the cache that this process used, and each that one of these rests on, once:
    step, file, whether it was cached, and the seconds of its own, without those in which an entry
    that it rests on was built."""
    steps = {step["file"]: step for step in reversed(cache.used)}
    ahead = list(steps)
    for name in ahead:                              # grows by what these rest on
        if (head := _header(name)) is None:
            continue
        parents = {parent: before for parent in head["parents"] if (before := _header(parent))}
        own = head["seconds"] - sum(_together(head, before) for before in parents.values())
        ahead += [parent for parent in parents if parent not in steps]
        for parent in parents:
            steps.setdefault(parent, {"step": "", "file": parent, "seconds": 0.0, "cached": True})
        steps[name] = steps[name] | {"step": head["step"], "seconds": round(max(own, 0.0), 2)}
    return list(reversed(steps.values()))


def _header(name: str) -> dict | None:
    """What an entry says of itself; None of a cluster's, which keeps it, or of a damaged one: that
    must cost no row."""
    try:
        return cache.header_of(paths.CACHE / name)
    except cache.UNREADABLE:
        return None


def _together(one: dict, other: dict) -> float:
    """Seconds in which two entries, of which these are the headers, were being built at once."""
    ends = [datetime.fromisoformat(head["made"]).timestamp() for head in (one, other)]
    return max(min(ends) - max(ends[0] - one["seconds"], ends[1] - other["seconds"]), 0.0)
