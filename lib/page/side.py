"""Pages beside the report: every published row, every claim, and the glossary."""

import base64
import hashlib
import json
import tomllib
from pathlib import Path

import jinja2
import pandas as pd
from markupsafe import Markup

from lib import replication, results
from lib.base import paths, titles
from lib.base.setting import FIELDS
from lib.page import words
from lib.page.colors import COLORS
from lib.page.markup import CONTROL

TEMPLATE = Path(__file__).parent / "template"
GLOSSARY = paths.ROOT / "lib/base/glossary.toml"
# Where lines of a table become cards: the tables, and the widths of a page that are too narrow.
CARDS = (("middle", "screen and (max-width: 47.99rem)"),
         ("paper", "screen and (max-width: 63.99rem)"),
         ("wide", "print, (max-width: 79.99rem)"), ("widest", "all"))
MOST_OPTIONS, MOST_LETTERS = 30, 60     # of a filter that lists what a column holds; else typed
ONE_EXAMPLE = "of one example"                          # in the source of a latency at batch 1
COLUMNS = {"score_low": "CI low", "score_high": "CI high", "bits_per_weight": "bits per weight"}
FIRST = {"chapter", "task", "study", "verdict"}         # filters that are not folded
UNSHOWN = ["key", "value"]                              # of a claim: its name and number alone


def assets() -> dict[str, str]:
    """What every page carries: css, script, and script_hash for the Content-Security-Policy."""
    light, dark = ("; ".join(f"--{name}: {values[i]}" for name, values in COLORS.items())
                   for i in (0, 1))
    page, cards, script = ((TEMPLATE / name).read_text(encoding="utf-8")
                           for name in ("page.css", "cards.css", "page.js"))
    css = [f":root {{ {light} }}",
           f"@media screen and (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}", page,
           *(f"@media {media} {{\n{cards.replace('table.cards', f'table.{kind}')}}}"
             for kind, media in CARDS)]
    return {"css": "\n".join(css), "script": script, "script_hash": policy_hash(script)}


def policy_hash(script: str) -> str:
    """A script's hash as a Content-Security-Policy names it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def environment() -> jinja2.Environment:
    """Templates of pages; every value is escaped."""
    return jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATE), autoescape=True,
                              undefined=jinja2.ChainableUndefined)


def embedded(data: object) -> Markup:
    """Data as JSON for a <script>: no name in it can end the element, or is a control character."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return Markup(CONTROL.sub("\ufffd", text).replace("<", "\\u003c"))


def write(folder: Path, navigation: list[dict]) -> None:
    """Write rows.html, claims.html and glossary.html of this profile into `folder`.

    navigation: of all pages (stem, label, title, href), with hrefs as seen from `folder`.
    """
    script = (TEMPLATE / "table.js").read_text(encoding="utf-8")
    pages = {"rows": {"title": "Every row"} | _rows(), "glossary": {"title": "Glossary"} | terms(),
             "claims": {"title": "What four earlier studies claimed"} | _claims()}
    for stem, content in pages.items():
        page = {"title": content.pop("title"), "stem": stem, "navigation": navigation, **assets()}
        if "columns" in content:
            page |= {"table_script": script, "table_hash": policy_hash(script)}
        html = environment().get_template(f"{stem}.html.j2").render(page=page, **content)
        paths.write_atomic(folder / f"{stem}.html", html)


def _rows() -> dict:
    table = rows()
    return {"count": len(table), "source": _place("*.csv")} | _long(table)


