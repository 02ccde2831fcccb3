"""The Real-time study's claims beside our rows: what its encoder scored, and whether the rule by
which its precision would adapt serves better than one precision does."""

import pandas as pd

from lib.tables.cells import UNTESTED
from lib.tables.claims import COLUMNS, NUMBERS
from lib.tables.plan import FAILS, HOLDS, UNDECIDED
from lib.tables.replays import better

RULE = "literal"                # the plan's own rule, among the policies of 09
ENCODERS = ("minilm", "bert_tiny")


def judge_serving(files: pd.DataFrame, replays: pd.DataFrame, costs: pd.DataFrame,
                  claims: pd.DataFrame) -> pd.DataFrame:
    """A line a claim, and of the rule one a task and trace: study, kind, task, claim, published,
    ours, low, high, rows, verdict, cause.

    files: rows of 08; replays, costs: of 09; claims: data/published/realtime.csv.
    """
    found: list[dict] = []
    judges = {"encoder": lambda claim: _encoder(files, claim),
              "adapts": lambda claim: _rule(replays, costs)}
    for claim in claims.itertuples():
        lines = judges[claim.claim](claim) or [{"task": "", "verdict": UNTESTED, "rows": 0}]
        found += [{"study": claim.study, "kind": "conclusion", "claim": claim.said, "cause": "",
                   "published": claim.low, "own_verdict": UNTESTED, **line} for line in lines]
    table = pd.DataFrame(found).assign(own_rows=0).reindex(columns=COLUMNS)
    return table.astype(dict.fromkeys(NUMBERS, float))


def _encoder(files: pd.DataFrame, claim) -> list[dict]:
    """Our encoder as it was trained: a score far from the published one says what that was of."""
    plain = files[(files.task == "sst2") & files.model.isin(ENCODERS) & (files.split == "test")
                  & (files.deploy == "") & (files.quantizer == "") & (files.pruner == "")
                  & (files.tuned == "")]
    if plain.empty:
        return []
    best = plain.loc[plain.score.idxmax()]
    verdict = HOLDS if best.score_low <= claim.low <= best.score_high else FAILS
    return [{"task": "sst2", "ours": best.score, "low": best.score_low, "high": best.score_high,
             "rows": len(plain), "verdict": verdict,
             "cause": f"{best.model}, trained; the published one is what an untrained head "
                      "gets, 425 of 872"}]


def _rule(replays: pd.DataFrame, costs: pd.DataFrame) -> list[dict]:
    """Points of what is answered right and in time that the rule gains on the best of single
    models, over seeds, pair by pair."""
    lines = []
    for line in better(replays, costs, RULE).to_dict("records"):
        value, low, high = (100 * line[f"right_in_time_gained{end}"]
                            for end in ("", "_low", "_high"))
        verdict = HOLDS if low > 0 else FAILS if high < 0 else UNDECIDED
        seeds = replays[(replays.task == line["task"]) & (replays.trace == line["trace"])
                        & (replays.policy == RULE)]
        lines.append({"task": line["task"], "ours": value, "low": low, "high": high,
                      "rows": 2 * len(seeds), "verdict": verdict,
                      "cause": f"{line['trace']}: in points of what is answered right and in time, "
                               f"against {line['fixed']}"})
    return lines
