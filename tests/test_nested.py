"""Nested precision: one training, several widths, each the high bits of the widest."""

from functools import partial

import pytest
import torch
from torch import nn

from lib import measure, quant, train
from lib.quant import nested, nested_files, packing, qat
from lib.quant.layers import layers
from lib.train import losses
from tests.toys import blobs, line


def net(seed: int = 0, inputs: int = 4, outputs: int = 3) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(inputs, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 32),
                         nn.ReLU(), nn.Linear(32, outputs))


def trained(task=None, epochs: int = 6, model: nn.Module | None = None) -> nn.Module:
    task = task or blobs()
    model = model or net(outputs=task.outputs)
    train.fit(model, task, epochs=epochs, lr=0.01, batch_size=32, keep="last")
    ready = nested.nest(model)
    loss = nested.nested_loss(losses.of_task(task), classes=bool(task.classes))
    train.fit(ready, task, epochs=epochs, lr=0.01, batch_size=32, keep="last", loss=loss,
              groups=partial(qat.groups, lr=0.01, weight_decay=0.0, optimizer="adam"))
    return ready


def x() -> torch.Tensor:
    return torch.randn(64, 4, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("bits", nested.WIDTHS)
def test_each_width_answers_as_it_was_trained_and_comes_back_from_its_file(bits, tmp_path):
    ready = trained(epochs=2).eval()
    nested.set_width(ready, bits)
    done = nested.at_width(ready, bits)
    assert torch.allclose(done(x()), ready(x()), atol=1e-5)
    assert all(layer.compressed["weight"].base == 2 ** bits for layer in layers(done).values())
    packing.save(done, tmp_path / "done.safetensors")
    assert torch.equal(packing.load(net(), tmp_path / "done.safetensors").eval()(x()), done(x()))


def test_the_narrow_codes_are_the_high_bits_of_the_wide_ones():
    ready = trained(epochs=2)
    wide = layers(nested.at_width(ready, 8))
    for bits in (4, 2):
        part = 2 ** (8 - bits)
        for name, layer in layers(nested.at_width(ready, bits)).items():
            codes = wide[name].compressed["weight"].codes.float()
            wanted = (codes / part).round().clamp(0, 2 ** bits - 1)
            assert torch.equal(layer.compressed["weight"].codes.float(), wanted)


def test_two_bits_that_were_trained_for_beat_two_bits_cut_from_a_float_net():
    task = blobs()
    ready = trained(task, epochs=8)
    plain = net()
    train.fit(plain, task, epochs=8, lr=0.01, batch_size=32, keep="last")
    cut = nested.at_width(nested.nest(plain), 2)
    learned, wide = (nested.at_width(ready, bits) for bits in (2, 8))
    assert measure.measure(learned, task).loss < measure.measure(cut, task).loss
    assert measure.measure(wide, task).score >= measure.measure(learned, task).score - 5


def test_numbers_are_nested_by_their_distance():
    task = line()
    ready = trained(task, epochs=4)
    scores = [measure.measure(nested.at_width(ready, bits), task).score for bits in (8, 4)]
    assert min(scores) > 0.5


def test_each_width_has_norms_of_its_own_and_steps_that_learn():
    ready = trained(epochs=2)
    norm = next(m for m in ready.modules() if isinstance(m, nested.SwitchedNorm))
    means = [norm.norms[str(bits)].running_mean for bits in nested.WIDTHS]
    assert not torch.equal(means[0], means[2])
    steps = ready[0].parametrizations.weight[0].steps
    assert not torch.equal(steps["8"], steps["2"])


def test_what_cannot_be_nested_is_said():
    with pytest.raises(ValueError, match=r"widths=\(4, 2\): bits from 1 to 8, with 8"):
        nested.nest(net(), (4, 2))
    with pytest.raises(ValueError, match="0 is quantized already"):
        nested.nest(quant.ptq(net(), "affine"))
    with pytest.raises(ValueError, match="ReLU has no Linear"):
        nested.nest(nn.ReLU())


def test_one_file_holds_all_widths_and_the_codes_once(tmp_path):
    ready = trained(epochs=2).eval()
    nets = {bits: nested.at_width(ready, bits) for bits in nested.WIDTHS}
    path = tmp_path / "nested.safetensors"
    size = nested_files.save(nets, path)
    for bits, wanted in nets.items():
        found = nested_files.load(net(seed=9), path, bits)
        assert torch.equal(found.eval()(x()), wanted(x())), bits
        of_layer = layers(found)["0"].compressed["weight"], layers(wanted)["0"].compressed["weight"]
        assert torch.equal(of_layer[0].codes, of_layer[1].codes)
        assert of_layer[0].size_bytes == of_layer[1].size_bytes
    assert torch.equal(packing.load(net(), path).eval()(x()), nets[8](x()))
    # Beyond the widest net: a float32 step an output, and two widths' norms (three of four floats,
    # weight, bias, mean, variance, of 32 channels may have moved).
    alone = packing.save(nets[8], tmp_path / "8.safetensors")
    steps, norms = 4 * (32 + 32 + 3), 4 * 4 * 32
    assert alone + 2 * steps < size <= alone + 2 * (steps + norms)
    others = [packing.save(nets[bits], tmp_path / f"{bits}.safetensors") for bits in (4, 2)]
    assert size < alone + sum(others)


def test_a_file_of_widths_says_what_it_lacks(tmp_path):
    ready = trained(epochs=1).eval()
    nets = {bits: nested.at_width(ready, bits) for bits in (8, 4)}
    path = tmp_path / "nested.safetensors"
    nested_files.save(nets, path)
    with pytest.raises(ValueError, match="no width of 2 bits; it has: 8, 4"):
        nested_files.load(net(), path, 2)
    other = nested.at_width(trained(epochs=2).eval(), 4)
    with pytest.raises(ValueError, match="of 0 at 4 bits are not the high bits of those at 8"):
        nested_files.save({8: nets[8], 4: other}, path)
    with pytest.raises(ValueError, match="the net at 4 bits has other layers than the widest"):
        nested_files.save({8: nets[8], 4: net()}, path)
