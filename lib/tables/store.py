"""Rows and other tables on disk: in a run's folder, each file whole, numbers to six digits."""

import gzip
import io
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from lib.base import paths
from lib.tables.rows import COST_COLUMNS, KEY, TEXT, WHOLE, Cost, Row, frame, typed

DIGITS = "%.6g"
# Columns after those of a Row, no part of any key: epochs that the last training of the row's
# model ran (missing where it was not trained here), and the arguments that its network was built
# with, spelled as `sizes`, the recipe's included ("" where the model's own defaults were taken).
EFFECTIVE = ("epochs_run", "build_args")
INTERPOLATED = "interpolated memory"            # energy.INTERPOLATED: in a modelled cost's source


def save(notebook: str, rows: list[Row], costs: list[Cost], provenance: dict,
         effective: Mapping[str, tuple[int | None, str]] | None = None) -> pd.DataFrame:
    """Write <notebook>.csv, _costs.csv, .npz (scores per example, by id) and .json of this run.

    effective: id -> (epochs_run, build_args). What is modelled of a validation row is left out.
    """
    if paths.profile() == "published":
        raise ValueError("the published rows are only written by ./run_all.sh publish")
    table, folder = ordered(frame(rows)), paths.run_folder()
    told = [(effective or {}).get(name, (None, "")) for name in table.id]
    table = _typed(table.assign(epochs_run=[epochs for epochs, _ in told],
                                build_args=[arguments for _, arguments in told]))
    unknown = {cost.id for cost in costs} - set(table.id)
    if unknown:
        raise ValueError(f"costs of {len(unknown)} rows that are not there: {min(unknown)}")
    tried = set(table.id[table.split == "val"])
    costs = [cost for cost in costs if cost.kind == "measured" or cost.id not in tried]
    scores = {row.id: row.scores for row in rows if row.scores is not None}
    ordered_scores = {name: scores[name] for name in table.id if name in scores}
    for end, content in ((".npz", packed(ordered_scores)),
                         ("_costs.csv", cost_frame(costs).to_csv(index=False, float_format=DIGITS)),
                         (".csv", as_csv(table)),
                         (".json", json.dumps(provenance, indent=1, default=str) + "\n")):
        paths.write_atomic(folder / f"{notebook}{end}", content)
    return table


def packed(scores: Mapping[str, np.ndarray]) -> bytes:
    """Scores per example as an .npz: of each dtype the ids, how many examples each row has, and all
    values in one array, which takes a third of the bytes of an array a row."""
    arrays, kept = io.BytesIO(), {}
    for dtype in sorted({values.dtype.name for values in scores.values()}):
        own = {name: values for name, values in scores.items() if values.dtype.name == dtype}
        kept[f"{dtype} ids"] = np.array(list(own))
        kept[f"{dtype} counts"] = np.array([len(values) for values in own.values()])
        kept[f"{dtype} values"] = np.concatenate(list(own.values()))
    np.savez_compressed(arrays, **kept)
    return arrays.getvalue()


def unpacked(path: Path) -> dict[str, np.ndarray]:
    """What `packed` made, by ids."""
    scores: dict[str, np.ndarray] = {}
    with np.load(path, allow_pickle=False) as file:
        for dtype in [name.removesuffix(" ids") for name in file.files if name.endswith(" ids")]:
            ends = np.cumsum(file[f"{dtype} counts"])[:-1]
            values = np.split(file[f"{dtype} values"], ends)
            scores |= dict(zip(file[f"{dtype} ids"].tolist(), values, strict=True))
    return scores


def ordered(table: pd.DataFrame) -> pd.DataFrame:
    """The table sorted by its key."""
    return table.sort_values(list(KEY), na_position="first", kind="stable", ignore_index=True)


def as_csv(table: pd.DataFrame) -> str:
    """A table of rows as text: whole numbers whole, others with six significant digits."""
    whole = {name: "Int64" for name in (*WHOLE, "epochs_run") if name in table}
    return table.astype(whole).to_csv(index=False, float_format=DIGITS)


