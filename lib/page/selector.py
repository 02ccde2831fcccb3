"""The report's first screen and its selector: four choices, one answer, from a list of answers."""

import re
from collections.abc import Sequence

from lib.page.side import embedded, environment, terms

CHOICES = (("kind", "I have"), ("goal", "I need"), ("loss", "I allow"), ("training", "training:"))
TEXTS = ("technique", "sentence", "cost", "python", "yaml", "evidence")


def html(answers: Sequence[dict], default: dict[str, str] | None = None) -> str:
    """The selector with the answer to `default` shown, and every answer in a folded table.

    answers: kind, goal, loss, training (the texts of the four choices, in the order in which they
    are listed), technique, sentence, cost, python, yaml, evidence (href), and networks: [{network,
    change, loss, kept}]. default: by kind, goal, loss and training; the first answer if left out.
    ValueError for a default or an answer that is missing, and for two answers to one choice.
    """
    filled = [dict.fromkeys(TEXTS, "") | answer for answer in answers]
    by_choice: dict[tuple, dict] = {}
    for answer in filled:
        key = tuple(answer[name] for name, _ in CHOICES)
        if key in by_choice:
            raise ValueError(f"two answers to one choice: {', '.join(key)}")
        by_choice[key] = answer
    chosen = default or {name: filled[0][name] for name, _ in CHOICES}
    shown = by_choice.get(tuple(chosen[name] for name, _ in CHOICES))
    if shown is None:
        raise ValueError(f"no answer to the default choice {', '.join(chosen.values())}")
    choices = [{"name": name, "before": before,
                "options": list(dict.fromkeys(answer[name] for answer in answers))}
               for name, before in CHOICES]
    return environment().get_template("selector.html.j2").render(
        answers=filled, choices=choices, chosen=chosen, data=embedded(filled), answer=shown)


def opening(sentences: Sequence[str], figures: Sequence[tuple[str, str]]) -> str:
    """The report's answer: sentences (`**bold**` in them, terms linked to the glossary), and
    beside them big numbers with one line each."""
    template = environment().get_template("opening.html.j2")
    html = re.sub(r"[*]{2}(.+?)[*]{2}", r"<strong>\1</strong>",
                  template.render(sentences=sentences, figures=figures))
    said, end, key = html.partition("</ul>")
    for entry in (one for part in terms()["parts"].values() for one in part if "first" in one):
        link = f'<a href="glossary.html#{entry["id"]}">{entry["first"]}</a>'
        said = said.replace(entry["first"], link, 1)
    return said + end + key
