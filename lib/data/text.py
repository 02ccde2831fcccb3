"""Sentences as word pieces of BERT's vocabulary: SST-2 and CoLA of GLUE."""

import csv
import functools
import hashlib
import io
from pathlib import Path

import numpy as np

from lib.data import splits
from lib.data.catalogue import RAW_FILES
from lib.data.sources import FILES, DataError, digest, fetch, member
from lib.data.task import Task

PIECES = 64                     # of a sentence, its beginning and end marked; what is longer is cut
VALIDATES = {"sst2": 20, "cola": 10}    # one in so many sentences of the authors' training part
CLASSES = {"sst2": ("negative", "positive"), "cola": ("unacceptable", "acceptable")}
METRIC = {"sst2": "accuracy", "cola": "mcc"}                        # GLUE's
FOLDERS = {"sst2": "SST-2", "cola": "CoLA"}
NAMED = {"cola": ["source", "label", "mark", "sentence"]}           # columns without a heading


def load(name: str, variant: str | None, fold: int | None) -> Task:
    """sst2: is a phrase of a film review positive? cola: is a sentence grammatical? Tested on the
    authors' dev part, since they keep the answers of their test part. Some of their training part
    validate, chosen by a sentence's hash, so that one that comes twice is in one part; but parts of
    one sentence of sst2 are phrases of their own, so validation flatters. Inputs: (n, PIECES)
    numbers of word pieces, 0 where there is none."""
    file, vocabulary = RAW_FILES[name]
    try:
        ids, labels, rows, sentences = _glue(name, digest(file), vocabulary, digest(vocabulary))
    except (ValueError, LookupError, UnicodeDecodeError) as error:
        raise DataError(f"{fetch(file)} does not hold {name} ({type(error).__name__}): replace it "
                        "by the authors' file.") from error
    return splits.divide(name, "text", ids, labels, rows, classes=CLASSES[name],
                         scaling=(np.zeros(1), np.ones(1)), metric=METRIC[name], ref=sentences,
                         source=f"{FILES[file].line}; tested on the authors' dev part")


def encoded(sentences: list[str], vocabulary: Path, pieces: int = PIECES) -> np.ndarray:
    """Sentences as numbers of word pieces, (n, pieces) int64: lower case, its beginning and end
    marked, 0 where it has ended (Devlin et al. 2018, 1810.04805)."""
    from tokenizers.implementations import BertWordPieceTokenizer
    tokenizer = BertWordPieceTokenizer(str(vocabulary), lowercase=True)
    tokenizer.enable_truncation(pieces)
    tokenizer.enable_padding(length=pieces)
    return np.array([one.ids for one in tokenizer.encode_batch(sentences)], np.int64)


@functools.lru_cache(maxsize=1)
def _glue(name: str, key: str, vocabulary: str, vocabulary_key: str
          ) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, ...], list[str]]:
    """Word pieces, labels, the rows of the three parts, and the sentences themselves; kept under
    the files' hashes."""
    learnt, tested = (_table(name, part) for part in ("train", "dev"))
    sentences = [sentence for sentence, _ in learnt + tested]
    labels = np.array([int(label) for _, label in learnt + tested])
    hashes = [hashlib.sha256(sentence.encode()).hexdigest() for sentence, _ in learnt]
    validates = np.array([int(one, 16) % VALIDATES[name] == 0 for one in hashes])
    rows = (np.flatnonzero(~validates), np.flatnonzero(validates),
            np.arange(len(learnt), len(sentences)))
    return encoded(sentences, fetch(vocabulary)), labels, rows, sentences


def _table(name: str, part: str) -> list[tuple[str, str]]:
    """Sentence and label of each line of a table."""
    text = member(RAW_FILES[name][0], f"{FOLDERS[name]}/{part}.tsv").decode("utf-8")
    lines = csv.DictReader(io.StringIO(text), fieldnames=NAMED.get(name), delimiter="\t",
                           quoting=csv.QUOTE_NONE)
    return [(line["sentence"].strip(), line["label"]) for line in lines]
