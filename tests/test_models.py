"""The nets: sizes as published, options that change something, inputs normalised inside."""

import os
import subprocess
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lib import energy, models
from lib.base import names
from lib.models.dropout import Dropout
from lib.models.transformer import Attention
from tests.toys import blobs, line


def like(inputs, outputs, mean=0.0, std=1.0):
    kind = {1: "tabular", 2: "series", 3: "image"}[len(inputs)]
    channels = inputs[0]
    return SimpleNamespace(inputs=inputs, outputs=outputs, kind=kind,
                           mean=torch.full((channels,), mean), std=torch.full((channels,), std))


IMAGES, DIGITS, WINDOWS = like((3, 32, 32), 100), like((1, 8, 8), 10), like((3, 151), 9)


def parameters(model) -> int:
    return sum(p.numel() for p in model.parameters())


def on_meta(name, task, **sizes):
    """Built without memory or arithmetic: shapes only."""
    with torch.device("meta"):
        return models.build(name, task, **sizes)


# ---- sizes ----

@pytest.mark.parametrize("name, task, count", [
    ("mlp_simple", like((13,), 2), 162), ("mlp_complex", like((13,), 2), 5472),
    ("mlp_simple", like((10,), 2), 132), ("mlp_complex", like((10,), 2), 5412),
    ("mlp_simple", like((10,), 1), 121), ("mlp_complex", like((10,), 1), 20851),
    ("mlp_simple", like((6,), 1), 81), ("mlp_complex", like((6,), 1), 20651),
    ("transformer_base", WINDOWS, 57289), ("transformer_t1", WINDOWS, 179529),
    ("transformer_t2", WINDOWS, 263625),
    ("resnet20", like((3, 32, 32), 10), 269722),       # 0.27 M, He et al. 2015, table 6
    ("resnet56", like((3, 32, 32), 10), 853018),       # 0.85 M
    ("resnet18", like((3, 224, 224), 1000), 11689512),      # torchvision's
    ("resnet34", like((3, 224, 224), 1000), 21797672),
    ("resnet50", like((3, 224, 224), 1000), 25557032),
    ("mobilenetv2", like((3, 224, 224), 1000), 3504872),
])
def test_parameters_as_published(name, task, count):
    assert parameters(on_meta(name, task)) == count


@pytest.mark.parametrize("name, task, sizes, millions", [
    ("cnn_edge", IMAGES, {}, 3.28), ("resnet9", IMAGES, {}, 6.62),
    ("vgg16", like((3, 224, 224), 100), {"head": "edge"}, 118.55),
    ("vgg16", like((3, 224, 224), 1000), {"head": "official"}, 138.36),
    ("resnet50", like((3, 224, 224), 100), {"head": "edge"}, 23.51 + 2.10 + 0.10),
])
def test_millions_of_parameters_as_published(name, task, sizes, millions):
    assert parameters(on_meta(name, task, **sizes)) / 1e6 == pytest.approx(millions, abs=0.006)


@pytest.mark.parametrize("side, classes, sizes, millions, macs", [
    (224, 1000, {}, 3.505, 300.8),                                  # torchvision's
    (32, 10, {"stem": "cifar"}, 2.24, 88.0), (32, 10, {"stem": "cifar", "width": 50}, 0.70, 28.0)])
def test_mobilenetv2_costs_what_is_published(side, classes, sizes, millions, macs):
    """At 32 px: github.com/chenyaofo/pytorch-cifar-models."""
    net = models.build("mobilenetv2", like((3, side, side), classes), **sizes).eval()
    assert parameters(net) / 1e6 == pytest.approx(millions, abs=0.006)
    counted = energy.layers(net, torch.rand(1, 3, side, side)).macs.sum()
    assert counted / 1e6 == pytest.approx(macs, rel=0.01)


