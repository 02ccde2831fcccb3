"""Figures are functions of tables, a file a chapter; `show.figure` puts them on a page."""

from lib.page.figures import data, prune, ptq, qat, report, train

__all__ = ["data", "prune", "ptq", "qat", "report", "train"]
