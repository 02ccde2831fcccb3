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
SPACES = {"": "http://www.w3.org/2000/svg", "xlink": "http://www.w3.org/1999/xlink"}
VARIABLES = {light: f"var(--{name}, {light})" for name, (light, _) in COLORS.items()}
# On the page's ground; without a page (in JupyterLab) on white, for which the colours were chosen.
ROOT_STYLE = ("background: var(--ground, #fff); max-width: 100%; height: auto; overflow: visible; "
              "stroke-linejoin: round; stroke-linecap: butt; font-family: sans-serif")


def svg(figure: Figure, **options) -> str:
    """The figure as SVG, without the control characters that XML may not hold, and without the hour
    of its making. options: of `Figure.savefig`."""
    file = io.BytesIO()
    figure.savefig(file, format="svg", metadata={"Date": None}, **options)
    return CONTROL.sub("\ufffd", file.getvalue().decode())


def compact(source: str) -> str:
    """An SVG file without names that nothing refers to, with places to hundredths."""
    for name, space in SPACES.items():
        ElementTree.register_namespace(name, space)
    root, wanted = ElementTree.fromstring(source.encode()), _referred(source)
    _drop(root, ("metadata",))
    for element in root.iter():
        if element.get("id") not in wanted:
            element.attrib.pop("id", None)
        for key in PLACES:
            if key in element.attrib:
                element.set(key, _rounded(element.get(key)))
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def panels(figure: Figure, name: str) -> list[str]:
    """Each axis (and a figure's own legend) as an SVG of its own; all axes with the same margins,
    so that panels one below the other stand in line. name: unique on the page."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")            # nothing moves while the others are hidden
    inches = figure.dpi_scale_trans.inverted()
    parts = [*figure.legends, *(axis for axis in figure.axes if axis.get_visible())]
    boxes = [part.get_window_extent().transformed(inches) for part in parts]
    margins = _margins(figure, inches)
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


def _margins(figure: Figure, inches) -> list[float]:
    """What labels take around axes, the most of all: left, below, right, above; inches."""
    visible = [axis for axis in figure.axes if axis.get_visible()]
    tight = [axis.get_tightbbox().transformed(inches) for axis in visible]
    inner = [axis.get_window_extent().transformed(inches) for axis in visible]
    most = []
    for side, sign in (("x0", 1), ("y0", 1), ("x1", -1), ("y1", -1)):
        around = [sign * (getattr(axis, side) - getattr(box, side))
                  for box, axis in zip(tight, inner, strict=True)]
        most.append(max([LEAST_MARGIN, *around]))
    return most


def in_page(source: str, prefix: str) -> str:
    """An SVG file for a page: ids with a prefix, colours as the page's variables, no name spaces.

    An element of gid "halo" gets the class halo, one of gid "tip:…" these words as its `data-tip`.
    """
    root, wanted = ElementTree.fromstring(source.encode()), _referred(source)
    _drop(root, DROPPED)
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


def _referred(source: str) -> set[str]:
    """The ids that something refers to."""
    return set(re.findall(r'(?:url\(#|href="#)([\w-]+)', source))


def _drop(root: ElementTree.Element, names: tuple[str, ...]) -> None:
    for parent in root.iter():
        for child in list(parent):
            if child.tag.rpartition("}")[2] in names:
                parent.remove(child)


def _rounded(places: str) -> str:
    """Numbers with two decimals: a hundredth of a point is seen by nobody."""
    return re.sub(r"\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}", places)


def _attribute(key: str, value: str, prefix: str) -> str:
    if key == "href":
        return re.sub("^#", f"#{prefix}-", value)
    if key in PLACES:
        return "" if value.startswith("rotate(-0 ") else _rounded(value)
    if key in PAINTS:
        value = re.sub("font-family: [^;]*; ?", "", value)
        value = value.replace("url(#", f"url(#{prefix}-")
        return re.sub("#[0-9a-f]{6}", lambda color: VARIABLES.get(color[0], color[0]), value)
    return value
