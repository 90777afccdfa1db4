"""The text of options, checked and turned into settings.

Values reach bevdiag as text and are checked here, so that every mistake gets the same kind of
sentence: which option, or which place of a project's policy, what was found, what is allowed. Each
function raises an InputError that says so.
"""

import re
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar, get_args

from bevdiag.errors import InputError

DEVICES = ("auto", "meta", "cuda")
AUTOCASTS = ("off", "fp16", "bf16")
FORMATS = ("text", "json")

_Given = TypeVar("_Given")
_Parsed = TypeVar("_Parsed")


def choose(option: str, value: str, allowed: Sequence[str]) -> str:
    """`value`, which must be one of `allowed`."""
    if value in allowed:
        return value
    near = get_close_matches(value, allowed, n=1, cutoff=0.5)
    hint = f" (did you mean {near[0]}?)" if near else ""
    raise InputError(f"{option}: {value!r} is not one of {', '.join(allowed)}{hint}")


def choose_several(option: str, text: str, allowed: Sequence[str]) -> tuple[str, ...]:
    """Split a comma-separated list into its distinct items, in its order, each one of `allowed`."""
    return tuple(dict.fromkeys(choose(option, item.strip(), allowed) for item in text.split(",")))


def whole_number(option: str, text: str, *, least: int) -> int:
    """`text` as a whole number of at least `least` and below 2^31."""
    digits = text.strip()
    if digits.isascii() and digits.isdigit() and len(digits) <= 10:
        number = int(digits)
        if least <= number < 2**31:
            return number
    raise InputError(f"{option}: {text!r} is not a whole number from {least} to {2**31 - 1}")


def positive(option: str, text: str) -> int:
    """Like `whole_number`, at least 1."""
    return whole_number(option, text, least=1)


def point_columns(option: str, text: str) -> int:
    """Like `whole_number`, at least 3 for x, y and z, and no more than a file may have."""
    from bevdiag.scenes.file_tables import MAX_COLUMNS

    number = whole_number(option, text, least=3)
    if number > MAX_COLUMNS:
        raise InputError(f"{option}: {number} is more than {MAX_COLUMNS}, the most a file may have")
    return number


def point_dtype(option: str, text: str) -> str:
    """Check the name of a type of .bin files' values."""
    from bevdiag.scenes.point_layout import DTYPES

    return choose(option, text, DTYPES)


def batch_sizes(text: str | None) -> tuple[int, ...]:
    """Split --batch-size, a comma-separated list, into its distinct values; None has none."""
    sizes = () if text is None else text.split(",")
    return tuple(dict.fromkeys(positive("--batch-size", size) for size in sizes))


def percentage(option: str, text: str) -> float:
    """Parse a share such as `10%` into a number from 0 to 1."""
    number = text.strip().removesuffix("%").strip()
    if text.strip().endswith("%") and re.fullmatch(r"\d{1,2}(\.\d+)?|100", number, re.ASCII):
        return float(number) / 100
    raise InputError(f"{option}: {text!r} is no share: write it like 5% or 0.5%")


def overrides(texts: Sequence[str] | None) -> tuple[str, ...]:
    """Check that each of the --set values has the form KEY=VALUE."""
    for text in texts or ():
        if not text.partition("=")[0].strip() or "=" not in text:
            raise InputError(f"--set: {text!r} is not of the form A.B=value")
    return tuple(texts or ())


def pins(texts: Sequence[str] | None) -> dict[str, int]:
    """Parse the --assume values by site."""
    counts: dict[str, int] = {}
    for text in texts or ():
        site, equals, count = text.rpartition("=")
        if not site or not equals:
            raise InputError(f"--assume: {text!r} is not of the form SITE=COUNT")
        if site in counts:
            raise InputError(f"--assume: {site} is pinned twice")
        counts[site] = whole_number(f"--assume {site}", count, least=0)
    return counts


def autocast(option: str, text: str) -> str:
    """One of `AUTOCASTS`."""
    return choose(option, text, AUTOCASTS)


def autocasts(text: str | None) -> tuple[str, ...]:
    """Split --autocast, a comma-separated list, into its distinct values; None has none."""
    return () if text is None else choose_several("--autocast", text, AUTOCASTS)


def compression(option: str, text: str) -> str:
    """One of `compressions`."""
    return choose(option, text, compressions())


def module(option: str, text: str) -> str:
    """Check the name of a repository's own module; whether it has one so named, it knows alone."""
    if not text.strip():
        raise InputError(f"{option}: name a module of the repository")
    return text.strip()


def compressions() -> tuple[str, ...]:
    """Every MODE of the height compression, as the config knows them."""
    from bevdiag.config.bev_settings import CompressionMode

    return get_args(CompressionMode)


def optimizer(option: str, text: str) -> str:
    """One of the optimizers that a config can name."""
    from bevdiag.config.model_settings import OptimizationSettings

    known = get_args(OptimizationSettings.model_fields["optimizer"].annotation)
    return choose(option, text, known)


def gpu_name(option: str, text: str) -> str:
    """Find the catalogue's name of the GPU."""
    from bevdiag.memory.catalogue import find_gpu

    return _labelled(option, find_gpu, text).name


def size_bytes(option: str, text: str) -> int:
    """Parse a size such as 22GiB into bytes."""
    from bevdiag.memory.sizes import parse_bytes

    return _labelled(option, parse_bytes, text)


def torch_version(option: str, text: str) -> str:
    """Check that the text is a version such as 2.4 or 2.4.1."""
    from bevdiag.memory.catalogue import torch_release

    if len(torch_release(text)) < 2:
        raise InputError(f"{option}: {text!r} is no version: write it like 2.4 or 2.4.1")
    return text


def cudnn_version(option: str, text: str) -> str:
    """Check that the text is a version of cuDNN."""
    from bevdiag.memory.device import parse_cudnn

    _labelled(option, parse_cudnn, text)
    return text


def folder(option: str, text: str) -> str:
    """Check that the text names an existing folder."""
    if not Path(text).is_dir():
        raise InputError(f"{option}: there is no folder {text}")
    return text


def source_folder(option: str, text: str) -> str:
    """Check that the text names the folder of a repository whose family bevdiag runs."""
    folder(option, text)
    from bevdiag.config.around import check_repository  # loads pydantic

    _labelled(option, check_repository, Path(text))
    return text


def optional(parse: Callable[[str, str], _Parsed], option: str, text: str | None) -> _Parsed | None:
    """Apply `parse` to the option's text; None stays None."""
    return None if text is None else parse(option, text)


def _labelled(option: str, parse: Callable[[_Given], _Parsed], text: _Given) -> _Parsed:
    try:
        return parse(text)
    except InputError as error:
        raise InputError(f"{option}: {error}") from error