def test_mobilenetv2_has_published_keys_and_refuses_no_width():
    keys = set(on_meta("mobilenetv2", like((3, 224, 224), 1000)).state_dict())
    assert len(keys) == 314 and {
        "features.0.0.weight", "features.0.1.running_var", "features.1.conv.0.0.weight",
        "features.1.conv.1.weight", "features.1.conv.2.bias", "features.17.conv.2.weight",
        "features.17.conv.3.running_mean", "features.18.0.weight", "classifier.1.weight"} <= keys
    assert "features.1.conv.3.weight" not in keys
    with pytest.raises(ValueError, match="width=0: give percent of the published channels"):
        models.build("mobilenetv2", IMAGES, width=0)


def test_nets_beyond_residual_ones_are_what_they_are_called():
    """Depthwise convolutions have one input channel each; a shortcut needs the same shape; the
    recurrent net reads as many rows as two poolings leave."""
    net = models.build("effnet", IMAGES, width=8)
    blocks = [m for m in net.modules() if type(m).__name__ == "InvertedResidual"]
    assert [block.beside for block in blocks] == [True, True, False, True, False, True]
    assert all(block.depthwise.groups == block.depthwise.in_channels for block in blocks)
    shares = []
    blocks[0].excite.register_forward_hook(lambda m, args, y: shares.append(y / args[0]))
    net.eval()(torch.rand(2, 3, 32, 32))
    share = shares[0][0, :, 0, 0]
    assert ((0 < share) & (share < 1)).all() and torch.allclose(
        shares[0][0].nan_to_num(0.5).amax((1, 2)), share, atol=1e-2)
    read = []
    hybrid = models.build("cnn_rnn", like((1, 28, 28), 10), width=4)
    hybrid.rnn.register_forward_hook(lambda m, args, y: read.append(args[0].shape))
    hybrid(torch.rand(2, 1, 28, 28))
    assert read == [(2, 7, 2 * 4 * 7)]


OF_TEXT = ("minilm", "bert", "distilbert", "bert_tiny")
SMALL = {"resnet18": {"width": 4}, "resnet34": {"width": 4}, "resnet50": {"width": 4},
         "resnet9": {"width": 4}, "mobilenetv2": {"width": 25},
         "cnn_edge": {"width": 4}, "transformer_t2": {"layers": 2},
         "bert": {"layers": 1}, "distilbert": {"layers": 1}}


@pytest.mark.parametrize("name", [n for n in names.MODELS
                                  if n not in (*names.CLASSICAL, "vgg16", *OF_TEXT)])
def test_every_net_gives_one_score_a_class(name):
    shapes = [(3, 151), (3, 51)] if name.startswith("transformer") else \
        [(13,)] if name.startswith("mlp") else [(3, 32, 32), (1, 28, 28), (1, 8, 8)]
    for shape in shapes:
        model = models.build(name, like(shape, 7), **SMALL.get(name, {})).eval()
        assert model(torch.rand(2, *shape)).shape == (2, 7)
        assert torch.isfinite(model(torch.rand(2, *shape))).all()


@pytest.mark.parametrize("name", OF_TEXT)
def test_every_net_of_text_gives_one_score_a_class(name):
    pieces = like((9,), 7)
    pieces.kind = "text"
    model = models.build(name, pieces, **SMALL.get(name, {})).eval()
    for x in (torch.randint(1, 30000, (2, 9)), torch.zeros(2, 9, dtype=torch.long)):
        assert model(x).shape == (2, 7) and torch.isfinite(model(x)).all()


@pytest.mark.parametrize("name, task, word", [
    ("resnet20", like((13,), 2), "images"), ("transformer_t1", IMAGES, "series"),
    ("cnn_edge", like((1, 4, 4), 2), "4×4"), ("vgg16", DIGITS, "8×8")])
def test_inputs_that_do_not_fit_are_refused(name, task, word):
    with pytest.raises(ValueError, match=word):
        models.build(name, task)


# ---- names and options ----

