"""Every change that `bevdiag fix` may write into a config, and `bevdiag inspect` shows."""

from collections.abc import Iterator

from bevdiag.prediction.built_in import BuiltIn
from bevdiag.prediction.plan import Change
from bevdiag.prediction.repository import Repository
from bevdiag.prediction.step_source import ConfigSource
from bevdiag.remedies import built_in, repository
from bevdiag.remedies.candidate import Candidate


def candidates(source: ConfigSource) -> Iterator[Candidate]:
    """What can be written into this source's config, without what the user's options decide.

    The order is that in which changes are shown, and in which a set makes them.
    """
    if isinstance(source, BuiltIn):
        yield from built_in.built_in_candidates(source)
    elif isinstance(source, Repository):
        yield from repository.repository_candidates(source)


def reads_amp(source: ConfigSource) -> bool:
    """Whether the training code reads OPTIMIZATION.USE_AMP."""
    if isinstance(source, BuiltIn):
        return built_in.reads_amp(source)
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
