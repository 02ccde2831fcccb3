"""What a reader sees is in ordinary technical English: pages, README, printed lines, errors."""

import ast
import re

import pytest
from bs4 import BeautifulSoup

from lib.base import paths
from tests import phrases

PAGES = sorted([*(paths.FIGURES / "full").glob("*.html"),
                *(paths.FIGURES / "full/chapters").glob("*.html")])
SAID = {"print", "show", "text", "findings", "figure", "table", "box", "write", "fail"}
CODE = re.compile(r"```.*?```|`[^`]*`", re.DOTALL)


def visible(html: str) -> str:
    """What a page says, code apart, and what it says of its figures to those who cannot see them.
    """
    page = BeautifulSoup(html, "html.parser")
    described = [tag[name] for name in ("alt", "aria-label", "title", "data-tip", "placeholder")
                 for tag in page.find_all(attrs={name: True})]
    for tag in page(["script", "style", "code", "pre", "math"]):
        tag.decompose()
    return " ".join([page.get_text(" "), *described])


def messages(source: str) -> list[str]:
    """The words that a module prints, shows or raises; names in `code` apart."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Raise) and node.exc is not None:
            parts = [node.exc]
        elif isinstance(node, ast.Call) and SAID & {getattr(node.func, "id", ""),
                                                    getattr(node.func, "attr", "")}:
            parts = [*node.args, *(word.value for word in node.keywords)]
        else:
            continue
        found += [part.value for whole in parts for part in ast.walk(whole)
                  if isinstance(part, ast.Constant) and isinstance(part.value, str)
                  and " " in part.value]
    return [CODE.sub("", text) for text in found]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_published_page_speaks_plainly(page):
    assert phrases.found(visible(page.read_text(encoding="utf-8"))) == []


def test_readme_speaks_plainly():
    text = CODE.sub("", (paths.ROOT / "README.md").read_text(encoding="utf-8"))
    assert phrases.found(text) == [] and len(text) > 1000


def test_printed_lines_and_errors_speak_plainly():
    said = {path: messages(path.read_text(encoding="utf-8"))
            for path in sorted((paths.ROOT / "lib").rglob("*.py"))}
    assert sum(map(len, said.values())) > 200
    found = {str(path.relative_to(paths.ROOT)): seen for path, texts in said.items()
             if (seen := [words for text in texts for words in phrases.found(text)])}
    assert found == {}


def test_glossary_and_titles_speak_plainly():
    for name in ("glossary.toml", "titles.toml"):
        text = (paths.ROOT / "lib/base" / name).read_text(encoding="utf-8")
        titles = re.findall(r'(?<=[:=] )"([^"]*)"', text)
        assert phrases.found("\n".join(titles)) == [] and len(titles) > 40


@pytest.mark.parametrize("said", [
    "the network as trained loses", "fine (trained on for 5 epochs)", "a file of floats",
    "cannot be told apart", "the clairvoyant bound"])
def test_what_is_looked_for_is_found(said):
    assert phrases.found(said)


@pytest.mark.parametrize("said", [
    "networks trained on CIFAR-10", "rounding to nearest",
    "in 3-level form", "thread on", "already on disk", "the part ended"])
def test_ordinary_words_are_left_alone(said):
    assert phrases.found(said) == []
