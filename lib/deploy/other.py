"""What sessions of other runtimes have in common: packages that nothing else needs, and what of a
file is computed in whole numbers."""

import importlib
from collections import Counter
from functools import cached_property
from importlib.util import find_spec
from types import ModuleType
from typing import NamedTuple

from lib.deploy.session import Session


class Operation(NamedTuple):
    """One operation as the runtime runs it, and the type of numbers that it takes."""

    name: str
    takes: str


class Other(Session):
    """A Session of another runtime than ONNX Runtime, which gives `operations` beside `opened` and
    `answered`.

    needs: the modules that it imports; multiply: its operations that multiply; whole: the types of
    numbers that these take where they multiply whole ones.
    """

    needs: tuple[str, ...] = ()
    multiply: tuple[str, ...] = ()
    whole: tuple[str, ...] = ()

    @classmethod
    def installed(cls) -> bool:
        """Whether all that it needs is there."""
        return all(find_spec(module) for module in cls.needs)

    @property
    def operations(self) -> list[Operation]:
        """Those of the file, after the runtime has fused what it can."""
        raise NotImplementedError

    @cached_property
    def kernels(self) -> Counter:
        """How often which operation runs; of what multiplies, on which numbers."""
        return Counter(f"{one.name} of {one.takes}" if one.name in self.multiply else one.name
                       for one in self.operations)

    @property
    def products(self) -> tuple[int, int]:
        every = [one for one in self.operations if one.name in self.multiply]
        return sum(one.takes in self.whole for one in every), len(every)


def needed(module: str) -> ModuleType:
    """Import a module of a package that is not required. ModuleNotFoundError: what to install."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0].replace("_", "-")
        raise ModuleNotFoundError(f"{error}; pip install {package}, or leave this runtime "
                                  "out") from error
