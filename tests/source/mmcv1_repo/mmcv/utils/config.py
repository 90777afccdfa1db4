"""Configs that are Python files, with bases."""

import ast
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


class Config(ConfigDict):
    @classmethod
    def fromfile(cls, file):
        names = {}
        exec(Path(file).read_text(), names)
        bases = names.pop("_base_", [])
        del names["__builtins__"]
        for base in bases:
            names = {**cls.fromfile(Path(file).parent / base), **names}
        return cls(_attributed(names))

    def merge_from_dict(self, options):
        for dotted, value in options.items():
            *above, last = dotted.split(".")
            holder = self
            for part in above:
                holder = holder[part]
            holder[last] = value


class DictAction:
    @staticmethod
    def _parse_iterable(text):
        try:
            return ast.literal_eval(text)
        except ValueError:
            return text
