"""Reads a Python config as a dict whose keys are attributes."""

import sys
from importlib import import_module
from pathlib import Path


class ConfigDict(dict):
    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


def _attributed(value):
    if isinstance(value, dict):
        return ConfigDict({key: _attributed(item) for key, item in value.items()})
    return [_attributed(item) for item in value] if isinstance(value, list) else value


class Config:
    def __init__(self, values):
        self._cfg_dict = values

    @staticmethod
    def fromfile(filename):
        sys.path.insert(0, str(Path(filename).parent))
        module = import_module(Path(filename).stem)
        sys.path.pop(0)
        named = {key: value for key, value in vars(module).items() if not key.startswith("__")}
        return Config(_attributed(named))
