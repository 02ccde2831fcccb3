"""Questions about a paragraph: what counts as an answer, and the nets that find it."""

import itertools
import json
import os

import numpy as np
import pytest
import torch

from lib import data, deploy, measure, models, quant, train
from lib.base import paths
from lib.base.metric import METRICS
from lib.data import catalogue, questions, sources

WORDS = ["who", "runs", "is", "the", "king", "today", "and", "not", "here", ".", "?", "ann", "bob",
         "cy", "dora", "##n", "eve"]
NAMES = ("Ann", "Bob", "Cy", "Doran", "Eve")
ARTICLES = 20


def article(number):
    """Two paragraphs with a king each, who is asked for; in the second he stands behind the cut."""
    found = []
    for i, ahead in enumerate(("", "not here . " * 12)):
        king, other = NAMES[number % 5], NAMES[(number + i + 1) % 5]
        text = f"{ahead}{other} is here and the king is {king} . {other} runs ."
        begins = text.index(f"king is {king}") + len("king is ")
        right = [{"answer_start": begins, "text": king}]
        others = [{"answer_start": begins - 3, "text": f"is {king}"}]
        found.append({"context": text, "qas": [
            {"id": f"{number}.{i}", "question": " Who is the king today?",
             "answers": right + others}]})
    return {"title": f"Kings {number}", "paragraphs": found}


@pytest.fixture
def raw(tmp_path, monkeypatch):
    """A folder of raw files with a small dev part of SQuAD, cut after 24 pieces."""
    monkeypatch.setattr(paths, "RAW", tmp_path)
    monkeypatch.setattr(questions, "PIECES", 24)
    monkeypatch.delenv("GREENBITS_MIRROR", raising=False)
    vocabulary = ["[PAD]", *(f"[unused{i}]" for i in range(99)), "[UNK]", "[CLS]", "[SEP]", *WORDS]
    (tmp_path / "bert-base-uncased-vocab.txt").write_text("\n".join(vocabulary) + "\n")
    write(tmp_path / "dev-v1.1.json", range(ARTICLES))
    for name in catalogue.RAW_FILES["squad"]:
        monkeypatch.setitem(sources.FILES, name, sources.Source("a copy", page="https://there"))
    questions._questions.cache_clear()
    yield tmp_path
    questions._questions.cache_clear()


def write(path, numbers):
    path.write_text(json.dumps({"data": [article(number) for number in numbers]}))


def known(task):
    """What is needed to judge the answers to a task's questions."""
    return task.metric.loss.__self__