def rows() -> pd.DataFrame:
    """Every row of this profile, with titles, modelled energy in µJ and latency in ms."""
    chapters = sorted(path.name.partition("_costs.csv")[0]
                      for path in paths.run_folder().glob("[0-9][0-9]_*_costs.csv*"))
    found = [results.load(chapter).assign(chapter=chapter) for chapter in chapters]
    if not any(map(len, found)):
        return pd.DataFrame({"chapter": []})
    own = pd.concat([table for table in found if len(table)], ignore_index=True)
    costs = pd.concat([results.load_costs(chapter).assign(chapter=chapter)
                       for chapter in chapters], ignore_index=True)
    costs = costs.astype({"value": float, "source": str})       # of no row in an empty table
    energy = results.energies(costs).set_index("id").reindex(own.id)
    single = costs.source.str.contains(ONE_EXAMPLE)         # no setting
    timed = costs[(costs.quantity == "latency_s") & single]
    times = timed.drop_duplicates(["chapter", "id"]).set_index(["chapter", "id"]).value.reindex(
        pd.MultiIndex.from_frame(own[["chapter", "id"]]))   # each chapter timed its own
    alike = own.groupby(list(FIELDS), dropna=False, sort=False).ngroup()
    first = own.loc[~alike.duplicated()]
    named = dict(zip(alike[first.index], map(_technique, first.itertuples()), strict=True))
    measured = own[["score", *list(COLUMNS)[:2], "metric", "bits_per_weight", "sparsity"]]
    step = energy.step_model.map({True: "step", False: "interpolated"}).fillna("")
    return pd.DataFrame({
        "chapter": own.chapter, "task": own.task.map(titles.task),
        "model": list(map(titles.model, own.model, own.sizes)), "technique": alike.map(named),
        **own[["recipe", "split", "seed", "fold", "draw"]], **measured.rename(columns=COLUMNS),
        "size, KiB": own.size_bytes / 1024, "MACs": own.macs,
        "energy 45 nm, µJ": 1e6 * energy.energy_45nm.to_numpy(),
        "energy 7 nm, µJ": 1e6 * energy.energy_7nm.to_numpy(), "energy model": step.to_numpy(),
        "latency, ms": 1e3 * times.to_numpy(), "id": own.id})


def _technique(line) -> str:
    """Title of a row's technique, and of the policy and trace that chapter 09 replays."""
    policy = f"policy: {titles.policy(line.policy)}, {line.trace}" if line.policy else ""
    done = titles.technique(line)
    return policy if policy and done == titles.BASELINE else f"{done} {policy}".strip()


def _claims() -> dict:
    judged = results.load_table("claims")
    if not set(replication.COLUMNS) <= set(judged.columns):     # not judged, or by other rules
        return {"count": 0}
    texts = judged.select_dtypes(exclude="number")          # of a file, what is empty is missing
    judged = judged.fillna(dict.fromkeys(texts, ""))
    chance = replication.by_chance(judged)
    shares = list(chance.select_dtypes("float"))
    chance[shares] = (100 * chance[shares]).map(words.fixed, digits=0)
    shown = judged[list(replication.COLUMNS)].drop(columns=UNSHOWN)
    shown = shown.assign(task=[titles.task(name) if name else "" for name in shown.task])
    return {"count": len(judged), "source": _place("claims.csv"), "meanings": replication.MEANINGS,
            "counts": replication.counts(judged),
            "chance": chance.rename(columns={
                "confirmed": "confirmed here, %", "random": "confirmed for random numbers, %",
                "permuted": "confirmed for the numbers of other claims, %"})} | _long(shown)


def terms() -> dict:
    """The glossary: parts -> entries (id, term, text, source, arxiv), sorted by term."""
    parts = tomllib.loads(GLOSSARY.read_text(encoding="utf-8"))
    return {"parts": {part.replace("-", " "): sorted(
        ({"id": name, **entry} for name, entry in entries.items()),
        key=lambda entry: entry["term"].lower()) for part, entries in parts.items()}}


def _place(name: str) -> str:
    return paths.shown(paths.run_folder() / name)


def _long(table: pd.DataFrame) -> dict:
    """A table for long.html.j2: columns in words, data as JSON columns with their dictionaries."""
    columns, data = [], []
    for index, name in enumerate(table.columns):
        column = table[name]
        text = not pd.api.types.is_numeric_dtype(column)
        values = [str(value) if pd.notna(value) else "" for value in column] if text else [
            _plain(value) for value in column]
        known = list(dict.fromkeys(values))
        options = sorted(value for value in known if value) if text else []
        few = 1 < len(options) <= MOST_OPTIONS and max(map(len, options)) <= MOST_LETTERS
        columns.append({"name": name, "text": text, "index": index, "first": name in FIRST,
                        "options": options if few else []})
        place = {value: code for code, value in enumerate(known)}
        coded = {"values": known, "codes": [place[value] for value in values]}
        data.append({"name": name, "text": text, "values": values}
                    | (coded if 3 * len(known) < len(values) else {}))
    return {"columns": columns, "data": embedded(data)}


def _plain(value: float) -> float | int | None:
    """A number as a table holds it: six significant digits, whole where it is."""
    if pd.isna(value):
        return None
    return int(value) if value == round(value) else float(f"{value:.6g}")
