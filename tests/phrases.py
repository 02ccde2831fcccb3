"""Phrases that no reader sees: each has an ordinary technical term in its place."""

import re

# Patterns, with word boundaries around each; what stands in their place.
PHRASES = {
    r"as[ -]trained": "baseline (FP32)", r"untouched": "baseline (FP32)",
    r"the (net|network|model) itself": "baseline (FP32)",
    r"rounded (nets?|networks?|models?|weights?)": "quantized",
    r"written down with fewer bits": "quantized", r"rounding alone": "post-training quantization",
    r"nothing (is|was) (learnt|learned) anew": "post-training quantization",
    r"trained through": "quantization-aware training",
    r"trained on(?=\s*[,.;:)]|\s+(for|by|with|against|at|or|as long)\b)": "fine-tuned",
    r"trained anew": "trained from scratch", r"points? lost": "accuracy loss",
    r"what it costs": "accuracy loss",
    r"offered": "recommended", r"taken along": "recommended", r"takes? along": "exported models",
    r"chosen on": "selected on", r"read on": "evaluated on", r"alike": "the same; selected on",
    r"small from the start": "smaller dense model", r"files? of (floats|static|dynamic|8 bits)":
    "FP32 / INT8 ONNX model", r"of (static|dynamic) int8": "INT8 (static, dynamic)",
    r"(an|each|every) answer takes": "latency", r"joules of an answer": "energy per inference",
    r"(won|paid) back": "break-even",
    r"(cannot|can't|not) be told apart": "equivalent or inconclusive",
    r"no difference told": "inconclusive", r"surely (more|less|higher|lower|better|worse)":
    "significantly", r"rungs?": "variant", r"right and in time": "on-time accuracy",
    r"clairvoyant": "look-ahead", r"generali[sz]es": "reproduced, holds",
    r"stand-?ins?": "undecided, not testable", r"artefacts?": "does not hold",
    r"(?<!needs )3 levels": "ternary",
    r"(test|validation|training) parts?": "test set, validation set",
}
PATTERN = re.compile(r"(?<![\w-])(?:" + "|".join(PHRASES) + r")(?![\w-])", re.IGNORECASE)


def found(text: str) -> list[str]:
    """Each phrase in a text, with some words around it."""
    return [text[max(0, match.start() - 40):match.end() + 40].replace("\n", " ").strip()
            for match in PATTERN.finditer(text)]