def as_saved(table: pd.DataFrame) -> pd.DataFrame:
    """Rows as `save` writes and `load` reads them: by key, numbers of six digits. What is computed
    from these is what anyone computes from the file."""
    return _read(io.StringIO(as_csv(ordered(table))))


def cost_frame(costs: list[Cost]) -> pd.DataFrame:
    """Costs as a long table, sorted by row and quantity."""
    table = pd.DataFrame([vars(cost) for cost in costs], columns=COST_COLUMNS)
    return table.sort_values(["id", "quantity", "source"], kind="stable", ignore_index=True)


def load(notebook: str) -> pd.DataFrame:
    """A notebook's rows in this profile; an empty frame if it has not been run. Columns that a
    table does not have yet are empty."""
    path = paths.run_folder() / f"{notebook}.csv"
    return _read(paths.reads(path)) if path.exists() else _typed(frame([]))


def _read(file: Path | io.StringIO) -> pd.DataFrame:
    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    return _typed(table.replace("", None))


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    """`typed`, and behind it EFFECTIVE: numbers and text, empty where the table lacks them."""
    told = table.reindex(columns=EFFECTIVE)
    text = told.build_args.astype(object).where(told.build_args.notna(), "").astype(str)
    return typed(table).assign(epochs_run=pd.to_numeric(told.epochs_run).astype(float),
                               build_args=text)


def load_costs(notebook: str) -> pd.DataFrame:
    """What a notebook's rows cost, one line a quantity; empty if it has not been run."""
    table = load_table(f"{notebook}_costs")
    return table if len(table) else cost_frame([])


def of_step_model(costs: pd.DataFrame) -> pd.Series:
    """Of each cost: is it modelled energy that steps up at each memory's capacity, and so cannot be
    compared with that of interpolated memory?"""
    energy = (costs.kind == "modelled") & costs.quantity.isin(["energy_j", "spent_energy_j"])
    return energy & ~costs.source.str.contains(INTERPOLATED, regex=False)       # no setting


def load_scores(notebook: str) -> dict[str, np.ndarray]:
    """Per-example scores of a notebook's rows: id -> array (n,)."""
    path = paths.run_folder() / f"{notebook}.npz"
    return unpacked(paths.reads(path)) if path.exists() else {}


def provenance(notebook: str) -> dict:
    """What a notebook's last run depended on; empty if it has not been run."""
    path = paths.run_folder() / f"{notebook}.json"
    return json.loads(paths.reads(path).read_text()) if path.exists() else {}


def save_table(name: str, table: pd.DataFrame) -> pd.DataFrame:
    """Keep any other tidy table (training history, layers, traces) beside the rows."""
    text = table.to_csv(index=False, float_format=DIGITS)
    paths.write_atomic(paths.run_folder() / f"{name}.csv", text)
    return table


def load_table(name: str, folder: Path | None = None) -> pd.DataFrame:
    """A table kept by `save_table`, or one of data/published; empty if there is none. What is text
    in a row is text here, "" where there is none."""
    path = (folder or paths.run_folder()) / f"{name}.csv"
    if not path.exists():
        path = path.with_name(f"{name}.csv.gz")         # as costs are published
    if not path.exists():
        return pd.DataFrame()
    text = {*TEXT, "net_sizes"}
    table = pd.read_csv(paths.reads(path), dtype=dict.fromkeys(text, str))
    return table.fillna(dict.fromkeys(text.intersection(table.columns), ""))


def as_published(path: Path) -> tuple[str, bytes]:
    """The name and content under which a file of a run is committed: costs compressed, and of
    scores per example those of what is right or wrong, since squared errors hardly shrink."""
    if path.suffix == ".npz":
        hits = {name: one for name, one in unpacked(path).items() if one.dtype.kind != "f"}
        return path.name, packed(hits)
    if path.stem.endswith("_costs"):
        return f"{path.name}.gz", gzip.compress(path.read_bytes(), mtime=0)
    return path.name, path.read_bytes()
