"""Questions answered by a span of a paragraph: SQuAD 1.1 (Rajpurkar et al. 2016, 1606.05250)."""

import functools
import hashlib
import json
import re
import string
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lib.base.metric import METRICS
from lib.data import splits
from lib.data.catalogue import raw_files
from lib.data.sources import FILES, DataError, digest, fetch
from lib.data.task import Task

PIECES = 256                    # of a question and its paragraph; what is longer is cut
LONGEST = 30                    # pieces of an answer, as Devlin et al. 2018 (1810.04805)
TESTED, VALIDATES = 10, 4       # articles of the authors' dev part, where it is all there is
VALIDATES_OF_TRAIN = 20         # one in so many articles of their train part, where it is there
NOWHERE = -100                  # where an answer begins that was cut off: no loss counts it


@dataclass(frozen=True)
class Questions:
    """What is needed to judge answers, a line a question.

    places (n, PIECES, 2): where each piece begins and ends in its paragraph's text; paragraph (n,):
    which one of `paragraphs`; answers: those that count as right; spans (n, 2): first and last
    piece of the first of them, NOWHERE if it was cut off; article (n,): number of `articles`, each
    (its file, its title)."""

    ids: np.ndarray
    questions: list[str]
    places: np.ndarray
    paragraph: np.ndarray
    paragraphs: list[str]
    answers: list[list[str]]
    spans: np.ndarray
    article: np.ndarray
    articles: list[tuple[str, str]]

    def answered(self, outputs: Tensor, numbers: Tensor) -> list[str]:
        """The text that outputs (n, 2 · PIECES) answer to the questions of these numbers (n,)."""
        found = []
        for (first, last), number in zip(best_spans(outputs).tolist(), numbers.tolist(),
                                         strict=True):
            begins, ends = self.places[number, first, 0], self.places[number, last, 1]
            found.append(self.paragraphs[self.paragraph[number]][begins:ends])
        return found

    def judged(self, outputs: Tensor, numbers: Tensor, judge) -> np.ndarray:
        """How well each answer fits the one of those counted as right that it fits best; (n,)."""
        told = zip(self.answered(outputs, numbers), numbers.tolist(), strict=True)
        return np.array([max(judge(answer, right) for right in self.answers[number])
                         for answer, number in told], float)

    def f1(self, outputs: Tensor, y: Tensor, scale) -> np.ndarray:
        return self.judged(outputs, y.long(), overlap)

    def exact_match(self, outputs: Tensor, y: Tensor, scale) -> tuple[str, float]:
        """Percent of answers that are one of those counted as right, word by word."""
        same = self.judged(outputs, y.long(), lambda answer, right: words(answer) == words(right))
        return "exact_match", 100 * float(same.mean())

    def loss(self, outputs: Tensor, y: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Mean of the cross-entropies of an answer's first and its last piece, in nats."""
        spans = torch.from_numpy(self.spans)[y.long().cpu()].to(outputs.device)
        ends = outputs.unflatten(1, (2, -1))                    # (batch, 2, pieces)
        return F.cross_entropy(ends.transpose(1, 2), spans, ignore_index=NOWHERE,
                               label_smoothing=label_smoothing)


def load(name: str, variant: str | None, fold: int | None) -> Task:
    """squad: where in a paragraph is a question answered? Learnt from the authors' train part and
    tested on their dev part; squad@dev: both from their dev part, whose articles are divided, for
    where the train part cannot be had. Which articles do what is told by the hash of their titles.

    Inputs: (n, PIECES) numbers of the word pieces of the question, marked at its beginning and end,
    and of its paragraph; y: the question's number; outputs: (n, 2 · PIECES), how likely an answer
    begins, and ends, at each piece. A question whose answer was cut off is not learnt from, and is
    tested as all others are.
    """
    whole = name if variant is None else f"{name}@{variant}"
    files = raw_files(whole)
    try:
        keys = tuple(digest(file) for file in files)
    except DataError as error:
        if variant is None:
            raise DataError(f"{error} Or take squad@dev, which needs no train part.") from error
        raise
    try:
        asked = _questions(files, keys)
    except (ValueError, LookupError, TypeError, UnicodeDecodeError) as error:
        raise DataError(f"{fetch(files[0])} does not hold SQuAD 1.1 ({type(error).__name__}): "
                        "replace it by the authors' file.") from error
    rows = _rows(asked, files)
    part = ("tested on the authors' dev part" if variant is None else
            f"{len(asked.articles) - TESTED} of its articles to learn from and to validate, "
            f"{TESTED} to test")
    ref = [f"{question} – {right[0]}" for question, right in zip(
        asked.questions, asked.answers, strict=True)]
    task = splits.divide(whole, "text", asked.ids, np.arange(len(asked.ids)), rows,
                         scaling=(np.zeros(1), np.ones(1)), metric="f1", ref=ref,
                         source=f"{FILES[files[-2]].line}; {part}")
    metric = replace(METRICS["f1"], per_example=asked.f1, second=asked.exact_match,
                     loss=asked.loss)
    about = repr((task.hash, keys, LONGEST))
    return replace(task, outputs=2 * PIECES, metric=metric,
                   hash=hashlib.sha256(about.encode()).hexdigest())


def best_spans(outputs: Tensor) -> Tensor:
    """First and last piece (n, 2) of the likeliest span of at most LONGEST pieces: the highest sum
    of the output of its beginning and that of its end; outputs (n, 2 · pieces)."""
    begins, ends = outputs.unflatten(1, (2, -1)).unbind(1)
    pieces = begins.shape[1]
    best = torch.full((len(outputs),), -torch.inf)
    found = torch.zeros(len(outputs), 2, dtype=torch.long)
    for more in range(min(LONGEST, pieces)):                    # pieces behind the first
        value, first = (begins[:, :pieces - more] + ends[:, more:]).max(1)
        better = value > best
        best = torch.where(better, value, best)
        span = torch.stack([first, first + more], 1)
        found = torch.where(better[:, None], span, found)
    return found


def words(answer: str) -> list[str]:
    """The words of an answer that count: lower case, without punctuation and articles, as the
    authors' evaluate-v1.1.py has them."""
    bare = "".join(letter for letter in answer.lower() if letter not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", bare).split()


def overlap(answer: str, right: str) -> float:
    """F1 of the words of two answers: the harmonic mean of precision and recall."""
    given, wanted = words(answer), words(right)
    common = sum((Counter(given) & Counter(wanted)).values())
    return 2 * common / (len(given) + len(wanted)) if common else 0.0


def _rows(asked: Questions, files: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The numbers of the questions of the three parts, articles kept whole."""
    dev = np.array([file == files[-2] for file, _ in asked.articles])
    keys = np.array([int(hashlib.sha256(title.encode()).hexdigest(), 16)
                     for _, title in asked.articles], object)
    part = np.zeros(len(keys), int)                             # 0 train, 1 validation, 2 test
    if dev.all():
        order = np.argsort(keys)
        part[order[:TESTED]], part[order[TESTED:TESTED + VALIDATES]] = 2, 1
    else:
        part[(keys % VALIDATES_OF_TRAIN == 0).astype(bool)] = 1
        part[dev] = 2
    of_question = part[asked.article]
    learnt = (of_question == 0) & (asked.spans[:, 0] != NOWHERE)
    return (np.flatnonzero(learnt), np.flatnonzero(of_question == 1),
            np.flatnonzero(of_question == 2))


@functools.lru_cache(maxsize=1)
def _questions(files: tuple[str, ...], keys: tuple[str, ...]) -> Questions:
    """All questions of these files, of which the last is the vocabulary; kept by their hashes."""
    paragraphs, articles, asked = [], [], []
    for file in files[:-1]:
        for article in json.loads(fetch(file).read_text(encoding="utf-8"))["data"]:
            articles.append((file, article["title"]))
            for paragraph in article["paragraphs"]:
                paragraphs.append(paragraph["context"])
                asked += [(len(articles) - 1, len(paragraphs) - 1, one["question"],
                           one["answers"]) for one in paragraph["qas"]]
    about, paragraph, questions, answers = zip(*asked, strict=True)
    questions = [question.strip() for question in questions]
    pairs = list(zip(questions, (paragraphs[number] for number in paragraph), strict=True))
    ids, places, second = _encoded(pairs, fetch(files[-1]))
    spans = np.array([_span(places[i], second[i], one[0]) for i, one in enumerate(answers)])
    return Questions(ids, questions, places, np.array(paragraph), paragraphs,
                     [[one["text"] for one in right] for right in answers], spans,
                     np.array(about), articles)


def _encoded(pairs: list[tuple[str, str]], vocabulary: Path
             ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Numbers of word pieces (n, PIECES), where each begins and ends in its own text (n, PIECES, 2)
    and whether it is of the paragraph, (n, PIECES)."""
    from tokenizers.implementations import BertWordPieceTokenizer
    tokenizer = BertWordPieceTokenizer(str(vocabulary), lowercase=True)
    tokenizer.enable_truncation(PIECES, strategy="only_second")
    tokenizer.enable_padding(length=PIECES)
    encoded = tokenizer.encode_batch(pairs)
    return (np.array([one.ids for one in encoded], np.int64),
            np.array([one.offsets for one in encoded], np.int16),
            np.array([[of == 1 for of in one.sequence_ids] for one in encoded]))


def _span(places: np.ndarray, second: np.ndarray, answer: dict) -> tuple[int, int]:
    """First and last piece of an answer, or NOWHERE twice where its end was cut off."""
    begins, ends = answer["answer_start"], answer["answer_start"] + len(answer["text"])
    inside = np.flatnonzero(second & (places[:, 1] > begins) & (places[:, 0] < ends))
    if not len(inside) or places[inside[-1], 1] < ends:
        return NOWHERE, NOWHERE
    return int(inside[0]), int(inside[-1])
