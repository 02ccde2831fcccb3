"""How each model of the study is trained and tuned, and the models that come of it."""

from lib.recipes.training import AKAMASTER, published, recipe, rivals, trained
from lib.recipes.tuning import losses, tuned, tuning

__all__ = ["AKAMASTER", "losses", "published", "recipe", "rivals", "trained", "tuned", "tuning"]
