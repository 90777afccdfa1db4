"""From the command line and a project's policy to jobs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from bevdiag.cli import values
from bevdiag.config.nearest import did_you_mean
from bevdiag.errors import ConfigError, InputError
from bevdiag.policy import Policy, PolicyFile, Setting, find_policy, read_policy
from bevdiag.prediction.checked import Job
from bevdiag.prediction.options import InspectOptions
from bevdiag.rules.codes import CODES


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What the command line or a variable of the environment says; None leaves it open."""

    gpu: str | None = None
    budget: str | None = None
    margin: str | None = None
    torch: str | None = None
    cudnn: str | None = None
    autocast: str | None = None
    optimizer: str | None = None
    batch_size: str | None = None


@dataclass(frozen=True, slots=True)
class _Said:
    """A text, and what a sentence about it begins with."""

    text: str
    label: str


# The option of InspectOptions that a text becomes, and what checks it.
_PARSERS: Mapping[str, tuple[str, Callable[[str, str], str | int]]] = {
    "gpu": ("gpu", values.gpu_name),
    "budget": ("budget_bytes", values.size_bytes),
    "torch": ("torch", values.torch_version),
    "cudnn": ("cudnn", values.cudnn_version),
    "autocast": ("autocast", values.autocast),
    "optimizer": ("optimizer", values.optimizer),
    "batch_size": ("batch_size", values.positive),
}


def make_jobs(
    configs: Sequence[Path],
    given: Given,
    base: InspectOptions,
    policy: Path | None,
    *,
    isolated: bool,
) -> list[Job]:
    """One job a config.

    Args:
        configs: the files.
        given: what overrides a policy.
        base: the options that no policy decides.
        policy: the file of a policy for all of them; None takes the one nearest to each config.
        isolated: take none.

    Raises:
        BevdiagError: a policy or an option that cannot be used.
    """
    rules = policies(configs, policy, isolated=isolated)
    return [_job(config, given, base, rule) for config, rule in zip(configs, rules, strict=True)]


def policies(configs: Sequence[Path], policy: Path | None, *, isolated: bool) -> list[Policy]:
    """What the project wants of each config; the arguments are those of `make_jobs`.

    Raises:
        BevdiagError: a policy that cannot be used.
    """
    read: dict[Path, PolicyFile] = {}
    found = []
    for config in configs:
        path = None if isolated else policy or find_policy(config)
        if path is not None and path not in read:
            read[path] = read_policy(path)
        found.append(read[path].of(config) if path else Policy())
        _check_codes(found[-1])
    return found


def _job(config: Path, given: Given, base: InspectOptions, policy: Policy) -> Job:
    said = _said(given, policy)
    parsed: dict[str, Any] = {
        field: parse(said[name].label, said[name].text)
        for name, (field, parse) in _PARSERS.items()
        if name in said
    }
    pins = {site: int(setting.text) for site, setting in policy.assume.items()}
    options = replace(base, **parsed, pins={**pins, **base.pins})
    options, words = _budget(options)
    if "margin" in said and words:
        options = _with_margin(options, said["margin"])
        words += f" less a margin of {said['margin'].text}"
    return Job(config=config, options=options, budget=words, ignore=policy.ignore)


def _said(given: Given, policy: Policy) -> dict[str, _Said]:
    judged_anew = given.gpu is not None or given.budget is not None
    said: dict[str, _Said] = {}
    for name in (field.name for field in fields(Given)):
        text: str | None = getattr(given, name)
        setting: Setting | None = getattr(policy, name)
        if text is not None:
            said[name] = _Said(text, f"--{name.replace('_', '-')}")
        elif setting is not None and not (judged_anew and name in ("gpu", "budget")):
            said[name] = _Said(setting.text, f"{setting.location}: {name}")
    return said


def _budget(options: InspectOptions) -> tuple[InspectOptions, str]:
    """The options with a budget, if there is any, and what it is in words."""
    from bevdiag.memory.oom import format_size
    from bevdiag.prediction.at_hand import gpu_at_hand

    if options.gpu is not None or options.budget_bytes is not None:
        size = None if options.budget_bytes is None else format_size(options.budget_bytes)
        return options, " within ".join(part for part in (options.gpu, size) if part)
    at_hand = gpu_at_hand()
    if at_hand is None:
        return options, ""
    found = replace(options, gpu=at_hand.gpu, budget_bytes=at_hand.budget_bytes)
    return found, at_hand.words


def _with_margin(options: InspectOptions, margin: _Said) -> InspectOptions:
    """The options with less to spend, by a share such as 10% or by a size."""
    from bevdiag.memory.catalogue import find_gpu

    usable = [] if options.budget_bytes is None else [options.budget_bytes]
    if options.gpu is not None:
        gpu = find_gpu(options.gpu)
        usable.append(gpu.total_bytes - gpu.context_bytes)
    whole = min(usable)
    text = margin.text.strip()
    spared = (
        round(whole * values.percentage(margin.label, text))
        if text.endswith("%")
        else values.size_bytes(margin.label, text)
    )
    if spared >= whole:
        raise InputError(f"{margin.label}: {margin.text!r} leaves nothing of the budget")
    return replace(options, budget_bytes=whole - spared)


def _check_codes(policy: Policy) -> None:
    for rule in policy.ignore.values():
        if rule.code not in CODES:
            hint = did_you_mean(rule.code, CODES)
            raise ConfigError(f"there is no rule {rule.code}{hint}", location=rule.location)
