"""What a YAML scalar stands for: PyYAML's (YAML 1.1) rules, within bounds."""

import math
import re

import yaml
from yaml.constructor import SafeConstructor
from yaml.resolver import Resolver

from bevdiag.config.tree import Plain, shortened

TAG = "tag:yaml.org,2002:"
MAX_INTEGER = 2**63 - 1

# A longer number is no size of anything, and Python's conversion of it would be slow.
_MAX_NUMBER_CHARACTERS = 64
# YAML 1.1 wants a dot and a sign (1.0e-3); everybody else, YAML 1.2 included, reads these too.
_EXPONENT_NUMBER = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+")

_resolver = Resolver()
_constructor = SafeConstructor()


class NotPlainError(ValueError):
    """A scalar that a config may not hold; the message says why."""


def exponent_number(event: yaml.ScalarEvent) -> float | None:
    """Return the number that an unquoted scalar such as 1e-3 means, text to YAML 1.1."""
    if event.style is not None or event.tag is not None:
        return None
    if not _EXPONENT_NUMBER.fullmatch(event.value) or _tag(event) != TAG + "str":
        return None
    return _finite(float(event.value), event.value)


def scalar_value(event: yaml.ScalarEvent) -> Plain:
    """Return the value of a scalar.

    Raises:
        NotPlainError: for a tag of Python's or of an application, and for an absurd number.
    """
    text: str = event.value
    tag = _tag(event)
    match tag.removeprefix(TAG):
        # A date, a bare `=` or `<<` has no use as a value but may be somebody's text.
        case "str" | "timestamp" | "value" | "merge":
            return text
        case "null":
            return None
        case "bool" | "int" | "float" as kind:
            return _number(kind, text)
    raise NotPlainError(foreign_tag(tag))


def is_ambiguous(event: yaml.ScalarEvent, value: Plain) -> bool:
    """Whether an unquoted scalar is `value` to YAML 1.1 alone: yes for true, 012 for 10."""
    if event.style is not None or event.tag is not None:
        return False
    text: str = event.value
    if isinstance(value, bool):
        return text.lower() not in ("true", "false")
    octal = isinstance(value, int) and re.fullmatch(r"[-+]?0[0-7_]+", text) is not None
    return octal or (isinstance(value, (int, float)) and ":" in text)


def foreign_tag(tag: str) -> str:
    """Say what is wrong with a tag beyond the plain ones."""
    named = shortened(tag.replace(TAG, "!!"))
    return f"the tag {named} is not allowed: a config holds plain values only"


def with_dot(number: float) -> str:
    """Write the number with a dot and a signed exponent, a number to every YAML reader."""
    mantissa, _, exponent = f"{number!r}".partition("e")
    if not exponent:
        return mantissa
    mantissa = mantissa if "." in mantissa else mantissa + ".0"
    sign = "" if exponent[0] in "+-" else "+"
    return f"{mantissa}e{sign}{exponent}"


def _tag(event: yaml.ScalarEvent) -> str:
    if event.tag is not None and event.tag != "!":
        return str(event.tag)
    # types-PyYAML leaves resolve() without annotations.
    return str(_resolver.resolve(yaml.ScalarNode, event.value, event.implicit))  # type: ignore[no-untyped-call]


def _number(kind: str, text: str) -> Plain:
    if len(text) > _MAX_NUMBER_CHARACTERS:
        raise NotPlainError(f"the number {shortened(text)} is too large")
    construct = getattr(_constructor, f"construct_yaml_{kind}")
    try:
        value: Plain = construct(yaml.ScalarNode(TAG + kind, text))
    except (ValueError, KeyError, IndexError) as error:
        raise NotPlainError(f"{text!r} is no {kind}") from error
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
        raise NotPlainError(f"the number {text} is too large")
    return value


def _finite(number: float, text: str) -> float:
    if math.isinf(number):
        raise NotPlainError(f"the number {shortened(text)} is too large")
    return number
