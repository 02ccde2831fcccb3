"""Text: word pieces, the encoder that reads them, and what is made of it."""

import io
import os
import zipfile

import numpy as np
import pytest
import torch

from lib import data, deploy, energy, measure, models, quant, recipes, train
from lib.base import names, paths
from lib.data import sources, text
from lib.train import order
from tests import toys

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "film", "##s", "a", "."]


@pytest.fixture
def vocabulary(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(WORDS) + "\n")
    return path


@pytest.fixture(scope="module")
def task():
    return toys.sentences()


def tiny(task, **sizes):
    return models.build("bert_tiny", task, **({"d": 32, "heads": 2, "ff": 64} | sizes)).eval()


def test_a_sentence_becomes_marked_word_pieces_cut_and_filled_up(vocabulary):
    found = text.encoded(["Good FILMS.", "a bad film", "unheard a a a a a a"], vocabulary, 7)
    assert found.dtype == np.int64 and found.tolist() == [
        [2, 5, 7, 8, 10, 3, 0], [2, 9, 6, 7, 3, 0, 0], [2, 1, 9, 9, 9, 9, 3]]


def test_what_stands_behind_a_sentences_end_changes_nothing(task):
    model = tiny(task)
    x = task.test.x[:5]
    longer = torch.cat([x, torch.zeros(5, 4, dtype=torch.long)], 1)
    with torch.no_grad():
        assert torch.allclose(model(x), model(longer), atol=1e-5)
        shorter = x[:1, :int((x[:1] != 0).sum())]
        assert torch.allclose(model(x)[:1], model(shorter), atol=1e-5)
        assert not torch.allclose(model(x), model(x.flip(1)), atol=1e-3)    # order counts


def test_an_encoder_learns_and_goes_on_in_files_and_few_bits(task, tmp_path):
    model = tiny(task, dropout=0.0)
    train.fit(model, task, epochs=12, lr=3e-3, batch_size=16, optimizer="adamw", seed=0)
    whole = train.evaluate(model, task)
    assert whole.score > 90
    session = deploy.deployed(model, "dynamic", task.calibration)
    assert session.arithmetic.startswith("integer")
    assert train.evaluate(session, task).score > whole.score - 5
    small = quant.ptq(model, "gptq", bits=4, group=32, calibration=task.calibration)
    kernels = deploy.deployed(small, "nbits", task.calibration)
    assert kernels.kernels["MatMulNBits"] == 2 * 6 + 1
    assert train.evaluate(kernels, task).score > whole.score - 5


def test_products_of_a_sentence_are_counted_exactly(task):
    table = energy.layers(tiny(task), task.test.batch(slice(1))).set_index("layer")
    pieces, d, ff = task.inputs[0], 32, 64
    assert table.macs["blocks.0.attention"] == 2 * pieces**2 * d
    assert table.macs["blocks.0.attention.q"] == pieces * d * d
    assert table.macs["blocks.1.linear1"] == pieces * d * ff
    assert table.macs["words"] == 0 and table.macs["head"] == d * 2


def test_while_it_trains_the_encoder_computes_what_it_will_answer(task):
    model = tiny(task, dropout=0.0)
    x = task.test.batch(slice(8)).clone()
    x[3, 2:] = 0                                    # a short one behind longer ones
    assert torch.allclose(model.train()(x), model.eval()(x), atol=1e-5)
    model.train()(x).square().sum().backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    model.eval()(x).square().sum().backward()
    for name, p in model.named_parameters():
        assert torch.allclose(gradients[name], p.grad, atol=1e-4), name


BERT_NAMES = {
    "words": "embeddings.word_embeddings", "positions": "embeddings.position_embeddings",
    "kinds": "embeddings.token_type_embeddings", "norm": "embeddings.LayerNorm",
    "attention.q": "attention.self.query", "attention.k": "attention.self.key",
    "attention.v": "attention.self.value", "attention.out": "attention.output.dense",
    "norm1": "attention.output.LayerNorm", "linear1": "intermediate.dense",
    "linear2": "output.dense", "norm2": "output.LayerNorm"}