def test_unknown_names_and_options_list_what_there_is():
    with pytest.raises(ValueError, match="hgb.*resnet20.*transformer_t1"):
        models.build("resnet21", IMAGES)
    with pytest.raises(ValueError, match="'widht'.*init.*shortcut.*width"):
        models.build("resnet20", IMAGES, widht=8)
    with pytest.raises(ValueError, match="'orthogonal'.*kaiming.*xavier"):
        models.build("resnet20", IMAGES, init="orthogonal")
    with pytest.raises(ValueError, match="width=0"):
        models.build("resnet20", IMAGES, width=0)
    with pytest.raises(ValueError, match="'large'.*imagenet.*cifar"):
        models.build("resnet18", IMAGES, stem="large")
    with pytest.raises(ValueError, match="'softmax'.*edge.*official"):
        models.build("vgg16", IMAGES, head="softmax")
    with pytest.raises(ValueError, match="heads=5"):
        models.build("transformer_t1", WINDOWS, heads=5)
    with pytest.raises(ValueError, match="dropout=1.5"):
        models.build("transformer_t1", WINDOWS, dropout=1.5)


def test_only_the_file_of_the_model_is_imported():
    assert set(models.MODELS) == set(names.MODELS)
    assert models.file_of("resnet20").name == "resnet.py"
    with pytest.raises(ValueError, match="no model 'resnet21'"):
        models.file_of("resnet21")
    told = subprocess.run(
        [sys.executable, "-c", "import sys; from lib import models; from tests.toys import blobs; "
         "models.build('mlp_simple', blobs()); print(*sorted(n for n in sys.modules if "
         "n.startswith('lib.models.')))"], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["lib.models.mlp", "lib.models.net"]


def test_build_arguments_rebuild_the_model():
    model = models.build("resnet8", DIGITS, width=4, init="xavier", seed=3)
    assert model.build_arguments == {"name": "resnet8", "width": 4, "init": "xavier"}
    again = models.build(task=DIGITS, **model.build_arguments)
    again.load_state_dict(model.state_dict())
    x = torch.rand(2, 1, 8, 8)
    assert torch.equal(model.eval()(x), again.eval()(x))


def test_a_seed_repeats_the_weights_and_leaves_the_callers_random_state():
    before = torch.get_rng_state()
    first, same, other = (models.build("resnet8", DIGITS, seed=s).conv1.weight for s in (0, 0, 1))
    assert torch.equal(first, same) and not torch.equal(first, other)
    assert torch.equal(before, torch.get_rng_state())


def test_without_shortcut_the_sum_is_gone():
    x = torch.rand(2, 1, 8, 8)
    for name in ("resnet8", "resnet9", "resnet18"):
        sizes = SMALL.get(name, {})
        usual = models.build(name, DIGITS, **sizes).eval()
        plain = models.build(name, DIGITS, shortcut=False, **sizes).eval()
        plain.load_state_dict(usual.state_dict(), strict=False)     # all that the plain one has
        assert not torch.allclose(usual(x), plain(x))
    assert not any("downsample" in key for key in plain.state_dict())   # resnet18's projections


def test_a_block_with_zero_weights_passes_its_input_on_only_by_the_shortcut():
    x = torch.rand(1, 16, 8, 8)
    for shortcut, expected in ((True, x), (False, torch.zeros_like(x))):
        block = models.build("resnet8", DIGITS, shortcut=shortcut).eval().layer1[0]
        torch.nn.init.zeros_(block.conv2.weight)
        assert torch.equal(block(x), expected)


def test_kaiming_and_xavier_have_the_variances_of_their_papers():
    for init, variance in (("kaiming", 2 / (64 * 9)), ("xavier", 2 / (64 * 9 + 64 * 9))):
        weight = models.build("resnet20", IMAGES, init=init).layer3[1].conv1.weight
        assert weight.var().item() == pytest.approx(variance, rel=0.03)


def test_width_scales_channels():
    for name in ("resnet20", "resnet9", "cnn_edge"):
        slim, usual = (on_meta(name, IMAGES, width=w) for w in (8, 16))
        assert 3.5 < parameters(usual) / parameters(slim) < 4.1
    odd = models.build("resnet8", DIGITS, width=1).eval()       # 1, 2, 4 channels
    assert odd(torch.rand(2, 1, 8, 8)).shape == (2, 10)


def test_frozen_parts_stand_still_in_training():
    model = models.build("resnet18", IMAGES, width=4, head="edge", frozen=True)
    kept = {k: v.clone() for k, v in model.state_dict().items()}
    model.train()
    model(torch.rand(4, 3, 32, 32)).sum().backward()
    moving = {n for n, p in model.named_parameters() if p.requires_grad}
    assert moving == {"fc.0.weight", "fc.0.bias", "fc.2.weight", "fc.2.bias"}
    assert all(torch.equal(kept[k], v) for k, v in model.state_dict().items())   # statistics too


def test_the_first_stages_of_a_net_for_small_images_stay_as_they_were_drawn():
    model = models.build("resnet8", IMAGES, width=4, frozen=1).train()
    drawn = models.build("resnet8", IMAGES, width=4).state_dict()
    model(torch.rand(4, 3, 32, 32)).sum().backward()
    rest = {n.partition(".")[0] for n, p in model.named_parameters() if not p.requires_grad}
    assert rest == {"conv1", "bn1", "layer1"}
    still = [k for k in drawn if k.partition(".")[0] in rest]
    assert still and all(torch.equal(drawn[k], model.state_dict()[k]) for k in still)
    assert not torch.equal(drawn["layer2.0.bn1.running_mean"], model.layer2[0].bn1.running_mean)
    with pytest.raises(ValueError, match="frozen=4: this net has 3 stages; choose 0, 1, 2 or 3"):
        models.build("resnet8", IMAGES, frozen=4)


def test_blocks_are_marked():
    counts = {"resnet20": 9, "resnet18": 8, "resnet50": 16, "resnet9": 2, "transformer_t1": 8}
    for name, count in counts.items():
        task = WINDOWS if "former" in name else IMAGES
        blocks = [m for m in on_meta(name, task).modules() if getattr(m, "is_block", False)]
        assert len(blocks) == count, name


# ---- what goes in, what is stored ----

@pytest.mark.parametrize("name, shape", [("mlp_simple", (5,)), ("resnet8", (2, 8, 8)),
                                         ("transformer_base", (3, 32))])
def test_inputs_are_normalised_inside(name, shape):
    sizes = {"magnitude": False} if "former" in name else {}
    plain = models.build(name, like(shape, 4), **sizes).eval()
    scaled = models.build(name, like(shape, 4, mean=3.0, std=2.0), **sizes).eval()
    x = torch.rand(2, *shape)
    assert torch.allclose(plain(x), scaled(2 * x + 3), atol=1e-5)
    assert not torch.allclose(plain(x), scaled(x), atol=1e-3)
    assert not {"mean", "std"} & set(scaled.state_dict())


def test_a_feature_that_never_varies_gives_no_nan():
    task = like((2,), 2)
    task.std[1] = 0
    assert torch.isfinite(models.build("mlp_simple", task)(torch.rand(3, 2))).all()


def test_published_names():
    keys = set(on_meta("resnet50", like((3, 224, 224), 1000)).state_dict())
    assert len(keys) == 320 and len([k for k in keys if k.endswith("weight")]) == 107
    assert {"conv1.weight", "bn1.running_var", "layer1.0.downsample.0.weight",
            "layer1.0.downsample.1.bias", "layer3.5.conv3.weight", "layer4.2.bn3.running_mean",
            "layer4.0.conv2.weight", "fc.weight", "fc.bias"} <= keys
    assert "layer1.1.downsample.0.weight" not in keys
    vgg = on_meta("vgg16", like((3, 224, 224), 1000), head="official").state_dict()
    assert vgg["features.28.weight"].shape == (512, 512, 3, 3)
    assert {f"{part}.{kind}" for part in (
        *(f"features.{i}" for i in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)),
        "classifier.0", "classifier.3", "classifier.6") for kind in ("weight", "bias")} == set(vgg)
    cifar = set(on_meta("resnet20", IMAGES).state_dict())
    assert {"layer2.0.conv1.weight", "layer3.2.bn2.weight", "linear.bias"} <= cifar
    assert not any("downsample" in key or "shortcut" in key for key in cifar)


