"""What a technique does over the networks that tried it, the same networks in every number."""

import pandas as pd

from lib.results.candidates import NET, itself
from lib.results.select import within

LSQ = ("lsq", "lsq+distill", "lsq+kure")       # trainings through learned steps
MOST_TRIED = 0.8            # of the networks that the commonest setting was tried on


def of_network(table: pd.DataFrame) -> pd.DataFrame:
    """Candidates that are made from the network itself, not from a smaller one."""
    return table[itself(table)]


def quantized_alone(table: pd.DataFrame, inputs: bool = False) -> pd.DataFrame:
    """Candidates that were quantized, one range a channel, and nothing else: neither pruned nor
    deployed; weights alone, or with `inputs` those of layers too. Trained or not."""
    own = of_network(table)
    alone = own.bits_asked.notna() & own.granularity.isin(["", "channel"])
    alone &= (own[["pruner", "repairs", "budget", "deploy"]] == "").all(axis=1)
    return own[alone if inputs else alone & own.a_bits.isna()]


def worst(lines: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """One line a technique (columns `by`): networks, loss (the largest mean), median, high (the
    largest upper bound), error (the largest growth of a squared error), least and most (size
    factors). Of several lines of one network the one with the least selection loss stands."""
    lines = lines.assign(factor=lines.base_KiB / lines.KiB).sort_values("selection_loss")
    lines = lines.drop_duplicates([*by, *NET])
    return lines.groupby(by).agg(
        networks=("task", "size"), loss=("loss", "max"), median=("loss", "median"),
        high=("high", "max"), error=("error_ratio", "max"), least=("factor", "min"),
        most=("factor", "max")).reset_index()


def fewest_bits(table: pd.DataFrame, tolerance: float = 1.0) -> pd.Series | None:
    """The post-training quantizer and bits of weights, the fewest that keep every network within
    the tolerance, of settings that nearly as many networks tried as any: a line of `worst`, where
    `error` says whether a regression's squared error grows; None if none does."""
    lines = quantized_alone(table)
    found = worst(lines[lines.tuned == ""], ["quantizer", "bits_asked"])
    tried = found[found.networks >= MOST_TRIED * found.networks.max()]
    good = tried[within(tried.loss, pd.Series(0.0, tried.index), tolerance)]
    good = good.sort_values(["bits_asked", "networks", "loss"], ascending=[True, False, True])
    return good.iloc[0] if len(good) else None


def with_and_without_training(table: pd.DataFrame) -> pd.DataFrame:
    """What PTQ and QAT (LSQ) of the same bits lose on the same networks: a line a number of bits of
    weights and inputs (32: not quantized), with networks, and of each way loss and high at worst.
    """
    lines = quantized_alone(table, inputs=True)
    lines = lines[lines.selection_loss.notna()].assign(inputs=lines.a_bits.fillna(32))
    lines["way"] = lines.tuned.isin(LSQ).map({True: "qat", False: "ptq"})
    lines = lines[(lines.tuned == "") | (lines.way == "qat")]
    setting = ["bits_asked", "inputs"]
    both = lines.groupby([*setting, *NET]).way.transform("nunique") == 2
    found = worst(lines[both], [*setting, "way"])
    found = found.pivot(index=[*setting, "networks"], columns="way", values=["loss", "high"])
    found = found.set_axis([f"{way}_{end}" for end, way in found.columns], axis=1)
    columns = ["bits", "inputs", "networks", "ptq_loss", "ptq_high", "qat_loss", "qat_high"]
    return found.reset_index().rename(columns={"bits_asked": "bits"}).reindex(columns=columns)