DISTILBERT_NAMES = {
    "words": "embeddings.word_embeddings", "positions": "embeddings.position_embeddings",
    "norm": "embeddings.LayerNorm", "attention.q": "attention.q_lin",
    "attention.k": "attention.k_lin", "attention.v": "attention.v_lin",
    "attention.out": "attention.out_lin", "norm1": "sa_layer_norm", "linear1": "ffn.lin1",
    "linear2": "ffn.lin2", "norm2": "output_layer_norm"}


def published(model, theirs=BERT_NAMES, blocks="encoder.layer"):
    """The model's encoder by published names, 1 added to each weight."""
    found = {}
    for name, value in model.state_dict().items():
        place, _, kind = name.rpartition(".")
        before, inner = "", place
        if place.startswith("blocks."):
            _, number, inner = place.split(".", 2)
            before = f"{blocks}.{number}."
        if inner in theirs:
            found[f"{before}{theirs[inner]}.{kind}"] = value + 1
    return found


def started_from(given, task):
    """The tensors of a new net, and the same after `start_from(given)`."""
    model = tiny(task)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.start_from(given)
    return before, model.state_dict()


def test_published_weights_are_taken_by_their_names_and_misfits_named(task):
    model = tiny(task)
    given = {f"bert.{name}": value for name, value in published(model).items()}
    given["bert.pooler.dense.weight"] = torch.zeros(1)
    older = {name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
        "LayerNorm.bias", "LayerNorm.beta"): value for name, value in given.items()}
    for weights in (given, older, published(model)):
        before, after = started_from(weights, task)
        for name, value in after.items():
            assert torch.equal(value, before[name] + (not name.startswith("head."))), name
    for wrong in ({}, given | {"bert.embeddings.LayerNorm.weight": torch.zeros(3)}):
        with pytest.raises(ValueError, match="missing or of another shape"):
            model.start_from(wrong)


def test_distilberts_weights_are_taken_too_and_it_tells_no_kinds_of_text(task):
    theirs = published(tiny(task), DISTILBERT_NAMES, "transformer.layer")
    given = {f"distilbert.{name}": value for name, value in theirs.items()}
    before, after = started_from(given | {"vocab_projector.bias": torch.zeros(1)}, task)
    assert not after.pop("kinds.weight").any()
    for name, value in after.items():
        assert torch.equal(value, before[name] + (not name.startswith("head."))), name
    with pytest.raises(ValueError, match="kinds.weight is missing"):
        tiny(task).start_from(theirs)               # named as nobody's


def test_encoders_that_others_trained_start_from_their_own_weights():
    starts = {name: recipes.recipe("sst2", name).get("start")
              for name in ("minilm", "bert", "distilbert", "bert_tiny")}
    assert starts == {"minilm": "all-MiniLM-L6-v2.safetensors",
                      "bert": "bert-base-uncased.safetensors",
                      "distilbert": "distilbert-base-uncased.safetensors", "bert_tiny": None}
    assert {start for start in starts.values() if start} <= set(sources.FILES)


def test_text_is_for_nets_of_text_alone(task):
    assert models.misfit("bert_tiny", task) is None
    assert "takes word pieces" in models.misfit("minilm", toys.blobs())
    assert "text" in names.misfit("sst2", "mlp_simple")
    assert "text" in names.misfit("telescope", "minilm")
    assert names.misfit("sst2", "minilm") is None and names.misfit("sst2", "bert_tiny") is None


