"""A figure as SVG that can stand in a page: a panel an axis, text as text, colours of the page."""

import io
import re
from xml.etree import ElementTree

from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from lib.page.colors import COLORS
from lib.page.markup import CONTROL

LEAST_MARGIN = 0.03         # inches
PIXELS = 4 / 3              # of a page, in a point of a figure
DROPPED = ("metadata", "style", "title")        # elements that a page has no use for
PLACES = ("d", "x", "y", "transform", "width", "height", "points")
PAINTS = ("style", "clip-path", "fill", "stroke")
VARIABLES = {light: f"var(--{name}, {light})" for name, (light, _) in COLORS.items()}
# On the page's ground; without a page (in JupyterLab) on white, for which the colours were chosen.
ROOT_STYLE = ("background: var(--ground, #fff); max-width: 100%; height: auto; overflow: visible; "
              "stroke-linejoin: round; stroke-linecap: butt; font-family: sans-serif")


def svg(figure: Figure, **options) -> str:
    """The figure as SVG without control characters, which XML may not hold, and without the hour of
    its making. options: of `Figure.savefig`."""
    file = io.BytesIO()
    figure.savefig(file, format="svg", metadata={"Date": None}, **options)
    return CONTROL.sub("\ufffd", file.getvalue().decode())


def panels(figure: Figure, name: str) -> list[str]:
    """Each axis (and a figure's own legend) as an SVG of its own; all axes with the same margins,
    so that panels one below the other stand in line. name: unique on the page."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")            # nothing moves while the others are hidden
    inches = figure.dpi_scale_trans.inverted()
    axes = [axis for axis in figure.axes if axis.get_visible()]
    parts = [*figure.legends, *axes]
    boxes = [part.get_window_extent().transformed(inches) for part in parts]
    tight = [axis.get_tightbbox().transformed(inches) for axis in axes]
    margins = [max([LEAST_MARGIN, *(sign * (getattr(inner, side) - getattr(outer, side))
                                    for outer, inner in zip(tight, boxes[-len(axes):],
                                                            strict=True))])
               for side, sign in (("x0", 1), ("y0", 1), ("x1", -1), ("y1", -1))]
    found = []
    for number, (part, box) in enumerate(zip(parts, boxes, strict=True), 1):
        for other in parts:
            other.set_visible(other is part)
        legend = part in figure.legends
        left, below, right, above = [LEAST_MARGIN] * 4 if legend else margins
        cut = Bbox.from_extents(box.x0 - left, box.y0 - below, box.x1 + right, box.y1 + above)
        panel = in_page(svg(figure, facecolor="none", bbox_inches=cut), f"{name}-{number}")
        found.append(f'<div class="legend">{panel}</div>' if legend else panel)
    return found


def in_page(source: str, prefix: str) -> str:
    """An SVG file for a page: ids with a prefix, colours as the page's variables, no name spaces.

    An element of gid "halo" gets the class halo, one of gid "tip:…" these words as its `data-tip`.
    """
    root = ElementTree.fromstring(source.encode())
    wanted = set(re.findall(r'(?:url\(#|href="#)([\w-]+)', source))     # something refers to them
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.rpartition("}")[2] in DROPPED:
                parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        attributes = {key.rpartition("}")[2]: value for key, value in element.attrib.items()}
        element.attrib.clear()
        identity = attributes.pop("id", "")
        if identity in wanted:
            element.set("id", f"{prefix}-{identity}")
        elif identity == "halo":
            element.set("class", "halo")
        elif identity.startswith("tip:"):
            element.set("data-tip", identity.removeprefix("tip:"))
        for key, value in attributes.items():
            if written := _attribute(key, value, prefix):
                element.set(key, written)
    width = float(root.attrib["viewBox"].split()[2]) * PIXELS
    root.attrib = {"viewBox": root.attrib["viewBox"], "width": f"{width:.0f}", "style": ROOT_STYLE}
    text = ElementTree.tostring(root, encoding="unicode").replace("\n", "")
    return re.sub(r">\s+<", "><", text)


def _attribute(key: str, value: str, prefix: str) -> str:
    if key == "href":
        return re.sub("^#", f"#{prefix}-", value)
    if key in PLACES:
        short = re.sub(r"\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}", value)
        return "" if value.startswith("rotate(-0 ") else short      # hundredths of a point are seen
    if key in PAINTS:
        value = re.sub("font-family: [^;]*; ?", "", value)
        value = value.replace("url(#", f"url(#{prefix}-")
        return re.sub("#[0-9a-f]{6}", lambda color: VARIABLES.get(color[0], color[0]), value)
    return value
