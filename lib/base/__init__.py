"""What every room knows: where things lie, the fixed names, what can be asked of a model."""

from lib.base.setting import Setting

__all__ = ["Setting"]
