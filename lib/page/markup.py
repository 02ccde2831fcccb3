"""What a page's HTML needs beyond a notebook's: formulas, tables for every width, folded parts."""

import hashlib
import re
from collections.abc import Callable

from bs4 import BeautifulSoup, Tag

# Code is kept as it is (first group); $$…$$ is a displayed formula, $…$ one in the text.
TEX = re.compile(r"(```.*?```|~~~.*?~~~|(`+).+?\2|\\\$)|\$\$(.+?)\$\$"
                 r"|\$(?!\s)((?:[^$\\\n]|\\.|\n(?!\s*\n))+?)(?<!\s)\$(?!\d)", re.DOTALL)
# What no page may hold: control characters, lone surrogates, and what is no character at all.
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufdd0-\ufdef\ufffe\uffff\ud800-\udfff]")
NUMBER = re.compile(r"[-+−±–<>~≈×%\s\d.,:eE\[\]()/]*")
CONSOLE = '<pre style="white-space:pre;'
MOST_LINES = 2              # of a log that stands open
MOST_KEPT = 400             # of a folded one: thousands of trials make pages of megabytes
# A table's class by the width it asks for, in pixels: a phone's, a tablet's, that of A4 paper (in
# small print), a screen's, or more.
WIDTHS = ((350, "narrow"), (700, "middle"), (900, "paper"), (1180, "wide"))
SIGN, PADDING = 8, 20       # pixels: a letter of a table's sans-serif text; around a cell's text


def mathml(markdown: str, keep: Callable[[str], str]) -> str:
    """Markdown with every formula replaced by what `keep` gives for its MathML; code is left
    alone."""
    from latex2mathml.converter import convert

    def formula(match: re.Match) -> str:
        code, _, displayed, inline = match.groups()
        if code:
            return code
        kind = "block" if displayed else "inline"
        made = convert((displayed or inline).strip(), display=kind)
        made = made.replace(' xmlns="http://www.w3.org/1998/Math/MathML"', "")
        # A formula wider than a phone is scrolled, by keyboard too.
        return keep(made.replace("<math", '<math tabindex="0"', 1) if displayed else made)
    return TEX.sub(formula, markdown)


class Formulas:
    """MathML that is set aside while Markdown is read, which would find its own signs in it."""

    def __init__(self, source: str):
        # No text holds a digest of itself, so nothing in a notebook looks like a place of these.
        self._name = "formula" + hashlib.sha256(source.encode()).hexdigest()[:20]
        self._kept: list[str] = []

    def keep(self, formula: str) -> str:
        self._kept.append(formula)
        return f"{self._name}n{len(self._kept) - 1}n"

    def back(self, html: str) -> str:
        return re.sub(f"{self._name}n(\\d+)n", lambda match: self._kept[int(match[1])], html)


def as_log(output: dict) -> dict:
    """An output of a cell; a line that a library's console displays in HTML (rich's are such
    <pre>) as the line of a log that it is."""
    data = output.get("data", {})
    if not "".join(data.get("text/html", "")).startswith(CONSOLE) or "text/plain" not in data:
        return output
    text = "".join(data["text/plain"]).rstrip("\n")
    return {"output_type": "stream", "name": "stdout", "text": f"{text}\n"}


def finish(soup: BeautifulSoup) -> None:
    """Tables that fit every width, logs and provenance folded, every id once."""
    for style in soup.find_all("style", scoped=True):
        style.decompose()                       # pandas' own, which no browser scopes any more
    for table in soup.find_all("table"):
        _table(table, soup)
    for log in soup.select("pre.stream"):
        _fold_log(log, soup)
    for box in soup.select(".provenance"):
        _wrapped(box, soup, "machine and versions of this run", "code")
    for link in soup.select(".anchor-link"):
        link.decompose()
    seen: set[str] = set()
    for tag in soup.find_all(id=True):          # of headings alike the later ones get a number
        name, number = tag["id"], 2
        while tag["id"] in seen:
            tag["id"] = f"{name}-{number}"
            number += 1
        seen.add(tag["id"])


def _fold_log(log: Tag, soup: BeautifulSoup) -> None:
    lines = log.get_text().strip().splitlines()
    if len(lines) > MOST_KEPT and "warning" not in log["class"]:
        half = MOST_KEPT // 2
        left_out = f"… {len(lines) - 2 * half} lines more in the executed notebook …"
        log.string = "\n".join([*lines[:half], left_out, *lines[-half:]])
    if len(lines) > MOST_LINES:
        last = lines[-1].strip()[:100]
        _wrapped(log, soup, f"log of {len(lines)} lines; the last: {last}", "log")


def _wrapped(tag: Tag, soup: BeautifulSoup, line: str, kind: str) -> None:
    """Put a part of the page into <details>, closed, under one line."""
    details = soup.new_tag("details", attrs={"class": kind})
    summary = soup.new_tag("summary")
    summary.string = line
    tag.wrap(details)
    details.insert(0, summary)


def _table(table: Tag, soup: BeautifulSoup) -> None:
    """Numbers to the right, each cell with its column's name (read where lines become cards, see
    page.css), and a class for its width."""
    rows = table.find_all("tr")
    for tag in (table, *rows):
        tag.attrs.pop("style", None)
        tag.attrs.pop("border", None)
    cells = [row.find_all(["th", "td"], recursive=False) for row in rows]
    head = next((line for line in cells if all(cell.name == "th" for cell in line)), [])
    body = [line for line in cells if any(cell.name == "td" for cell in line)]
    names = [cell.get_text(", ", strip=True) for cell in head]
    width = 0
    for i in range(max(map(len, body), default=0)):
        column = [line[i] for line in body if i < len(line)]
        texts = [cell.get_text() for cell in column]
        name = names[i] if i < len(names) else ""
        numeric = all(cell.name == "td" and NUMBER.fullmatch(cell.get_text()) for cell in column)
        for cell in [*column, *head[i:i + 1]] if numeric else []:
            cell["class"] = [*cell.get("class", []), "number"]
        for cell in column:
            cell["data-label"] = name
        width += PADDING + SIGN * _letters(texts, name, numeric)
    for cell in head:
        if not cell.get_text(strip=True):       # the corner above a column of names heads nothing
            cell.name = "td"
    kind = next((kind for most, kind in WIDTHS if width <= most), "widest")
    table["class"] = [*table.get("class", []), kind]
    if not table.find_parent(class_="table"):
        table.wrap(soup.new_tag("div", attrs={"class": "table"}))


def _letters(texts: list[str], name: str, numeric: bool) -> int:
    """The letters in a line that a column needs: words of text may go to the next line."""
    longest = max(map(len, texts), default=0)
    words = [] if numeric else [len(word) for text in texts for word in text.split()]
    return max([longest if numeric else min(24, longest), *words, *map(len, name.split())])
