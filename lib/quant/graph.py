"""A model as a graph of calls: who reads what, and which layers are used in one place alone."""

from collections import Counter

from torch import Tensor, fx, nn

from lib.quant.layers import users


class Folded(nn.Identity):
    """What is left of a BatchNorm1d that a Linear took over: an identity.

    Of an input (n, channels, features) the norm scaled the channels, but the Linear the features.
    They can only be told apart when an input comes, so that such a one is refused here.
    """

    build_arguments: dict = {}

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() > 2:
            raise ValueError(f"a batch-norm over the {x.shape[1]} channels of {tuple(x.shape)} was "
                             "folded into a Linear, which has another axis; leave out the folding")
        return x


def rebuild(model: nn.Module, name: str, arguments: dict) -> None:
    """Put the identity where a file says that a norm was folded into a Linear."""
    owner, _, key = name.rpartition(".")
    if not isinstance(model.get_submodule(name), nn.Identity) or arguments:
        raise ValueError(f"{name} is no norm that was folded")
    setattr(model.get_submodule(owner), key, Folded())


class _Tracer(fx.Tracer):
    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return isinstance(module, Folded) or super().is_leaf_module(module, name)


def chain(model: nn.Module) -> tuple[fx.Graph, dict[str, nn.Module]]:
    """The model's computation as a graph, and its modules by name."""
    try:
        graph = _Tracer().trace(model)
    except Exception as error:
        raise ValueError(f"{type(model).__name__} cannot be traced ({error}); its forward must not "
                         "branch on values or shapes") from error
    return graph, dict(model.named_modules())


def only_reader(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None


def once(model: nn.Module, graph: fx.Graph) -> set[str]:
    """The modules that are called once, and whose parameters nothing else uses."""
    called = Counter(n.target for n in graph.nodes if n.op == "call_module")
    read = {n.target.rpartition(".")[0] for n in graph.nodes if n.op == "get_attr"}
    owners, alone = users(model), set()
    for name in called.keys() - read:
        own = model.get_submodule(name).parameters(recurse=False)
        if called[name] == 1 and all(owners[id(parameter)] == 1 for parameter in own):
            alone.add(name)
    return alone


def argument(node: fx.Node) -> object:
    return node.args[0] if node.args else node.kwargs.get("input")