@pytest.fixture
def raw(tmp_path, monkeypatch, vocabulary):
    """A folder of raw files with a small SST-2 and a small CoLA in it."""
    monkeypatch.setattr(paths, "RAW", tmp_path)
    monkeypatch.delenv("GREENBITS_MIRROR", raising=False)
    vocabulary.rename(tmp_path / "bert-base-uncased-vocab.txt")
    lines = [f"film {i} is {word} \t{label}" for i in range(60)
             for word, label in (("good", 1), ("bad", 0))]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("SST-2/train.tsv", "sentence\tlabel\n" + "\n".join(lines) + "\n")
        archive.writestr("SST-2/dev.tsv", 'sentence\tlabel\na "good film .\t1\nbad\t0\n')
    (tmp_path / "SST-2.zip").write_bytes(packed.getvalue())
    with zipfile.ZipFile(tmp_path / "CoLA.zip", "w") as archive:
        archive.writestr("CoLA/train.tsv", "".join(
            f"a1\t{i % 3 > 0:d}\t*\tfilm {i} is good.\n" for i in range(90)))
        archive.writestr("CoLA/dev.tsv", 'b\t1\t\ta "good film\nb\t0\t*\tbad bad\n')
    for name in ("SST-2.zip", "CoLA.zip", "bert-base-uncased-vocab.txt"):
        monkeypatch.setitem(sources.FILES, name, sources.Source("a copy"))
    text._glue.cache_clear()
    yield tmp_path
    text._glue.cache_clear()


def test_phrases_are_divided_by_their_hash_and_tested_on_the_authors_part(raw):
    task = data.load("sst2")
    assert (task.kind, task.inputs, task.outputs, task.fold) == ("text", (text.PIECES,), 2, None)
    assert len(task.test) == 2 and task.test.y.tolist() == [1, 0]
    assert len(task.train) + len(task.val) == 120 and 0 < len(task.val) < 20
    assert task.test.x[0, :6].tolist() == [2, 9, 1, 5, 7, 10]       # a quote is no delimiter
    assert task.train.x.dtype == torch.int64
    assert data.load("sst2").hash == task.hash


def test_grammar_is_judged_by_matthews_correlation(raw):
    task = data.load("cola")
    assert (task.metric.name, task.classes) == ("mcc", ("unacceptable", "acceptable"))
    assert len(task.train) + len(task.val) == 90 and 0 < len(task.val) < 20
    assert task.test.y.tolist() == [1, 0] and task.test.x[0, :5].tolist() == [2, 9, 1, 5, 7]
    row, _ = measure.measure(tiny(task), task)
    assert row.metric == "mcc" and -1 <= row.score <= 1 and row.metric2 == "accuracy"


def test_a_damaged_table_is_one_sentence(raw):
    with zipfile.ZipFile(raw / "SST-2.zip", "w") as archive:
        archive.writestr("SST-2/train.tsv", "phrase\tclass\nx\t1\n")
        archive.writestr("SST-2/dev.tsv", "phrase\tclass\nx\t1\n")
    with pytest.raises(data.DataError, match="does not hold sst2"):
        data.load("sst2")


@pytest.mark.skipif("GREENBITS_MIRROR" not in os.environ, reason="needs the mirror")
def test_sst2_is_the_authors():
    task = data.load("sst2")
    assert len(task.train) + len(task.val) == 67349 and len(task.test) == 872
    assert float(task.test.y.double().mean()) == pytest.approx(444 / 872)


@pytest.mark.skipif("GREENBITS_MIRROR" not in os.environ, reason="needs the mirror")
def test_cola_is_the_authors():
    task = data.load("cola")
    assert len(task.train) + len(task.val) == 8551 and len(task.test) == 1043
    assert float(task.test.y.double().mean()) == pytest.approx(721 / 1043)


def test_an_epoch_takes_each_sentence_once_beside_others_of_its_length():
    part, size = toys.sentences(2000, 40).train, 16
    torch.manual_seed(0)
    plain = order.drawn(part, size)
    torch.manual_seed(0)
    taken = order.drawn(part, size, text=True)
    assert sorted(taken.tolist()) == sorted(plain.tolist()) == list(range(len(part)))
    lengths = (part.x != 0).sum(1)
    full = len(part) // size * size

    def computed(numbers):
        return float(lengths[numbers[:full]].reshape(-1, size).amax(1).double().mean())

    assert computed(taken) < computed(plain) - 5
    batches = lengths[taken[:full]].reshape(-1, size).double().mean(1)
    assert (batches.diff() > 0).double().mean() < 0.6           # short and long ones in turn
    torch.manual_seed(1)
    assert not torch.equal(taken, order.drawn(part, size, text=True))
