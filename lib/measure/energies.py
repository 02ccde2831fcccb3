"""Multiply-accumulates and modelled joules of a model, and of the training that made it."""

import pandas as pd
from torch import nn

from lib import energy
from lib.tables.rows import Cost, Row

LINEAR = ("Linear",)


def counts(model: nn.Module, task, codes=None) -> tuple[dict[str, int | None], list[pd.DataFrame]]:
    """macs and macs_nonzero of one example, None where they are not known; and, where they are, the
    joules of one prediction by each process, a line a layer. codes: of a file that was made of the
    model, what its products are made of (`deploy.session.Codes`)."""
    if not any(True for _ in model.parameters()):       # a model of scikit-learn
        return {"macs": None, "macs_nonzero": None}, []
    table = energy.layers(model, task.test.batch(slice(1)))
    if table.macs.isna().any():
        return {"macs": None, "macs_nonzero": None}, []
    total = {column: int(table[column].sum()) for column in ("macs", "macs_nonzero")}
    joules = [_joules(table, process, codes) for process in energy.PROCESSES]
    return total, joules


def _joules(table: pd.DataFrame, process: str, codes) -> pd.DataFrame:
    """Joules of one prediction; of a file with codes, as many bits as these have where a layer
    multiplies by weights, and floats in products of activations."""
    if codes is not None and codes.w_bits is not None:
        here = (table.macs > 0) & (table.elements > 0)
        if codes.linear_only:
            here &= table.type.isin(LINEAR)
        table = energy.as_if(table, codes.w_bits, codes.a_bits).where(here, table)
    return energy.modelled(table, process)


def modelled(row: str, quantity: str, table: pd.DataFrame, times: float = 1.0, more: str = ""
             ) -> Cost:
    """The sum of a table of modelled joules as a cost, `times` over; its range, where it has one,
    is that of the memories' figures."""
    least, value, most = (times * float(table[name].sum())
                          for name in ("least_j", "energy_j", "most_j"))
    ranged = (least, most) if least < most else (None, None)
    return Cost(row, quantity, "modelled", table.attrs["source"] + more, value, *ranged)


def of_training(row: Row, model: nn.Module, task, course: dict, widths: int = 1,
                taught: bool = False) -> list[Cost]:
    """What the last training of a row's model spent: spent_macs, and spent_energy_j by each
    process. course: as of `recipes.trained`; widths: passes forward and back that each example
    takes; taught: by a teacher, whose passes are not counted."""
    if not row.macs:
        return []
    passes, teacher = 3 * widths, ", its teacher's not counted" if taught else ""
    source = f"{passes} forward passes of this net for each example of its last training"
    table = energy.layers(model, task.test.batch(slice(1)))
    resting = table.macs[~energy.learns(table, course["frozen"])].sum()      # forward alone
    products = passes * row.macs - 2 * widths * int(resting)
    source += f", {widths} of its frozen parts" if course["frozen"] else ""
    costs = [Cost(row.id, "spent_macs", "modelled", source + teacher,
                  float(products * course["examples"]))]
    for process in energy.PROCESSES:
        spent = energy.training(table, process, course["batch_size"], course["optimizer"],
                                course["bits"], frozen=course["frozen"])
        costs.append(modelled(row.id, "spent_energy_j", spent, widths * course["examples"],
                              teacher))
    return costs
