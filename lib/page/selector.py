"""The report's first screen and its selector: four choices, one answer, from a list of answers."""

import re
from collections.abc import Sequence
from html import escape

from lib.page.side import embedded, environment

CHOICES = (("kind", "I have"), ("goal", "I need"), ("loss", "I allow"), ("training", "training:"))
TEXTS = ("technique", "sentence", "cost", "python", "yaml", "evidence")


def html(answers: Sequence[dict], default: dict[str, str] | None = None) -> str:
    """The selector with the answer to `default` shown, and every answer in a folded table.

    answers: kind, goal, loss, training (the texts of the four choices, in the order in which they
    are offered), technique, sentence, cost, python, yaml, evidence (href), and networks: [{network,
    change, loss, kept}]. default: by kind, goal, loss and training; the first answer if left out.
    ValueError for a default or an answer that is missing, and for two answers to one choice.
    """
    keys = [tuple(answer[name] for name, _ in CHOICES) for answer in answers]
    if len(set(keys)) < len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"two answers to one choice: {', '.join(twice)}")
    chosen = default or dict(zip([name for name, _ in CHOICES], keys[0], strict=True))
    shown = next((answer for answer, key in zip(answers, keys, strict=True)
                  if key == tuple(chosen[name] for name, _ in CHOICES)), None)
    if shown is None:
        raise ValueError(f"no answer to the default choice {', '.join(chosen.values())}")
    choices = [{"name": name, "before": before,
                "options": list(dict.fromkeys(answer[name] for answer in answers))}
               for name, before in CHOICES]
    filled = [{name: "" for name in TEXTS} | answer for answer in answers]
    return environment().get_template("selector.html.j2").render(
        answers=filled, choices=choices, chosen=chosen, data=embedded(filled),
        answer=filled[list(answers).index(shown)])


# Terms of the first screen, linked where they first stand, to their entries of the glossary.
TERMS = {"squared error": "relative-squared-error", "GPTQ": "gptq", " pp": "accuracy-loss",
         "95 % CI": "confidence-interval", "ternary": "ternary",
         "post-training quantization": "ptq", "Quantization-aware training": "qat",
         "magnitude pruning": "magnitude_l1", "modelled energy": "energy-per-inference",
         "FP32": "baseline", "INT8 files": "static"}


def opening(sentences: Sequence[str], figures: Sequence[tuple[str, str]]) -> str:
    """The report's answer: sentences (`**bold**` in them), and beside them big numbers with one
    line each."""
    said = re.sub(r"[*]{2}(.+?)[*]{2}", r"<strong>\1</strong>",
                  "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences))
    for term, entry in TERMS.items():
        said = said.replace(term, f'<a href="glossary.html#{entry}">{term}</a>', 1)
    cards = "".join(f"<li><b>{escape(number)}</b> <span>{escape(line)}</span></li>"
                    for number, line in figures)
    return (f'<div class="opening"><ul class="findings">{said}</ul>'
            f'<ul class="key">{cards}</ul></div>')
