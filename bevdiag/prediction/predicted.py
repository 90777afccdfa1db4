"""From a judged step to the one frozen value that every command shows a view of."""

from bevdiag.memory.profile import MemoryProfile
from bevdiag.prediction.figures import target_of
from bevdiag.prediction.judged import Judged
from bevdiag.prediction.result import Assumption, Prediction, Scene
from bevdiag.prediction.summary import layers_of, phases_of, timeline_of
from bevdiag.rules.finding import Finding, Silenced
from bevdiag.trace.data_flow import wiring_of


def prediction_of(
    step: Judged,
    *,
    config: str,
    model: str,
    autocast: str,
    optimizer: str,
    scene: Scene | None,
    bev_channels: int | None = None,
    assumptions: tuple[Assumption, ...] = (),
    findings: tuple[Finding, ...] = (),
    silenced: tuple[Silenced, ...] = (),
    unmodelled: tuple[str, ...] | None = None,
    flops: int | None = None,
) -> Prediction:
    """The prediction of a step, whatever gave its model.

    Args:
        step: traced, simulated and judged.
        config: the file's name, empty where there is none.
        model: what the detector is called.
        autocast: off, fp16 or bf16.
        optimizer: as configs name it.
        scene: the input that the step was run on, None for inputs of the model's own.
        bev_channels: of the BEV map, None where that is not known.
        assumptions: every count that depends on values.
        findings: what is wrong, worst first.
        silenced: what comments silence.
        unmodelled: what the step could not account for; None for what its events say.
        flops: of one step, None where they were not counted.
    """
    trace, expected = step.trace, step.expected
    by_module = dict(trace.params_by_module)
    return Prediction(
        config=config,
        model=model,
        target=target_of(step.target),
        device="meta",
        autocast=autocast,
        optimizer=optimizer,
        scene=scene,
        params_total=by_module.pop("total"),
        params_by_module=by_module,
        params_without_grad=sum(trace.params_without_grad.values()),
        bev_channels=bev_channels,
        peak=step.peak(),
        first_step_peak_bytes=_first_step_bytes(expected),
        phases=phases_of(expected),
        timeline=timeline_of(expected),
        layers=layers_of(trace.layers, trace.stream, expected),
        assumptions=assumptions,
        verdict=step.verdict,
        oom=step.oom(),
        gpus=step.gpus(),
        findings=findings,
        silenced=silenced,
        wiring=wiring_of(trace),
        remedies=(),
        unmodelled=tuple(trace.stream.unmodelled) if unmodelled is None else unmodelled,
        flops=flops,
    )


def _first_step_bytes(profile: MemoryProfile) -> int:
    return profile.first_step.allocated_bytes if profile.first_step else 0
