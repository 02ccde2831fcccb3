"""Small tasks that train in a moment."""

import torch

from lib.base.metric import METRICS
from lib.data.task import Split, Task

# Names that a column, a class or a file may have, and that must stay names wherever they are shown.
HOSTILE = ("<script>window.harmed = 1</script>", '"><img src=x onerror="window.harmed = 1">',
           "[x](javascript:window.harmed=1)", r"$\frac$ and $$x$$", "two\nlines", "\ue0000\ue001",
           "`code` *b* _u_ | 1. # -", "bell\x07 &amp; <b>", "![](http://example.org/x.png)")


def blobs(n: int = 300, seed: int = 0) -> Task:
    """Three overlapping classes in four dimensions."""
    draw = torch.Generator().manual_seed(seed)
    y = torch.arange(3).repeat(n)
    centres = 2 * torch.randn(3, 4, generator=draw)
    x = centres[y] + torch.randn(3 * n, 4, generator=draw)
    return _task("blobs", "accuracy", ("a", "b", "c"), x, y)


def line(n: int = 600) -> Task:
    """A noisy linear regression; targets are 10 y + 50."""
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(n, 4, generator=draw)
    y = x @ torch.tensor([0.8, -0.5, 0.2, 0.0]) + 0.2 * torch.randn(n, generator=draw)
    return _task("line", "r2", (), x, y, target_mean=50.0, target_std=10.0)


def sentences(n: int = 240, pieces: int = 12) -> Task:
    """Numbers of word pieces, 0 behind a sentence's end; which of two words comes is the class."""
    draw = torch.Generator().manual_seed(0)
    y = torch.arange(n) % 2
    x = torch.randint(100, 200, (n, pieces), generator=draw)
    x[torch.arange(n), torch.randint(pieces // 2, (n,), generator=draw)] = 300 + y
    ends = torch.randint(pieces // 2, pieces + 1, (n, 1), generator=draw)
    x = x.where(torch.arange(pieces) < ends, 0)
    parts = [Split(x[i::3], y[i::3]) for i in range(3)]
    return Task("sentences", "text", METRICS["accuracy"], ("a", "b"), (pieces,), 2, "made here",
                torch.zeros(1), torch.ones(1), *parts, hash="sentences")


def _task(name, metric, classes, x, y, **more) -> Task:
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(1))
    a, b = int(0.6 * len(y)), int(0.8 * len(y))
    parts = [Split(x[i], y[i]) for i in (order[:a], order[a:b], order[b:])]
    return Task(name, "tabular", METRICS[metric], classes, (4,), max(1, len(classes)), "made here",
                parts[0].x.mean(0), parts[0].x.std(0), *parts, hash=name,
                features=tuple("abcd"), **more)
