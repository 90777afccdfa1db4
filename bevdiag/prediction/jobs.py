"""From a command line or a call, the environment and a project's policy to jobs."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar

from bevdiag.config.nearest import did_you_mean
from bevdiag.errors import ConfigError, InputError
from bevdiag.policy import Policy, PolicyFile, find_policy, read_policy
from bevdiag.prediction import values
from bevdiag.prediction.checked import Job
from bevdiag.prediction.options import InspectOptions
from bevdiag.rules.codes import CODES

_VARIABLES = {
    "gpu": "BEVDIAG_GPU",
    "budget": "BEVDIAG_BUDGET",
    "margin": "BEVDIAG_MARGIN",
    "torch": "BEVDIAG_TORCH",
    "cudnn": "BEVDIAG_CUDNN",
}
"""The variables of the environment that speak where no option does."""
_MEMORY = ("gpu", "budget")


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What a command line or a call says; None leaves it open."""

    dashes: ClassVar[str] = "--"
    """What stands before a name where a sentence says it."""

    gpu: str | None = None
    budget: str | None = None
    margin: str | None = None
    torch: str | None = None
    cudnn: str | None = None
    autocast: str | None = None
    optimizer: str | None = None
    batch_size: str | None = None

    def label(self, name: str) -> str:
        """Return a setting's name, as whoever gave it writes it."""
        return f"{self.dashes}{name.replace('_', '-')}" if self.dashes else name


@dataclass(frozen=True, slots=True)
class _Said:
    """A text, and what a sentence about it begins with."""

    text: str
    label: str


# What checks the text of an option of InspectOptions.
_PARSERS: Mapping[str, Callable[[str, str], str | int]] = {
    "torch": values.torch_version,
    "cudnn": values.cudnn_version,
    "autocast": values.autocast,
    "optimizer": values.optimizer,
    "batch_size": values.positive,
}


def make_jobs(
    configs: Sequence[Path],
    given: Given,
    base: InspectOptions,
    policy: Path | None,
    *,
    isolated: bool,
    judged: bool = True,
) -> list[Job]:
    """One job a config.

    Args:
        configs: the files.
        given: what overrides a policy.
        base: the options that no policy decides.
        policy: the file of a policy for all of them; None takes the one nearest to each config.
        isolated: take none.
        judged: whether a GPU or a budget is looked for beyond the options.

    Raises:
        BevdiagError: a policy or an option that cannot be used.
    """
    rules = policies(configs, policy, isolated=isolated)
    return [
        _job(config, given, base, rule, judged=judged)
        for config, rule in zip(configs, rules, strict=True)
    ]


def policies(configs: Sequence[Path], policy: Path | None, *, isolated: bool) -> list[Policy]:
    """Read what the project wants of each config; the arguments are those of `make_jobs`.

    Raises:
        BevdiagError: a policy that cannot be used.
    """
    if isolated and policy is not None:
        raise InputError(f"policy {policy}: without effect where none is taken (isolated)")
    read: dict[Path, PolicyFile] = {}
    found = []
    for config in configs:
        path = None if isolated else policy or find_policy(config)
        if path is not None and path not in read:
            read[path] = read_policy(path)
        found.append(read[path].of(config) if path else Policy())
        _check_codes(found[-1])
    return found


def _job(config: Path, given: Given, base: InspectOptions, policy: Policy, *, judged: bool) -> Job:
    places = _places(given, policy)
    said = {name: one for place in reversed(places) for name, one in place.items()}
    parsed: dict[str, Any] = {
        name: parse(said[name].label, said[name].text)
        for name, parse in _PARSERS.items()
        if name in said
    }
    pins = {site: int(setting.text) for site, setting in policy.assume.items()}
    options = replace(base, **parsed, pins={**pins, **base.pins})
    options = _judged(options, places if judged else places[:1], at_hand=judged)
    words = _words(options)
    if "margin" in places[0] and not words:
        label = places[0]["margin"].label
        raise InputError(f"{label}: is taken off what the step must fit: name a GPU or a budget")
    if "margin" in said and words:
        options = _with_margin(options, said["margin"])
        words += f" less a margin of {said['margin'].text}"
    return Job(config=config, options=options, budget=words, ignore=policy.ignore)


def _places(given: Given, policy: Policy) -> list[dict[str, _Said]]:
    """List what the options, the environment and the policy say, in the order of their weight."""
    names = [field.name for field in fields(Given)]
    texts = {name: getattr(given, name) for name in names}
    variables = {name: os.environ.get(variable) for name, variable in _VARIABLES.items()}
    return [
        {n: _Said(text, given.label(n)) for n, text in texts.items() if text is not None},
        {n: _Said(text, _VARIABLES[n]) for n, text in variables.items() if text},
        {n: _Said(s.text, f"{s.location}: {n}") for n, s in policy.settings.items()},
    ]


def _judged(
    options: InspectOptions, places: Sequence[Mapping[str, _Said]], *, at_hand: bool
) -> InspectOptions:
    """Return the options with a GPU and a budget, both from the first place that names either."""
    from bevdiag.prediction.target import gpu_at_hand

    for number, place in enumerate(places):
        said = {name: place[name] for name in _MEMORY if name in place}
        if number:  # An option without text is a mistake; elsewhere it leaves the question open.
            said = {name: one for name, one in said.items() if one.text}
        if said:
            gpu, budget = said.get("gpu"), said.get("budget")
            return replace(
                options,
                origin=" and ".join(one.label for one in said.values()),
                gpu=None if gpu is None else values.gpu_name(gpu.label, gpu.text),
                process_bytes=(
                    None if budget is None else values.size_bytes(budget.label, budget.text)
                ),
            )
    return gpu_at_hand(options) if at_hand else options


def _words(options: InspectOptions) -> str:
    """GPU and budget as a sentence names them; empty where there is none."""
    from bevdiag.memory.sizes import format_size

    size = None if options.process_bytes is None else format_size(options.process_bytes)
    if options.origin.startswith("GPU "):
        return options.origin  # the one at hand, with who holds memory of it
    return " within ".join(part for part in (options.gpu, size) if part)


def _with_margin(options: InspectOptions, margin: _Said) -> InspectOptions:
    """Take a margin off what may be spent, a share such as 10% or a size."""
    from bevdiag.prediction.target import device_target

    target = device_target(options, "0")
    whole = target.capacity_bytes
    assert whole is not None
    text = margin.text.strip()
    spared = (
        round(whole * values.percentage(margin.label, text))
        if text.endswith("%")
        else values.size_bytes(margin.label, text)
    )
    if spared >= whole:
        raise InputError(f"{margin.label}: {margin.text!r} leaves nothing of the budget")
    return replace(
        options,
        process_bytes=whole - spared + target.context_bytes,
        origin=f"{options.origin}, less {margin.label} {text}",
    )


def _check_codes(policy: Policy) -> None:
    for code, rule in policy.ignore.items():
        if code not in CODES:
            hint = did_you_mean(code, CODES)
            raise ConfigError(f"there is no rule {code}{hint}", location=rule.location)
