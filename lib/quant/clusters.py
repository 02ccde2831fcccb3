"""k-means in one dimension: the set of levels with the least square error, slice by slice.

On sorted values a cluster is an interval, so that the best clusters are the best cuts, which
dynamic programming finds exactly (Bruce 1965; in O(levels·n·log n) by divide and conquer, since
the best last cut of the first i values never moves back as i grows: Wu 1991).
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from lib.layers.stored import ascending

CHUNK = 2**20                   # values of a slice that are looked at: 4 MB, so memory stays small
# Values × levels of a slice up to which all cuts are compared: 2^18 take 0.1 s on one core. Beyond
# it Lloyd's algorithm remains 0.04 % above the least square error for 65 536 normal values and 16
# levels, but a fifth for 3072 values and 256 levels.
MOST_COMPARED = 2**18
LONGEST_A_STAGE = 7             # a comparison among few neighbours costs a seventh of a bounded one
MOST_TABLE = 2**22              # cuts that are remembered at a time: 16 MB


def kmeans_levels(s: Tensor, base: int) -> Tensor:
    """(slices, base) sorted levels of least square error for s (slices, n).

    Exact up to MOST_COMPARED values × levels, and where `base` values suffice; else by Lloyd's
    algorithm. Of slices beyond 2^20 values, 2^20 drawn ones and both ends are looked at.
    """
    if s.shape[1] > CHUNK:
        draw = torch.randint(s.shape[1], (CHUNK,), generator=torch.Generator().manual_seed(0))
        s = torch.cat([s[:, draw], s.amin(1, keepdim=True), s.amax(1, keepdim=True)], 1)
    ordered = ascending(s)                                                     # (slices, n)
    rank = pad(ordered.diff(dim=1).ne(0).cumsum(1, dtype=torch.int32), (1, 0))
    few = rank[:, -1:] < base                                    # slices with few distinct values
    exact = ordered[:, -1:].repeat(1, base)
    exact.scatter_(1, rank.clamp_(max=base - 1).long(), ordered)
    if few.all():
        return exact
    n = ordered.shape[1]
    if n * base > MOST_COMPARED:
        return torch.where(few, exact, lloyd_levels(ordered, base))
    rows = max(1, min(2**16, MOST_TABLE // base) // n)           # so much stays in the cache
    levels = torch.cat([best_levels(part, base) for part in ordered.split(rows)])
    return torch.where(few, exact, levels)


def _sums(ordered: Tensor) -> tuple[Tensor, Tensor]:
    """(slices, n + 1) sums of the first values' deviations from the middle one, which keep the
    digits that a mean far from 0 would cost; and that value, (slices, 1)."""
    middle = ordered[:, ordered.shape[1] // 2, None].double()
    return pad((ordered - middle).cumsum(1, dtype=torch.double), (1, 0)), middle


def best_levels(ordered: Tensor, base: int) -> Tensor:
    """(slices, base): the means between the best cuts of ordered (slices, n), n > base.

    The least Σ (x − mean)² has the largest Σ sum²/count over clusters: gain[i], of the first i
    values in j clusters, is the largest gain[m] of j − 1 plus (sum from m to i)²/(i − m).
    """
    sums, middle = _sums(ordered.cpu())
    total, (slices, n) = sums.numpy(), ordered.shape
    counts = np.arange(n + 1)
    gain = np.square(total) / np.maximum(counts, 1)
    cuts = np.zeros((base + 1, slices, n + 1), np.int32)        # the last cut before i
    for clusters in range(2, base + 1):
        ends = (n, n) if clusters == base else (clusters, n - base + clusters)
        gain = _one_more(gain, total, cuts, clusters, *ends)
    ends = np.empty((slices, base + 1), np.int64)
    ends[:, base] = n
    rows = np.arange(slices)
    for clusters in range(base, 1, -1):
        ends[:, clusters - 1] = cuts[clusters, rows, ends[:, clusters]]
    ends[:, 0] = 0
    found = torch.from_numpy(ends)
    mean = sums.gather(1, found).diff(dim=1).div_(found.diff(dim=1)).add_(middle)
    return ascending(mean.float()).to(ordered.device)


def _one_more(gain: np.ndarray, total: np.ndarray, cuts: np.ndarray, clusters: int, first: int,
              last: int) -> np.ndarray:
    """The gain (slices, n + 1) of one cluster more, for `first` to `last` values; cuts[clusters]
    is filled in.

    With a cluster more the last one is no longer, so that where all are short their few lengths
    are tried one by one. Else the cuts of every second, fourth, … number of values bound those
    between: then a whole stage costs about n comparisons a slice.
    """
    best, cut = np.full_like(gain, -np.inf), cuts[clusters]
    least = np.maximum(cuts[clusters - 1], clusters - 1)                # of the last cut
    longest = (np.arange(first, last + 1) - least[:, first:last + 1]).max(0)    # for each number
    stages = (last - first + 1).bit_length()
    if longest.mean() < LONGEST_A_STAGE * stages:
        _by_length(gain, total, best, cut, first, longest)
    else:
        row, step = np.arange(len(gain))[:, None], 1 << stages - 1
        while step:
            at = np.arange(first + step - 1, last + 1, 2 * step)
            before, after = np.maximum(at - step, 0), np.minimum(at + step, cut.shape[1] - 1)
            low = np.where(at - step >= first, cut[:, before], 0)
            low = np.maximum(low, least[:, at])
            high = np.where(at + step <= last, cut[:, after], at - 1)
            high = np.minimum(high, at - 1).clip(low)   # rounding may let a cut seem to move back
            best[:, at], cut[:, at] = _largest(gain, total, row, at, low, high)
            step //= 2
    cut[:, last + 1:] = cut[:, last, None]              # more values are never cut before
    return best


def _by_length(gain: np.ndarray, total: np.ndarray, best: np.ndarray, cut: np.ndarray,
               first: int, longest: np.ndarray) -> None:
    """Fill `best` and `cut` from the lengths 1 to `longest` of the last cluster, for each number of
    values from `first` on."""
    for length in range(1, int(longest.max()) + 1):
        numbers = np.flatnonzero(longest >= length) + first
        begin, end = numbers[0], numbers[-1] + 1
        here, before = slice(begin, end), slice(begin - length, end - length)
        value = total[:, here] - total[:, before]
        value *= value
        value /= length
        value += gain[:, before]
        longer = value >= best[:, here]
        np.copyto(best[:, here], value, where=longer)
        np.copyto(cut[:, here], np.arange(begin - length, end - length, dtype=cut.dtype),
                  where=longer)


def _largest(gain: np.ndarray, total: np.ndarray, row: np.ndarray, at: np.ndarray,
             low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The largest of gain[m] + (total[at] − total[m])²/(at − m) over low ≤ m ≤ high, and that m;
    low, high: (slices, number of `at`)."""
    shape, width = low.shape, gain.shape[1]
    lengths = (high - low + 1).ravel()
    starts = np.cumsum(lengths) - lengths
    m = np.arange(lengths.sum()) - np.repeat(starts - low.ravel(), lengths)
    offset = np.repeat(np.broadcast_to(row * width, shape).ravel(), lengths)
    end = np.repeat(np.broadcast_to(at, shape).ravel(), lengths)
    reach = np.repeat(total[:, at].ravel(), lengths) - total.ravel()[offset + m]
    values = gain.ravel()[offset + m] + reach * reach / (end - m)
    most = np.maximum.reduceat(values, starts)
    hits = np.flatnonzero(values == np.repeat(most, lengths))
    places = m[hits[np.searchsorted(hits, starts)]]             # the first of equals
    return most.reshape(shape), places.reshape(shape)


