"""Figures, tables and sentences on a page; what comes from data reaches it as text alone."""

import base64
import io
import re
import warnings
from collections.abc import Mapping
from html import escape

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import HTML, Markdown, display
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from lib.base import paths
from lib.page import inline
from lib.page.markup import CONTROL

MOST_BYTES = 300_000        # of a figure's SVG in a page; a larger one is shown as PNG
KINDS = ("measured", "modelled", "simulated")
OWN_NET = re.compile(r"module:[^:]*\.py:(\w+)")         # a reader's own net, as rows name it


def figure(drawn: Figure, name: str, caption: str, alt: str, saved: bool = True) -> None:
    """Save a figure under figures/<profile>/ as SVG and PNG, and show it with its caption.

    Each axis becomes a panel of its own, which flows: side by side on a screen, one below the other
    on a phone. name: file stem, "02_curves"; caption: what a reader should see, `names` in
    backticks become code; alt: the finding, for those who cannot see the picture; saved: False for
    a picture that another chapter has saved, which is only shown. ValueError for a name without a
    notebook's number, and for an empty alt.
    """
    if not re.fullmatch(r"\d\d_[a-z0-9_]+", name):
        raise ValueError(f"a figure's name is its notebook's number and words: {name!r}")
    if not alt.strip():
        raise ValueError(f"{name} has no alternative text: say in a sentence what it shows")
    for words in drawn.findobj(Text):
        words.set_text(short(words.get_text()))
    with warnings.catch_warnings():             # a name may hold any sign; a reader's fonts have it
        warnings.filterwarnings("ignore", "Glyph .* missing")
        svg = inline.compact(inline.svg(drawn, facecolor="white", bbox_inches="tight"))
        png = _png(drawn)
        shown = "".join(inline.panels(drawn, name))
    if saved:
        paths.write_atomic(paths.figure_folder() / f"{name}.svg", svg)
        paths.write_atomic(paths.figure_folder() / f"{name}.png", png)
    described = escape(short(alt), quote=True)
    plt.close(drawn)
    if len(shown) <= MOST_BYTES:
        picture = f'<div class="panels" role="img" aria-label="{described}">{shown}</div>'
    else:
        picture = (f'<img src="data:image/png;base64,{base64.b64encode(png).decode()}" '
                   f'alt="{described}">')
    display(HTML(f'<figure id="{name}">{picture}<figcaption>{_caption(caption)}</figcaption>'
                 "</figure>"))


def table(frame: pd.DataFrame, caption: str, digits: int = 2, fold: str = "",
          kinds: str | Mapping[str, str] = "", shade: pd.DataFrame | None = None) -> None:
    """A table with its caption; floats with `digits` decimals, a dash where there is nothing.

    fold: a line in whose place the table comes when a reader clicks on it; for long ones.
    kinds: measured, modelled or simulated, of the whole table or by column; said in its head.
    shade: same columns and length as `frame`, or fewer: 0 (none) to 1 (deepest) behind a cell.
    """
    by_column = dict.fromkeys(frame.columns, kinds) if isinstance(kinds, str) else kinds
    for kind in set(by_column.values()) - {""}:
        if kind not in KINDS:
            raise ValueError(f"a column is one of {', '.join(KINDS)}, not {kind!r}")
    if isinstance(kinds, str) and kinds:
        by_column, caption = {}, f"{caption.rstrip()} All of it is {kinds}."
    head = "".join(f'<th scope="col">{_html(column)}{_kind(by_column.get(column, ""))}</th>'
                   for column in frame.columns)
    columns = {column: _cells(frame[column], digits, shade) for column in frame.columns}
    body = "".join(f"<tr>{''.join(cells[i] for cells in columns.values())}</tr>"
                   for i in range(len(frame)))
    named = "data" if shade is None else "data heat"
    html = (f'<table class="{named}"><caption>{_caption(caption)}</caption>'
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")
    display(HTML(f'<div class="table">{html}</div>' if not fold else
                 f'<details class="table"><summary>{_caption(fold)}</summary>{html}</details>'))


def text(markdown: str) -> None:
    """Show computed sentences, as Markdown; a name from data is put into them by `plain`."""
    display(Markdown(short(markdown)))


def plain(name: object) -> str:
    """A name from data (a column, a class, a file) for Markdown: every sign in it is only a sign.

    >>> plain("a_b")
    'a&#95;b'
    """
    return "".join(sign if sign.isalnum() or sign == " " else f"&#{ord(sign)};"
                   for sign in CONTROL.sub("\ufffd", short(str(name))))


def short(words: str) -> str:
    """Words in which a reader's own net goes by its class.

    >>> short("digits module:mine/net.py:Net")
    'digits Net'
    """
    return OWN_NET.sub(r"\1", words)


def _html(value: object) -> str:
    """HTML of any text; what no page may hold (control characters) becomes \ufffd."""
    return escape(CONTROL.sub("\ufffd", short(str(value))))


def _caption(words: str) -> str:
    """HTML of a caption; `names` in backticks become code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", _html(words))


def _kind(kind: str) -> str:
    return f' <small class="kind">{kind}</small>' if kind else ""


def _cells(column: pd.Series, digits: int, shade: pd.DataFrame | None) -> list[str]:
    """The cells of a column as HTML."""
    shades = shade[column.name] if shade is not None and column.name in shade else None
    cells = []
    for i, value in enumerate(column):
        depth = 0.0 if shades is None or pd.isna(shades.iloc[i]) else float(shades.iloc[i])
        style_of = f' class="shaded" style="--depth: {depth:.2f}"' if depth > 0 else ""
        cells.append(f"<td{style_of}>{_html(_words(value, digits))}</td>")
    return cells


def _words(value: object, digits: int) -> str:
    """A value as people read it: 91.75, 5,472, yes, –."""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, int | np.integer):
        return f"{value:,}"
    if isinstance(value, float | np.floating) and np.isfinite(value):
        return f"{value:z,.{digits}f}"
    if value is None or value is pd.NA or value is pd.NaT or isinstance(value, float):
        return "–" if pd.isna(value) else str(value)
    return str(value)


def _png(drawn: Figure) -> bytes:
    """The figure as a picture of 256 colours: a third of the bytes."""
    file, small = io.BytesIO(), io.BytesIO()
    drawn.savefig(file, format="png", metadata={"Software": None}, facecolor="white",
                  bbox_inches="tight")
    Image.open(file).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(
        small, "png", optimize=True)
    return small.getvalue()