def perfect(task, split):
    """Outputs that point at the first right answer, where it was not cut off."""
    spans = torch.from_numpy(known(task).spans)[split.y.long()]
    outputs = torch.zeros(len(split), 2, task.outputs // 2)
    for line, (first, last) in enumerate(spans.tolist()):
        if first != questions.NOWHERE:
            outputs[line, 0, first] = outputs[line, 1, last] = 50.0
    return outputs.flatten(1)


def tiny(task, **sizes):
    torch.manual_seed(0)
    return models.build("bert_tiny", task, **({"d": 32, "heads": 2, "ff": 64} | sizes)).eval()


def test_articles_stay_whole_and_what_was_cut_off_is_tested_but_not_learnt(raw):
    task = data.load("squad@dev")
    assert (task.kind, task.inputs, task.outputs, task.fold) == ("text", (24,), 48, None)
    assert (len(task.train), len(task.val), len(task.test)) == (6, 8, 20)       # 6, 4, 10 articles
    asked = known(task)
    parts = [set(asked.article[part.y.long().numpy()])
             for part in (task.train, task.val, task.test)]
    assert [len(part) for part in parts] == [6, 4, 10] and len(set.union(*parts)) == ARTICLES
    assert (asked.spans[task.train.y.long().numpy()] >= 0).all()
    assert "10 to test" in task.source
    assert task.test.ref[0].startswith("Who is the king today? – ")
    assert data.load("squad@dev").hash == task.hash


def test_an_answer_is_the_text_as_it_stands_in_the_paragraph(raw):
    task = data.load("squad@dev")
    asked, part = known(task), task.train
    assert asked.answered(perfect(task, part), part.y.long()) == [
        asked.answers[number][0] for number in part.y.long().tolist()]
    assert "Doran" in asked.answered(perfect(task, task.test), task.test.y.long())  # of two pieces
    scores = task.score(perfect(task, task.test), task.test)
    cut = asked.spans[task.test.y.long().numpy(), 0] == questions.NOWHERE
    assert cut.sum() == 10 and (scores[~cut] == 1).all() and (scores[cut] < 1).all()
    assert task.metric.second(perfect(task, part), part.y, task.scale) == ("exact_match", 100.0)
    assert float(task.metric.loss(perfect(task, part), part.y)) == pytest.approx(0, abs=1e-6)


def test_words_are_compared_as_the_authors_do():
    assert questions.words("The  Cat's an animal.") == ["cats", "animal"]
    assert questions.overlap("the cat", "Cat!") == 1
    assert questions.overlap("a big cat", "cat") == pytest.approx(2 / 3)
    assert questions.overlap("cat cat", "cat") == pytest.approx(2 / 3)
    assert questions.overlap("dog", "cat") == questions.overlap("", "cat") == 0


def test_the_likeliest_span_is_found_among_all_that_are_short_enough(monkeypatch):
    monkeypatch.setattr(questions, "LONGEST", 3)
    outputs = torch.randn(50, 18, generator=torch.Generator().manual_seed(0))
    for line, (first, last) in zip(outputs, questions.best_spans(outputs).tolist(), strict=True):
        spans = [(i, j) for i, j in itertools.product(range(9), range(9)) if i <= j < i + 3]
        sums = {(i, j): float(line[i] + line[9 + j]) for i, j in spans}
        assert (first, last) == max(sums, key=sums.get)


def test_the_loss_counts_no_answer_that_was_cut_off(raw):
    task = data.load("squad@dev")
    outputs = torch.randn(len(task.test), task.outputs, generator=torch.Generator().manual_seed(0))
    spans = torch.from_numpy(known(task).spans)[task.test.y.long()]
    there = spans[:, 0] >= 0
    begins, ends = outputs[there].unflatten(1, (2, -1)).log_softmax(2).unbind(1)
    lines = torch.arange(int(there.sum()))
    expected = -(begins[lines, spans[there, 0]] + ends[lines, spans[there, 1]]).mean() / 2
    assert float(task.metric.loss(outputs, task.test.y)) == pytest.approx(float(expected))


def test_a_net_answers_out_of_the_paragraph_alone(raw):
    task = data.load("squad@dev")
    model, x = tiny(task), task.test.x
    with torch.no_grad():
        begins, ends = model(x).unflatten(1, (2, -1)).unbind(1)
        longer = model(torch.cat([x, torch.zeros(len(x), 6, dtype=torch.long)], 1))
        elsewhere = torch.cat([x[:, :1], x[:, 2:], x[:, 1:2]], 1)
        assert not torch.allclose(model(x), model(elsewhere), atol=1e-3)
    second = (x == 102).cumsum(1) - (x == 102).long()
    possible = (second == 1) & (x != 102) & (x != 0)
    assert (begins[possible] > -1e3).all() and (begins[~possible] < -1e3).all()
    assert torch.equal(begins > -1e3, ends > -1e3)
    assert torch.allclose(longer.unflatten(1, (2, -1))[:, 0, :24], begins, atol=1e-4)
    model.kinds.weight.data[1] = torch.randn(32)            # the second text has a kind of its own
    with torch.no_grad():
        assert not torch.allclose(model(x)[:, :24][possible], begins[possible], atol=1e-3)


def test_a_net_learns_to_answer_and_goes_on_in_files_and_few_bits(raw):
    write(raw / "dev-v1.1.json", range(120))
    task = data.load("squad@dev")
    model = tiny(task, dropout=0.0)
    train.fit(model, task, epochs=15, lr=3e-3, batch_size=16, optimizer="adamw", seed=0)
    row, _ = measure.measure(model, task)
    assert (row.metric, row.metric2) == ("f1", "exact_match") and row.score > 45   # half are cut
    assert row.score_low <= row.score <= row.score_high and row.score2 <= row.score
    session = deploy.deployed(model, "fp32", task.calibration)
    assert train.evaluate(session, task).score == pytest.approx(row.score)
    small = quant.ptq(model, "gptq", bits=8, calibration=task.calibration)
    again, _ = measure.measure(small, task)
    assert again.score > row.score - 10
    lost = task.metric.paired(row.scores, again.scores, row.score)
    assert lost.mean() == pytest.approx(row.score - again.score, abs=1e-4)
    low, high = task.metric.paired_interval(lost)
    assert low <= lost.mean() <= high
    assert METRICS["f1"].total(row.scores) == pytest.approx(row.score)


def test_without_the_train_part_another_way_is_named(raw):
    with pytest.raises(data.DataError, match="train-v1.1.json.*squad@dev"):
        data.load("squad")
    write(raw / "train-v1.1.json", range(100, 160))
    task = data.load("squad")
    asked = known(task)
    assert len(task.test) == 2 * ARTICLES                   # the whole dev part
    assert all(asked.articles[number][0] == "train-v1.1.json" for number in
               asked.article[task.train.y.long().numpy()])
    assert 0 < len(task.val) < 2 * 20 and "tested on the authors' dev part" in task.source


def test_a_damaged_file_is_one_sentence(raw):
    for broken in ("{", '{"data": [{"title": "none"}]}', '{"data": []}', "[1]"):
        (raw / "dev-v1.1.json").write_text(broken)
        with pytest.raises(data.DataError, match="does not hold SQuAD"):
            data.load("squad@dev")


@pytest.mark.skipif("GREENBITS_MIRROR" not in os.environ, reason="needs the mirror")
def test_squad_is_the_authors():
    task = data.load("squad@dev")
    asked = known(task)
    assert len(asked.articles) == 48 and len(asked.ids) == 10570
    assert np.mean(asked.spans[:, 0] == questions.NOWHERE) < 0.02
    scores = task.score(perfect(task, task.test), task.test)
    assert 100 * float(scores.mean()) > 98


def test_of_long_texts_few_are_answered_at_once(raw, monkeypatch):
    """What attention holds grows with the square of a text's pieces, 24 here."""
    task, sizes = data.load("squad@dev"), []
    net = models.build("bert_tiny", task)
    net.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    whole = train.evaluate(net, task).outputs
    monkeypatch.setattr(train.evaluation, "MOST_PAIRS", 2 * 24**2)
    assert torch.allclose(train.evaluate(net, task).outputs, whole, atol=1e-6)
    assert sizes == [len(task.test), *[2] * (len(task.test) // 2)] and len(task.test) % 2 == 0