def test_bottleneck_strides_on_its_3x3_convolution():
    block = on_meta("resnet50", like((3, 224, 224), 10)).layer2[0]
    assert (block.conv1.stride, block.conv2.stride) == ((1, 1), (2, 2))


def mirror_file(name: str) -> Path:
    folder = os.environ.get("GREENBITS_MIRROR")
    path = Path(folder or ".") / name
    if not folder or not path.exists():
        pytest.skip(f"GREENBITS_MIRROR holds no {name}")
    return path


def test_published_cifar10_weights_fit_and_reach_their_score():
    stored = torch.load(mirror_file("resnet20-12fca82f.th"), map_location="cpu", weights_only=True)
    task = like((3, 32, 32), 10)
    task.mean, task.std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    model = models.build("resnet20", task).eval()
    missing, unexpected = model.load_state_dict(
        {k.removeprefix("module."): v for k, v in stored["state_dict"].items()}, strict=False)
    assert not unexpected and all(key.endswith("num_batches_tracked") for key in missing)
    with tarfile.open(mirror_file("cifar-10-binary.tar.gz")) as archive:
        member = next(m for m in archive if m.name.endswith("test_batch.bin"))
        rows = np.frombuffer(archive.extractfile(member).read(), np.uint8).reshape(-1, 3073)[:1000]
    x = torch.from_numpy(rows[:, 1:].copy()).reshape(-1, 3, 32, 32) / 255
    with torch.no_grad():
        right = model(x).argmax(1).numpy() == rows[:, 0]
    assert 90 < 100 * right.mean() < 94          # 91.73 on all ten thousand


