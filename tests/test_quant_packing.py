"""Packing: codes to bytes and back, and a model's file that has the size stated."""

import json
import struct

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lib import quant
from lib.layers.stored import code_bytes
from lib.quant import packing


@settings(max_examples=150, deadline=None)
@given(base=st.one_of(st.integers(2, 70_000), st.sampled_from([2**b for b in range(1, 17)])),
       count=st.integers(0, 70), seed=st.integers(0, 99))
def test_unpack_inverts_pack(base, count, seed):
    codes = torch.randint(base, (count,), generator=torch.Generator().manual_seed(seed))
    packed = packing.pack(codes, base)
    assert packed.dtype == torch.uint8 and packed.numel() == code_bytes(count, base)
    assert torch.equal(packing.unpack(packed, count, base).long(), codes)


@pytest.mark.parametrize("bits", range(1, 17))
def test_whole_bits_take_exactly_their_bits(bits):
    for count in (8, 800, packing.CHUNK + 8):
        assert packing.pack(torch.zeros(count, dtype=torch.int32), 2**bits).numel() \
            == count * bits // 8


def test_bits_cross_chunks():
    codes = torch.randint(2**11, (2 * packing.CHUNK + 5,))
    assert torch.equal(packing.unpack(packing.pack(codes, 2**11), len(codes), 2**11).long(), codes)


def test_ternary_codes_go_five_to_a_byte_and_the_layout_is_little_endian():
    assert packing.pack(torch.tensor([1, 2, 0, 1, 2, 2]), 3).tolist() == [1 + 6 + 27 + 162, 2]
    assert packing.pack(torch.tensor([1, 2, 3, 15]), 16).tolist() == [1 + 2 * 16, 3 + 15 * 16]


def test_codes_out_of_range_are_refused():
    for codes in ([4], [-1]):
        with pytest.raises(ValueError, match="from 0 to 3"):
            packing.pack(torch.tensor(codes), 4)


def test_the_entropy_bound():
    even = quant.quantize(torch.linspace(-1, 1, 4096)[None], "nearest_uniform", bits=4)
    assert packing.entropy_bound(even) == pytest.approx(even.size_bytes, rel=0.01)
    sparse = torch.zeros(1, 8000)
    sparse[0, :80] = 1
    q = quant.quantize(sparse, "mid_tread", bits=4)
    assert packing.entropy_bound(q) == pytest.approx(8000 * 0.0808 / 8 + 5, abs=2)   # H(1 %)


def net() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
                          nn.Flatten(), nn.Linear(8 * 64, 3))
    nn.init.normal_(model[1].weight)
    nn.init.normal_(model[1].bias)
    return model.eval()


def stated(model: nn.Module) -> int:
    """As the study counts: packed weights, and 4 bytes for all else."""
    size = 0
    for module in model.modules():
        packed = getattr(module, "compressed", {})
        size += sum(q.size_bytes for q in packed.values())
        own = {**module._parameters, **module._buffers}
        size += sum(4 * t.numel() for name, t in own.items()
                    if t is not None and name not in packed and t.is_floating_point())
    return size


@pytest.mark.parametrize("method, options", [
    ("mid_rise", {}), ("mid_tread", {"group": 7}), ("kmeans", {}), ("stochastic_normal", {}),
    ("affine", {"levels": 3}), ("hqq", {}), ("multipoint", {}), ("nearest_histogram", {"bits": 9}),
    ("edge_mid_rise", {}), ("edge_nearest_normal", {}), ("edge_multipoint", {})])
def test_a_saved_model_has_the_stated_size_and_comes_back(method, options, tmp_path):
    small = quant.ptq(net(), method, **{"bits": 4} | options)
    path = tmp_path / "small.safetensors"
    payload = packing.save(small, path)
    assert payload == stated(small)
    header = 8 + struct.unpack("<Q", path.read_bytes()[:8])[0]
    assert path.stat().st_size == header + payload
    described = json.loads(path.read_bytes()[8:header])["__metadata__"]
    assert header < 300 + sum(map(len, described.values())) * 1.3
    back, x = packing.load(net(), path), torch.randn(2, 3, 8, 8)
    assert torch.equal(back(x), small(x))
    for a, b in zip(small.modules(), back.modules(), strict=True):
        for key, q in getattr(a, "compressed", {}).items():
            assert torch.equal(b.compressed[key].codes, q.codes)
            assert b.compressed[key].size_bytes == q.size_bytes


def test_another_model_or_other_objects_are_refused(tmp_path):
    path = tmp_path / "small.safetensors"
    packing.save(quant.ptq(net(), "mid_tread", bits=4), path)
    with pytest.raises(ValueError, match="another model"):
        packing.load(nn.Sequential(nn.Linear(2, 2)), path)
    odd = net()
    odd[0].compressed = {"weight": object()}
    with pytest.raises(ValueError, match="0.weight"):
        packing.save(odd, path)
