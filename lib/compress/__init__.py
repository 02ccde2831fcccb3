"""From a setting to a smaller model: `apply(model, setting, calibration)`."""

from lib.compress.during import (
    code_of,
    finished,
    is_random,
    nested_loss,
    packed,
    prepared,
    unpacked,
)
from lib.compress.steps import SENSITIVITY_BY, apply, asked, sensitivity

__all__ = ["SENSITIVITY_BY", "apply", "asked", "code_of", "finished", "is_random",
           "nested_loss", "packed", "prepared", "sensitivity", "unpacked"]