# ---- transformers ----

def test_attention_is_torchs_own():
    ours, torchs = Attention(16, 4, 0.0), torch.nn.MultiheadAttention(16, 4, batch_first=True)
    with torch.no_grad():
        torchs.in_proj_weight.copy_(torch.cat([ours.q.weight, ours.k.weight, ours.v.weight]))
        torchs.in_proj_bias.copy_(torch.cat([p.bias.normal_() for p in (ours.q, ours.k, ours.v)]))
        torchs.out_proj.load_state_dict(ours.out.state_dict())
    x = torch.randn(3, 7, 16)
    assert torch.allclose(ours(x, x), torchs(x, x, x, need_weights=False)[0], atol=1e-6)


def test_transformer_is_torchs_encoder():
    model = models.build("transformer_base", WINDOWS, magnitude=False).eval()
    layer = torch.nn.TransformerEncoderLayer(32, 4, 128, batch_first=True).eval()
    assert [block.first_only for block in model.blocks] == [False, False, False, True]
    ours = model.blocks[2]
    attention = ours.attention
    layer.self_attn.in_proj_weight.data = torch.cat(
        [attention.q.weight, attention.k.weight, attention.v.weight])
    layer.self_attn.out_proj.load_state_dict(attention.out.state_dict())
    for part in ("linear1", "linear2", "norm1", "norm2"):
        getattr(layer, part).load_state_dict(getattr(ours, part).state_dict())
    x = torch.randn(2, 20, 32)
    assert torch.allclose(ours(x), layer(x), atol=1e-5)
    ours.first_only = True                               # as in the last layer: the same, sooner
    assert torch.allclose(ours(x), layer(x)[:, :1], atol=1e-5)


def test_magnitude_does_not_depend_on_how_the_sensor_is_turned():
    model = models.build("transformer_base", WINDOWS).eval()
    with torch.no_grad():
        model.patch.weight[:, :3] = 0                    # blind to the axes
    x = torch.randn(4, 3, 151)
    turned = torch.einsum("ij,bjt->bit", torch.linalg.qr(torch.randn(3, 3))[0], x)
    assert torch.allclose(model(x), model(turned), atol=1e-4)
    assert not torch.allclose(model(x), model(1.5 * x), atol=1e-2)


def test_the_tail_of_a_window_is_seen():
    model = models.build("transformer_base", WINDOWS).eval()       # 151 = 18 patches of 8, and 7
    x = torch.randn(1, 3, 151)
    changed = x.clone()
    changed[:, :, -1] += 5
    assert not torch.allclose(model(x), model(changed), atol=1e-4)


