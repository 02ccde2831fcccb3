"""How each model of the study is trained and tuned, and the models that come of it."""

from lib.recipes.files import deployed
from lib.recipes.given import AKAMASTER, given, published
from lib.recipes.making import code_of, made, planned
from lib.recipes.rounding import rounded
from lib.recipes.training import recipe, rivals, trained
from lib.recipes.tuning import histories, known, tuned, tuning

__all__ = ["AKAMASTER", "code_of", "deployed", "given", "histories", "known", "made", "planned",
           "published", "recipe", "rivals", "rounded", "trained", "tuned", "tuning"]
