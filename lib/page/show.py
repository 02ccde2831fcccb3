"""Figures, tables and sentences on a page; what comes from data reaches it as text alone."""

import re
import warnings
from collections.abc import Iterable, Mapping
from html import escape

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import HTML, Markdown, display
from matplotlib.figure import Figure
from matplotlib.text import Text

from lib.base import paths
from lib.base.said import duration
from lib.page import inline, words
from lib.page.markup import CONTROL
from lib.tables.store import provenance

MOST_LINES = 12             # of a table that stands open
KINDS = ("measured", "modelled", "simulated")
OWN_NET = re.compile(r"module:[^:]*\.py:(\w+)")         # a reader's own net, as rows name it


def figure(drawn: Figure, name: str, finding: str, caption: str, fold: str = "") -> None:
    """Save a figure under figures/<profile>/ as SVG, and show it with its finding, a panel an axis.

    name: file stem, "02_curves"; finding: the sentence that the figure shows, its title and its
    alternative text; caption: what is plotted and how to read it (`names` in backticks become code
    in both); fold: a line that opens the figure when a reader clicks on it. ValueError for a name
    without a notebook's number, and for an empty finding.
    """
    if not re.fullmatch(r"\d\d_[a-z0-9_]+", name):
        raise ValueError(f"a figure's name is its notebook's number and words: {name!r}")
    if not finding.strip():
        raise ValueError(f"{name} has no finding: say in a sentence what it shows")
    for said in drawn.findobj(Text):
        said.set_text(short(said.get_text()))
    with warnings.catch_warnings():             # a name may hold any sign; a reader's fonts have it
        warnings.filterwarnings("ignore", "Glyph .* missing")
        svg = inline.svg(drawn, facecolor="white", bbox_inches="tight")
        shown = "".join(inline.panels(drawn, name))
    profile = "full" if paths.profile() == "published" else paths.profile()
    paths.write_atomic(paths.FIGURES / profile / f"{name}.svg", svg)
    described = escape(short(finding).replace("`", ""), quote=True)
    plt.close(drawn)
    picture = f'<div class="panels" role="img" aria-label="{described}">{shown}</div>'
    html = (f'<figure id="{name}"><p class="finding">{_caption(finding)}</p>{picture}'
            f"<figcaption>{_caption(caption)}</figcaption></figure>")
    display(HTML(html if not fold else
                 f"<details><summary>{_caption(fold)}</summary>{html}</details>"))


def table(frame: pd.DataFrame, caption: str, digits: int = 2, fold: str = "",
          kinds: str | Mapping[str, str] = "", most: int = MOST_LINES) -> None:
    """A table with its caption; floats with `digits` decimals, a dash where there is nothing.

    fold: a line that opens the table when a reader clicks on it; one of more than `most` lines is
    folded without, under the first sentence of its caption.
    kinds: measured, modelled or simulated, of the whole table or by column; said in its head.
    """
    by_column = {} if isinstance(kinds, str) else kinds
    for kind in {kinds} - {""} if isinstance(kinds, str) else set(kinds.values()) - {""}:
        if kind not in KINDS:
            raise ValueError(f"a column is one of {', '.join(KINDS)}, not {kind!r}")
    if isinstance(kinds, str) and kinds:
        caption = f"{caption.rstrip()} All of it is {kinds}."
    kind = {name: f' <small class="kind">{of}</small>' for name, of in by_column.items() if of}
    head = "".join(f'<th scope="col">{_html(column)}{kind.get(column, "")}</th>'
                   for column in frame.columns)
    columns = [[f"<td>{_html(_value(value, digits))}</td>" for value in frame[column]]
               for column in frame.columns]
    body = "".join(f"<tr>{''.join(line)}</tr>" for line in zip(*columns, strict=True))
    if not fold and len(frame) > most:
        fold = f"{re.split(r'[.:](?: |$)', caption)[0]} ({len(frame)} lines)"
    html = (f'<table class="data"><caption>{_caption(caption)}</caption>'
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")
    display(HTML(f'<div class="table">{html}</div>' if not fold else
                 f'<details class="table"><summary>{_caption(fold)}</summary>{html}</details>'))


def text(markdown: str) -> None:
    """Show computed sentences, as Markdown; a name from data is put into them by `plain`."""
    display(Markdown(short(markdown)))


def findings(sentences: Iterable[str]) -> None:
    """A chapter's findings as a list; **bold**, `code` and names made `plain` are understood."""
    lines = "".join(f"<li>{_sentence(one)}</li>" for one in sentences)
    display(HTML(f'<ul class="findings">{lines}</ul>'))


def box(chapter: str, varies: str, held: str, measured: str) -> None:
    """What an experiment varies, holds constant and measures; and from the provenance of the
    chapter's last run its hardware, date and duration, where it was run."""
    lines = {"Varies": varies, "Held constant": held, "Measured": measured}
    if run := provenance(chapter):
        machine, seconds = run.get("hardware", {}), run.get("work_seconds", run.get("seconds"))
        cores, gpu = words.count(int(machine.get("cores", 1)), "core"), machine.get("gpu", "none")
        parts = (str(machine.get("processor", "")), cores, "" if gpu == "none" else gpu)
        lines |= {"Hardware": ", ".join(filter(None, parts)),
                  "Date": str(run.get("ended", ""))[:10],
                  "Computing time": "" if seconds is None else duration(seconds)}
    terms = "".join(f"<dt>{term}</dt><dd>{_sentence(said)}</dd>" for term, said in lines.items()
                    if said)
    display(HTML(f'<dl class="box">{terms}</dl>'))


def missing(what: str, chapter: str) -> None:
    """One line in place of a table that is not among the published ones."""
    text(f"*{plain(what)} was not saved by the published run; `./run_all.sh full {chapter[:2]}` "
         "makes it.*")


def plain(name: object) -> str:
    """A name from data for Markdown, where every sign in it is only a sign: "a&#95;b" for a_b."""
    return "".join(sign if sign.isalnum() or sign == " " else f"&#{ord(sign)};"
                   for sign in CONTROL.sub("\ufffd", short(str(name))))


def short(said: str) -> str:
    """Words in which a reader's own net goes by its class: "Net" for "module:mine/net.py:Net"."""
    return OWN_NET.sub(r"\1", said)


def _html(value: object) -> str:
    """HTML of any text; what no page may hold (control characters) becomes \ufffd."""
    return escape(CONTROL.sub("\ufffd", short(str(value))))


def _caption(said: str) -> str:
    """HTML of a caption; `names` in backticks become code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", _html(said))


def _sentence(said: str) -> str:
    """HTML of a sentence: `code`, **bold**, and the entities of `plain`, which are only signs."""
    strong = re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", _caption(said))
    return re.sub(r"&amp;(#\d+;)", r"&\1", strong)


def _value(value: object, digits: int) -> str:
    """A value as people read it: 91.75, 5,472, −0.3, yes, –."""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, int | np.integer):
        return words.fixed(int(value), 0)
    if isinstance(value, float | np.floating) and np.isfinite(value):
        return words.fixed(float(value), digits)
    return words.NONE if np.ndim(value) == 0 and pd.isna(value) else str(value)
