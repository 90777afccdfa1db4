from collections.abc import Callable
from types import ModuleType

Write = Callable[[str, str], ModuleType]