def test_positions_count():
    model = models.build("transformer_base", like((3, 64), 5)).eval()
    x = torch.randn(1, 3, 64)
    assert not torch.allclose(model(x), model(x.roll(8, 2)), atol=1e-5)
    assert model.positions.mean().item() == pytest.approx(0, abs=1e-6)
    assert model.positions.std().item() == pytest.approx(0.1, abs=1e-6)


# ---- dropout ----

@pytest.mark.parametrize("p", [0.1, 0.2, 0.5, 0.9])
def test_dropout_keeps_the_rate_and_the_mean(p):
    torch.manual_seed(0)
    layer, x = Dropout(p), torch.ones(1_000_003)
    y = layer(x)
    dropped = round(256 * p) / 256
    error = (p * (1 - p) / len(x)) ** 0.5
    assert (y == 0).double().mean().item() == pytest.approx(dropped, abs=5 * error)
    assert y.double().mean().item() == pytest.approx(1, abs=5 * error / (1 - p))
    assert y.unique().tolist() == pytest.approx([0.0, 1 / (1 - dropped)])


def test_every_byte_of_a_word_drops_at_the_same_rate():
    torch.manual_seed(0)
    kept = (Dropout(0.2)(torch.ones(80_000, 8)) > 0).double().mean(0)
    assert (kept - 205 / 256).abs().max() < 0.008        # 5.6 standard errors


def test_dropout_masks_gradients_alike_repeats_with_a_seed_and_rests_in_evaluation():
    layer, x = Dropout(0.2), torch.randn(50, 7, requires_grad=True)
    torch.manual_seed(1)
    y = layer(x)
    y.sum().backward()
    assert torch.equal(x.grad * x, y)
    torch.manual_seed(1)
    assert torch.equal(layer(x), y) and not torch.equal(layer(x), y)
    assert layer.eval()(x) is x and Dropout(0.0)(x) is x


# ---- scikit-learn's models ----

@pytest.mark.parametrize("name", names.CLASSICAL)
@pytest.mark.parametrize("task", [blobs(), line()], ids=["classes", "regression"])
def test_classical_models_answer_like_nets(name, task):
    model = models.build(name, task, **({"iterations": 40} if name == "hgb" else {}))
    with pytest.raises(ValueError, match="fit"):
        model(task.test.x)
    outputs = model.fit(task, seed=0)(task.test.x)
    assert outputs.shape == (len(task.test), task.outputs) and outputs.dtype == torch.float32
    score = task.total(task.score(outputs, task.test))
    floor, strong = (45, 80) if task.metric.name == "accuracy" else (0.01, 0.8)
    assert score < floor if name == "majority" else score > strong
    assert model.setting and not list(model.parameters())
    if task.metric.name == "accuracy":       # the highest score is the class it predicts
        predicted = model.estimator.predict(task.test.x.double().numpy())
        assert np.array_equal(outputs.argmax(1).numpy(), predicted)


def test_a_class_absent_from_training_scores_lowest():
    task = blobs()
    rows = task.train.y != 1
    some = SimpleNamespace(train=SimpleNamespace(x=task.train.x[rows], y=task.train.y[rows]),
                           val=task.val)
    for name in ("majority", "knn", "svm"):
        outputs = models.build(name, task).fit(some)(task.test.x)
        assert outputs.shape[1] == 3 and (outputs.argmin(1) == 1).all()


def test_validation_chooses_among_the_candidates():
    task = blobs()
    y = task.train.y.clone()
    y[torch.arange(0, len(y), 3)] = (y[::3] + 1) % 3         # a third of the labels is wrong
    noisy = SimpleNamespace(train=SimpleNamespace(x=task.train.x, y=y), val=task.val)
    assert models.build("knn", task, k=(1, 25)).fit(noisy).setting == "k=25"
    assert models.build("svm", task, c=(1e-3, 1.0)).fit(task).setting == "C=1"


def test_few_rows_choose_c_but_all_rows_are_fitted():
    task = blobs()
    model = models.build("svm", task, tune_on=60).fit(task)
    seen = model.estimator[0].n_samples_seen_
    assert seen == len(task.train)
