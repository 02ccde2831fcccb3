"""Figures, tables and sentences on a page; what comes from data reaches it as text, never as markup."""

import base64
import io
import re
import warnings
from collections.abc import Mapping
from html import escape
from xml.etree import ElementTree

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import HTML, Markdown, display
from matplotlib.figure import Figure
from PIL import Image

from lib.base import paths
from lib.page.colors import COLORS
from lib.page.markup import CONTROL

MOST_BYTES = 300_000        # of a figure's SVG in a page; a larger one is shown as PNG
LEAST_MARGIN = 0.03         # inches
KINDS = ("measured", "modelled", "simulated")
VARIABLES = {light: f"var(--{name}, {light})" for name, (light, _) in COLORS.items()}


def figure(drawn: Figure, name: str, caption: str, alt: str) -> None:
    """Save a figure under figures/<profile>/ as SVG and PNG, and show it with its caption.

    Each axis becomes a panel of its own, which flows: side by side on a screen, one below the other
    on a phone. name: file stem, "02_curves"; caption: what a reader should see, `names` in
    backticks become code; alt: the finding, for those who cannot see the picture. ValueError for a
    name without a notebook's number, and for an empty alt.
    """
    if not re.fullmatch(r"\d\d_[a-z0-9_]+", name):
        raise ValueError(f"a figure's name is its notebook's number and words: {name!r}")
    if not alt.strip():
        raise ValueError(f"{name} has no alternative text: say in a sentence what it shows")
    with warnings.catch_warnings():             # a name may hold any sign; a reader's fonts have it
        warnings.filterwarnings("ignore", "Glyph .* missing")
        svg, png = _svg(drawn), _few_colors(_saved(drawn, "png"))
        shown = "".join(_panels(drawn, name))
    for kind, content in (("svg", svg), ("png", png)):
        paths.write_atomic(paths.figure_folder() / f"{name}.{kind}", content)
    described = escape(alt, quote=True)
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
    display(Markdown(markdown))


def plain(name: object) -> str:
    """A name from data (a column, a class, a file) for Markdown: every sign in it is only a sign.

    >>> plain("a_b")
    'a&#95;b'
    """
    return "".join(sign if sign.isalnum() or sign == " " else f"&#{ord(sign)};"
                   for sign in CONTROL.sub("\ufffd", str(name)))


def _html(value: object) -> str:
    """HTML of any text; what no page may hold (control characters) becomes \ufffd."""
    return escape(CONTROL.sub("\ufffd", str(value)))


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


def _svg(drawn: Figure, **options) -> str:
    """The figure as SVG, without the control characters that XML may not hold."""
    return CONTROL.sub("\ufffd", _saved(drawn, "svg", **options).decode())


def _saved(drawn: Figure, kind: str, **options) -> bytes:
    """The figure as a file, on white unless told otherwise; without the hour of its making."""
    file, when = io.BytesIO(), {"svg": {"Date": None}, "png": {"Software": None}}[kind]
    drawn.savefig(file, format=kind, metadata=when,
                  **{"facecolor": "white", "bbox_inches": "tight"} | options)
    return file.getvalue()


def _few_colors(png: bytes) -> bytes:
    """The same picture with 256 colours: a third of the bytes."""
    small = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(
        small, "png", optimize=True)
    return small.getvalue()


def _panels(drawn: Figure, name: str) -> list[str]:
    """Each axis (and a figure's own legend) as an SVG of its own; all axes with the same margins,
    so that panels one below the other stand in line."""
    drawn.draw_without_rendering()
    drawn.set_layout_engine("none")             # nothing moves while the others are hidden
    inches = drawn.dpi_scale_trans.inverted()
    parts = [*drawn.legends, *(axis for axis in drawn.axes if axis.get_visible())]
    tight = [part.get_tightbbox().transformed(inches) for part in parts]
    inner = [part.get_window_extent().transformed(inches) for part in parts]
    margins = _margins(tight[len(drawn.legends):], inner[len(drawn.legends):])
    found = []
    for number, (part, box) in enumerate(zip(parts, inner, strict=True), 1):
        for other in parts:
            other.set_visible(other is part)
        left, below, right, above = margins if part in drawn.axes else [LEAST_MARGIN] * 4
        cut = box.from_extents(box.x0 - left, box.y0 - below, box.x1 + right, box.y1 + above)
        panel = _inline(_svg(drawn, facecolor="none", bbox_inches=cut), f"{name}-{number}")
        found.append(panel if part in drawn.axes else f'<div class="legend">{panel}</div>')
    return found


def _margins(tight: list, inner: list) -> list[float]:
    """What labels take around axes, the most of all: left, below, right, above; inches."""
    most = []
    for side, sign in (("x0", 1), ("y0", 1), ("x1", -1), ("y1", -1)):
        around = [sign * (getattr(axis, side) - getattr(box, side))
                  for box, axis in zip(tight, inner, strict=True)]
        most.append(max([LEAST_MARGIN, *around]))
    return most


def _inline(svg: str, prefix: str) -> str:
    """An SVG that can stand in a page: ids of its own, the page's colours, no more than it needs."""
    root = ElementTree.fromstring(svg.encode())
    links = re.findall(r'(?:url\(#|href="#)([\w-]+)', svg)
    for parent in root.iter():
        for child in list(parent):
            if child.tag.endswith(("}metadata", "}style", "}title")):
                parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        for key in list(element.attrib):
            value = element.attrib.pop(key)
            key = key.rpartition("}")[2]
            if key == "id":
                key = "class" if value == "halo" else "id"
                value = f"{prefix}-{value}" if value in links else value if value == "halo" else None
            elif key == "href":
                value = re.sub("^#", f"#{prefix}-", value)
            elif key in ("d", "x", "y", "transform", "width", "height", "points"):
                value = re.sub(r"\d+\.\d{3,}", lambda m: f"{float(m[0]):.2f}", value)
            elif key in ("style", "clip-path", "fill", "stroke"):
                value = value.replace("url(#", f"url(#{prefix}-")
                value = re.sub("#[0-9a-f]{6}", lambda m: VARIABLES.get(m[0], m[0]), value)
            if value is not None and key not in ("version", "type"):
                element.set(key, value)
    width = float(root.attrib["viewBox"].split()[2]) * 4 / 3    # points -> pixels of the page
    root.attrib = {"viewBox": root.attrib["viewBox"], "width": f"{width:.0f}", "style":
                   "background: var(--ground, #fff); max-width: 100%; height: auto; "
                   "stroke-linejoin: round; stroke-linecap: butt"}
    return ElementTree.tostring(root, encoding="unicode").replace("\n", "")
