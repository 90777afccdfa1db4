"""Every change that `bevdiag fix` may write into a config, and `bevdiag inspect` shows."""

from collections.abc import Iterator

from bevdiag.prediction.built_in import BuiltIn
from bevdiag.prediction.plan import Change
from bevdiag.prediction.step_source import ConfigSource
from bevdiag.remedies import built_in
from bevdiag.remedies.candidate import Candidate


def candidates(source: ConfigSource) -> Iterator[Candidate]:
    """What can be written into this source's config, without what the user's options decide.

    The order is that in which changes are shown, and in which a set makes them.
    """
    if isinstance(source, BuiltIn):
        yield from built_in.built_in_candidates(source)
        return
    from bevdiag.prediction.repository import Repository  # stubs for all that user code imports
    from bevdiag.remedies.repository import repository_candidates

    if isinstance(source, Repository):
        yield from repository_candidates(source)


def reads_amp(source: ConfigSource) -> bool:
    """Whether the training code reads OPTIMIZATION.USE_AMP."""
    if isinstance(source, BuiltIn):
        return built_in.reads_amp(source)
    from bevdiag.prediction.repository import Repository
    from bevdiag.remedies import repository

    return isinstance(source, Repository) and repository.reads_amp(source)


def change_of(candidate: Candidate) -> Change:
    """The candidate without its values."""
    return Change(
        id=candidate.id,
        group=candidate.group,
        title=candidate.title,
        price=int(candidate.price),
        loses=candidate.loses,
        unsafe=candidate.unsafe,
        needs=candidate.needs,
    )
