"""How much a model's answer depends on what each of its parts puts out."""

import torch
from torch import Tensor, nn

from lib.layers.inputs import answer, pieces, run


@torch.enable_grad()
def importance(model: nn.Module, names: list[str], calibration,
               generator: torch.Generator | None, draws: int = 4) -> dict[str, Tensor]:
    """How much the model's answer depends on each value that the named units put out, (n, ...).

    The mean of squared gradients of r·outputs, as in BRECQ's Fisher weights: r = onehot(y) − p with
    y drawn from the model's own softmax p where outputs are (n, classes), otherwise random signs.
    Each example's sum enters by its root, and half of the weight is spread evenly: few examples
    near the border of two classes would have it all. The mean is 1; no labels are used.
    """
    found: dict[str, list[Tensor]] = {name: [] for name in names}
    for piece in pieces(calibration):
        outs: dict[str, Tensor] = {}

        def keep(_, args: tuple, y: Tensor, name: str, outs=outs) -> Tensor:
            outs[name] = y.requires_grad_()
            return y.clone()                                   # a leaf may not be changed in place

        hooks = [model.get_submodule(n).register_forward_hook(
            lambda m, a, y, n=n, keep=keep: keep(m, a, y, n)) for n in names]
        z = answer(run(model, piece))
        for hook in hooks:
            hook.remove()
        if not z.isfinite().all():
            raise ValueError("the model's outputs on the calibration inputs are NaN or infinite; "
                             "look at these inputs and at the weights")
        squares = {n: torch.zeros_like(y) for n, y in outs.items()}
        for _ in range(draws):
            slopes = torch.autograd.grad(z, list(outs.values()), _direction(z, generator),
                                         retain_graph=True)
            for n, slope in zip(outs, slopes, strict=True):
                squares[n] += slope.square()
        for n, square in squares.items():
            found[n].append(square)
    return {n: _balanced(torch.cat(found.pop(n))) for n in names}


def _direction(z: Tensor, generator: torch.Generator | None) -> Tensor:
    """One draw of r, of z's shape."""
    if z.dim() == 2 and z.shape[1] > 1:
        p = z.detach().softmax(1)
        return -p.scatter_add(1, torch.multinomial(p, 1, generator=generator),
                              -torch.ones(len(p), 1))
    return torch.randint(0, 2, z.shape, generator=generator) * 2.0 - 1


def _balanced(square: Tensor) -> Tensor:
    """Squared gradients (n, ...) as weights of mean 1: by the root of each example's sum, and half
    of them even."""
    each = square.flatten(1).mean(1).clamp(min=1e-30).view(-1, *[1] * (square.dim() - 1))
    square = square / each.sqrt()
    square = square / square.mean().clamp(min=1e-30)
    return (0.5 + 0.5 * square.clamp(max=20)).half()
