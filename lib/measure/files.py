"""What a deployed model costs and keeps, beside its row."""

from lib import train
from lib.tables.rows import Cost, Row


def of_file(row: Row, session, task) -> list[Cost]:
    """memory_bytes of a `deploy.Session` in ONNX Runtime, beside its test row; and, where there
    are classes, its agreement: the percent of the row's examples that it answers as the model does
    that its file was made from."""
    from lib import deploy
    costs = []
    if row.split == "test" and row.runtime == "onnxruntime":
        middle, least, most, source = deploy.memory(session, task.test.batch(slice(1)))
        costs.append(Cost(row.id, "memory_bytes", "measured", source, middle, least, most))
    if task.classes:
        mine, other = (train.evaluate(one, task, row.split, examples=row.n).outputs.argmax(1)
                       for one in (session, session.made_from))
        costs.append(Cost(row.id, "agreement_percent", "measured",
                          f"{row.n} examples answered by the file and by the model it is of",
                          100 * float((mine == other).double().mean())))
    return costs
