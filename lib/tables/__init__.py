"""Rows, what they cost, how they are kept, and what they say together."""

from lib.base.metric import METRICS
from lib.tables.advice import advice, kinds
from lib.tables.ahead import ahead, climb
from lib.tables.choice import by_fold, chosen
from lib.tables.confusion import confusion
from lib.tables.files import costs_of_times, fastest, files, runtimes, seconds_back, timings
from lib.tables.history import uneven
from lib.tables.intervals import prediction, summary, t_interval
from lib.tables.joules import (
    best_epochs,
    bought,
    changes,
    cheapest,
    curves,
    energies,
    names,
    of_answers,
)
from lib.tables.losses import answers, in_points, losses, matrix, offered, untouched
from lib.tables.plan import against_shorter, density, judge_plan
from lib.tables.replays import against_floats, beside, better, replays
from lib.tables.rows import COLUMNS, KEY, Cost, Row, bits_asked, frame, identify, setting_of
from lib.tables.served import judge_serving
from lib.tables.smallest import by_kind, smallest
from lib.tables.store import (
    as_published,
    as_saved,
    cost_frame,
    load,
    load_costs,
    load_scores,
    load_table,
    ordered,
    packed,
    provenance,
    save,
    save_table,
    unpacked,
)
from lib.tables.subjects import by_subject, leads
from lib.tables.taken import taken
from lib.tables.together import CHAPTERS, answer, together
from lib.tables.trained import gains, paid_back, techniques, width, with_teachers
from lib.tables.upgrade import upgrade

__all__ = ["advice", "against_floats", "against_shorter", "ahead", "answer", "answers",
           "as_published", "as_saved", "beside", "best_epochs", "better", "bits_asked", "bought",
           "by_fold", "by_kind", "by_subject", "changes", "CHAPTERS", "cheapest", "chosen", "climb",
           "COLUMNS", "confusion", "Cost", "cost_frame", "costs_of_times", "curves", "density",
           "energies", "fastest", "files", "frame", "gains", "identify", "in_points", "judge_plan",
           "judge_serving", "KEY", "kinds", "leads", "load", "load_costs", "load_scores",
           "load_table", "losses", "matrix", "METRICS", "names", "of_answers", "offered", "ordered",
           "packed", "paid_back", "prediction", "provenance", "replays", "Row", "runtimes", "save",
           "save_table", "seconds_back", "setting_of", "smallest", "summary", "t_interval", "taken",
           "techniques", "timings", "together", "uneven", "unpacked", "untouched", "upgrade",
           "width", "with_teachers"]
