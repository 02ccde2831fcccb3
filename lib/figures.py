"""Tables become figures: the house style, captions, alternative text."""

import base64
import io
import re
from html import escape

import matplotlib
import pandas as pd
import seaborn as sns
from IPython.display import HTML, display
from matplotlib.figure import Figure

from lib import paths

PALETTE = "colorblind"
WIDTH = 7.2                 # inches; about the text's width in the report

matplotlib.rcParams["svg.hashsalt"] = "greenbits"       # the same figure is the same file
sns.set_theme(context="notebook", style="whitegrid", palette=PALETTE, rc={
    "figure.figsize": (WIDTH, 4.2), "figure.dpi": 110, "savefig.dpi": 160,
    "axes.spines.top": False, "axes.spines.right": False, "axes.titleweight": "bold",
    "axes.titlelocation": "left", "axes.titlesize": 12, "grid.color": "#e6e6e6",
    "legend.frameon": False, "font.size": 10.5, "figure.constrained_layout.use": True})


def show(figure: Figure, name: str, caption: str, alt: str) -> None:
    """Save a figure as PNG and SVG under figures/<profile>/ and show it with its caption.

    name: file stem, "02_curves"; caption: what a reader should see, numbers formatted from tables;
    alt: what the picture shows, for those who cannot see it.
    """
    if not re.fullmatch(r"\d\d_[a-z0-9_]+", name):
        raise ValueError(f"a figure's name is its notebook's number and words: {name!r}")
    files = {}
    for kind in ("png", "svg"):
        buffer = io.BytesIO()
        metadata = {"Date": None} if kind == "svg" else {"Software": None}
        figure.savefig(buffer, format=kind, metadata=metadata, bbox_inches="tight")
        files[kind] = buffer.getvalue()
        paths.write_atomic(paths.figure_folder() / f"{name}.{kind}", files[kind])
    matplotlib.pyplot.close(figure)
    image = base64.b64encode(files["png"]).decode()
    display(HTML(f'<figure id="{name}"><img src="data:image/png;base64,{image}" '
                 f'alt="{escape(alt, quote=True)}"><figcaption>{escape(caption)}</figcaption>'
                 "</figure>"))


def show_table(frame: pd.DataFrame, caption: str, digits: int = 2) -> None:
    """A table with its caption; floats with `digits` decimals, missing values as a dash."""
    html = frame.to_html(index=False, border=0, na_rep="–", classes="data",
                         float_format=lambda v: f"{v:.{digits}f}")
    html = html.replace(">", f"><caption>{escape(caption)}</caption>", 1)
    display(HTML(f'<div class="table">{html}</div>'))
