"""What helps but does not stand in the config: said, with figures where it can be traced."""

from collections.abc import Mapping

from bevdiag.memory.device import DeviceTarget
from bevdiag.memory.simulate import simulate
from bevdiag.memory.verdict import judge
from bevdiag.prediction.step_source import ENDS_THAT_JUDGE, ConfigSource, Recorded
from bevdiag.remedies.results import Advice
from bevdiag.remedies.sets import plan_of
from bevdiag.rules.finding import batch_key
from bevdiag.rules.switches import reads_amp
from bevdiag.trace.kept_voxels import Scenario
from bevdiag.trace.step import Trace


def advice_for(source: ConfigSource, goal: DeviceTarget, recorded: Recorded) -> tuple[Advice, ...]:
    """Return what else would help the source: the config with whatever was chosen, recorded."""
    advice = [_expandable(recorded.traces, goal)]
    if source.options.autocast is None and source.autocast == "off":
        advice.append(_bfloat16(source, goal))
    if source.batch_size > 1:
        advice.append(_accumulation(source))
    return tuple(advice)


def _expandable(traces: Mapping[Scenario, Trace], goal: DeviceTarget) -> Advice:
    expected = traces[Scenario.EXPECTED]
    upper = traces.get(Scenario.HIGH, expected)
    # Every block is split exactly there.
    verdict = judge(goal, expected.stream, upper.stream, unsplit_bytes=0, expandable_segments=True)
    unlimited = simulate(expected.stream, goal, until_oom=False, expandable_segments=True)
    return Advice(
        id="expandable-segments",
        title="segments that grow instead of new ones: less memory reserved but not allocated",
        how="PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True in the environment of the run",
        verdict=verdict,
        reserved_bytes=unlimited.peak_reserved_bytes,
    )


def _bfloat16(source: ConfigSource, goal: DeviceTarget) -> Advice:
    half = source.run_with(autocast="bf16")
    plan = plan_of(half, half.record(ENDS_THAT_JUDGE), goal)
    key = "; OPTIMIZATION.USE_AMP: true is fp16" if _has_switch(source) else ""
    return Advice(
        id="autocast-bf16",
        title="bf16 autocast: half the bytes in matrix products and convolutions, less precision",
        how=f"torch.autocast('cuda', torch.bfloat16) around the training step{key}",
        verdict=plan.verdict,
        high_bytes=plan.high_bytes,
        reserved_bytes=plan.reserved_bytes,
    )


def _accumulation(source: ConfigSource) -> Advice:
    return Advice(
        id="gradient-accumulation",
        title="fewer samples a step and the gradients of several steps summed",
        how=f"optimizer.step() after every n-th backward pass, n times fewer samples than the "
        f"{source.batch_size} of {'.'.join(batch_key(source))}; batch norm sees the smaller "
        "batch",
    )


def _has_switch(source: ConfigSource) -> bool:
    is_code = source.settings is not None and source.settings.is_code
    return not is_code and reads_amp(source)