def lloyd_levels(ordered: Tensor, base: int) -> Tensor:
    """(slices, base) by Lloyd's algorithm (Lloyd 1982, Max 1960) on ordered (slices, n).

    A round costs a look-up per level in prefix sums. The start has equal shares of ∫ density^(1/3)
    (Panter and Dite, 1951), which the gaps between sorted values estimate as Σ gap^(2/3): the
    better the more levels, so that many need few rounds.
    """
    n = ordered.shape[1]
    share = ordered.diff(dim=1).pow_(2 / 3).cumsum(1, dtype=torch.double)      # (slices, n − 1)
    wanted = share[:, -1:] * torch.arange(1, base, device=ordered.device) / base
    cut = torch.searchsorted(share, wanted).add_(1).clamp_(max=n)  # the first value above each cut
    sums, middle = _sums(ordered)
    for _ in range(max(4, 800 // base)):
        ends = pad(pad(cut, (1, 0)), (0, 1), value=n)                          # (slices, base + 1)
        count = ends.diff(dim=1)
        mean = sums.gather(1, ends).diff(dim=1).div_(count.clamp(min=1)).add_(middle).float()
        # An empty cluster takes the value at its cut, and so one of its neighbours' members.
        spare = ordered.gather(1, ends[:, :-1].clamp(max=n - 1))
        levels = ascending(torch.where(count > 0, mean, spare))
        before, cut = cut, torch.searchsorted(ordered, middles(levels), right=True)
        if torch.equal(before, cut):
            break
    return levels


def middles(levels: Tensor) -> Tensor:
    """(slices, base − 1): where the nearest level changes."""
    return (levels[:, 1:].double() + levels[:, :-1]).div_(2).float()
