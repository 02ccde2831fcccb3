"""A model's file: as many bytes as `walk.stored` states, and a header that says how to read them.

A safetensors file of one uint8 tensor, read without pickle. The header has a line for each tensor
(class, method, tables: about 100 bytes), the model's build arguments, the modules that compressing
added (those with build arguments of their own) and the norms that it folded away.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lib.layers.entries import DTYPES, Entry, decode, encode, parse
from lib.layers.recomputed import bare_copy, remember_pruned
from lib.layers.walk import modules, stored
from lib.layers.widths import narrow, widths

FORMAT = "greenbits model 1"
Rebuild = Mapping[str, Callable[[nn.Module, str, dict], None]]


def save(model: nn.Module, path: str | Path) -> int:
    """Write a model as it is stored and return its payload: Σ size_bytes of `walk.stored`.

    ValueError for a tensor that is compressed to something else than a Quantized.
    """
    header, payload = described(model)
    save_file({"payload": payload}, path,
              {"format": FORMAT, "model": json.dumps(header, separators=(",", ":"))})
    return payload.numel()


def described(model: nn.Module) -> tuple[dict, Tensor]:
    """A model as it is stored: what says how to read it, JSON-able, and its bytes, uint8."""
    tensors = stored(model)
    lines, chunks = [], [torch.zeros(0, dtype=torch.uint8)]
    for tensor in tensors:
        entry, written = encode(tensor)
        lines.append(entry.as_list())
        chunks += written
    inner = {name: module for name, module in modules(model) if name}
    header = {
        "tensors": lines, "build": getattr(model, "build_arguments", None),
        "added": [[name, type(module).__name__, module.build_arguments]
                  for name, module in inner.items() if hasattr(module, "build_arguments")],
        "identities": [name for name, m in inner.items() if isinstance(m, nn.Identity)],
        "narrowed": widths(model), "pruned": [t.name for t in tensors if t.pruned]}
    return header, torch.cat(chunks)


def build_arguments(path: str | Path) -> dict | None:
    """The build arguments of the model in the file, for `models.build(task=task, **arguments)`;
    None for a model that had none."""
    built = _read(path)[0]["build"]
    if built is None:
        return None
    return {key: tuple(value) if isinstance(value, list) else value for key, value in built.items()}


def load(model: nn.Module, path: str | Path, rebuild: Rebuild | None = None) -> nn.Module:
    """A copy of `model`, which must be built as the saved one was, with what the file holds.

    rebuild: for the kinds of modules that compressing adds, a function (model, name, arguments)
    that adds one. What was folded in the file is folded in the copy. ValueError for a file of
    another model, a damaged one, or one that `save` did not write.
    """
    return restored(model, *_read(path), rebuild, path)


def restored(model: nn.Module, header: Mapping, payload: Tensor, rebuild: Rebuild | None = None,
             path: str | Path = "what was stored") -> nn.Module:
    """A copy of `model`, built as the described one was, with what `described` gave; path: what an
    error calls it. ValueError: as of `load`."""
    model = bare_copy(model)
    for module in model.modules():
        for name in ("compressed", "pruned"):
            vars(module).pop(name, None)
    try:
        _fold(model, header["identities"])
        narrow(model, header.get("narrowed", {}))       # files of before have none
        for name, kind, arguments in header["added"]:
            if kind not in (rebuild or {}):
                raise ValueError(f"nothing is given to rebuild the {kind} {name!r}")
            rebuild[kind](model, name, arguments)
        entries = [parse(line) for line in header["tensors"]]
        masked = [entry.name for entry in entries if entry.form != "dense"]
        pruned = {str(name) for name in header.get("pruned", masked)}
        sizes = [sum(entry.part_bytes) for entry in entries]
        if sum(sizes) != payload.numel():
            raise ValueError(f"{payload.numel()} bytes are there, {sum(sizes)} are described")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged or of another model: {error}") from error
    places = _places(model, entries, path)
    for entry, data in zip(entries, payload.split(sizes), strict=True):
        try:
            value, q = decode(entry, data)
        except (IndexError, OverflowError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is damaged at {entry.name}: {error}") from error
        for module, key in places[entry.name]:
            _put(model.get_submodule(module), key, value, q,
                 pruned=entry.name in pruned)
    return model


def _read(path: str | Path) -> tuple[dict, Tensor]:
    """Header and payload. safetensors itself bounds its header by 100 MB and the file's length."""
    try:
        with safe_open(path, "pt") as file:
            about = file.metadata() or {}
            if about.get("format") != FORMAT:
                raise ValueError(f"{path} is no file of a compressed model; write one with save")
            payload, header = file.get_tensor("payload"), json.loads(about["model"])
    except FileNotFoundError:
        raise
    except (SafetensorError, KeyError, OSError, ValueError, RecursionError) as error:
        if str(error).startswith(str(path)):
            raise
        raise ValueError(f"{path} is damaged or no safetensors file: {error}") from error
    kinds = {"tensors": list, "added": list, "identities": list, "build": dict | None}
    if payload.dtype != torch.uint8 or payload.dim() != 1 or not isinstance(header, dict) or any(
            not isinstance(header.get(key), kind) for key, kind in kinds.items()):
        raise ValueError(f"{path} is damaged: its header lacks one of {', '.join(kinds)}")
    return header, payload


def _fold(model: nn.Module, identities: list[str]) -> None:
    """Let the norms that the file's model had folded be identities here too."""
    for name in identities:
        module = model.get_submodule(name)
        if isinstance(module, _BatchNorm):
            owner, _, key = name.rpartition(".")
            setattr(model.get_submodule(owner), key, nn.Identity())
        elif not isinstance(module, nn.Identity):
            raise ValueError(f"{name} is an identity there and a {type(module).__name__} here")


def _places(model: nn.Module, entries: list[Entry], path) -> dict[str, tuple[tuple[str, str], ...]]:
    """Entry's name -> where its tensor belongs in `model`. ValueError if names or shapes differ."""
    here = {tensor.name: tensor for tensor in stored(model)}
    places = {name: tensor.places for name, tensor in here.items()}
    wrong = sorted(set(here) - {entry.name for entry in entries})
    for entry in entries:
        module, _, key = entry.name.rpartition(".")
        floats = DTYPES[entry.dtype].is_floating_point
        if entry.name in here:
            value = here[entry.name].value
            fits = value.shape == entry.shape and value.is_floating_point() == floats
            wrong += [] if fits else [entry.name]
        elif _is_vacant(model, module, key) and entry.form == "dense" and floats:
            places[entry.name] = ((module, key),)       # a bias from folding, an input's scale
        else:
            wrong.append(entry.name)
    if wrong or len(places) != len(entries):
        raise ValueError(f"{path} was saved from another model: {', '.join(wrong[:9])} are in one "
                         "and not the other, or of another shape or kind; build it as it was")
    return places


def _is_vacant(model: nn.Module, module: str, key: str) -> bool:
    """Whether the module has a place of this name where nothing is yet."""
    try:
        owner = model.get_submodule(module)
    except AttributeError:
        return False
    own = {**owner._parameters, **owner._buffers}
    return key in own and own[key] is None


def _put(owner: nn.Module, key: str, value: Tensor, q, pruned: bool) -> None:
    present = getattr(owner, key)
    if present is not None:
        present.data = value.to(present.device)
    elif key in owner._buffers:
        setattr(owner, key, value)
    else:
        setattr(owner, key, nn.Parameter(value))
    if q is not None:
        owner.compressed = getattr(owner, "compressed", {}) | {key: q}
    if pruned:
        remember_pruned(owner, key)
