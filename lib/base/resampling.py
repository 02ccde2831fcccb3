"""95 % intervals over examples: of a share, of a difference of two shares, of a mean, of a ratio.

A percentile bootstrap of skewed values is too short on the side of their tail: over 100 to 400
squared errors of exponential or lognormal kind it held the truth in 88 to 92 % of trials. So an end
is the further one of two: the percentile's, and that of a symmetric studentized bootstrap, whose
draws are judged by their own standard error (Hall 1988). Together they held it in 94 to 97 %.
Draws are always the same.
"""

import numpy as np

DRAWS = 1000            # their 95 % limits then move by about 2 % of their distance
Z = 1.959964            # of the normal distribution, two-sided
HELD = 96               # percent of the studentized draws: 95 hold the truth a little less often
MOST = 4.0              # standard errors: a draw without any of the tail says nothing of its length


def of_share(right: int, n: int) -> tuple[float, float]:
    """Wilson's interval of a share (1927): it has a length at 0 of n and at n of n, too."""
    share = right / n
    center = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z * np.sqrt(share * (1 - share) / n + (Z / (2 * n)) ** 2) / (1 + Z**2 / n)
    return float(min(max(center - half, 0.0), share)), float(max(min(center + half, 1.0), share))


def of_difference(more: int, less: int, n: int) -> tuple[float, float]:
    """The difference (more - less) / n of two shares of the same n examples, of which one side
    alone has `more`, the other alone `less`: by Agresti and Min (2005), with half an example more
    of each of the four outcomes, so that no difference among n is not taken for certain."""
    one, other, n = more + 0.5, less + 0.5, n + 2
    mean = (one - other) / n
    half = Z * np.sqrt(((one + other) / n - mean**2) / n)
    return float(mean - half), float(mean + half)


def of_mean(values: np.ndarray) -> tuple[float, float]:
    """The mean of values per example, (n,)."""
    values = np.asarray(values, float)
    draws = np.array([_moments(values[drawn]) for drawn in _drawn(len(values))])    # (draws, 2)
    means, errors = draws.T
    mean, error = _moments(values)
    reach = _reach((means - mean) / np.maximum(errors, np.finfo(float).tiny))
    low, high = np.percentile(means, [2.5, 97.5])
    return float(min(low, mean - reach * error)), float(max(high, mean + reach * error))


def of_ratio(sums: np.ndarray) -> tuple[float, float]:
    """The ratio Σa / Σb of what each example adds, (n, 2), none negative; studentized by its
    logarithm."""
    a, b = np.asarray(sums, float).T
    if not a.any() or not b.any():
        return (0.0, 0.0) if b.any() else (float("nan"), float("nan"))
    scaled = np.stack([a / a.mean(), b / b.mean()])                 # the ratio is then 1
    moments = np.stack([*scaled, *scaled**2, scaled[0] * scaled[1]], 1)             # (n, 5)
    n = len(moments)
    drawn = np.stack([np.bincount(places, minlength=n) @ moments for places in _drawn(n)]) / n
    ratios, errors = _ratio(drawn, n)
    _, error = _ratio(moments.mean(0), n)
    with np.errstate(divide="ignore", invalid="ignore"):
        reach = _reach(np.log(ratios) / np.maximum(errors, np.finfo(float).tiny))
    low, high = np.percentile(ratios, [2.5, 97.5])
    whole = a.mean() / b.mean()
    return (float(whole * min(low, np.exp(-reach * error))),
            float(whole * max(high, np.exp(reach * error))))


def _drawn(n: int):
    """Which examples each draw holds."""
    generator = np.random.default_rng(0)
    for _ in range(DRAWS):
        yield generator.integers(0, n, n, dtype=np.int32)


def _moments(values: np.ndarray) -> tuple[float, float]:
    """Mean, and its standard error."""
    return values.mean(), values.std() / np.sqrt(max(len(values) - 1, 1))


def _ratio(moments: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Σa / Σb and the standard error of its logarithm, from the means of a, b, a², b², ab."""
    a, b, aa, bb, ab = np.moveaxis(moments, -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = aa / a**2 + bb / b**2 - 2 * ab / (a * b)           # of a / ā - b / b̄
        return a / b, np.sqrt(np.maximum(spread, 0) / max(n - 1, 1))


def _reach(distances: np.ndarray) -> float:
    """How many standard errors hold HELD of the draws, at least a normal's, at most MOST."""
    far = np.nan_to_num(np.abs(distances), nan=MOST, posinf=MOST)
    return float(np.clip(np.percentile(far, HELD), Z, MOST))
