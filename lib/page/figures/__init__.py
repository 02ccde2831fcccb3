"""Figures are functions of tables, a file a chapter; `show.figure` puts them on a page."""

from lib.page.figures import (
    data,
    deploy,
    distill,
    joules,
    prune,
    ptq,
    qat,
    realtime,
    report,
    train,
    verdicts,
)

__all__ = ["data", "deploy", "distill", "joules", "prune", "ptq", "qat", "realtime",
           "report", "train", "verdicts"]
