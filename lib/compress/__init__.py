"""From a setting to a smaller model: `apply(model, setting, calibration)`."""

from lib.compress.steps import apply, asked, sensitivity

__all__ = ["apply", "asked", "sensitivity"]
