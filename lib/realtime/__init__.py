"""A precision that adapts while it serves: rungs, who chooses among them, traces to try it on."""

from lib.realtime.arrivals import TRACES, arrivals, loaded
from lib.realtime.controller import POLICIES, Controller, begin_by
from lib.realtime.escalation import Escalation, that_pays
from lib.realtime.replay import Clock, replay, summary, switching
from lib.realtime.rungs import Rung, ladder

__all__ = ["Clock", "Controller", "Escalation", "POLICIES", "Rung", "TRACES", "arrivals",
           "begin_by", "ladder", "loaded", "replay", "summary", "switching", "that_pays"]
