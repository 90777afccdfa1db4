"""What stand-ins have to say of a trace: each sentence once a process."""

_noted: list[str] = []


def note(sentence: str) -> None:
    """Say it, unless it was said."""
    if sentence not in _noted:
        _noted.append(sentence)


def noted() -> tuple[str, ...]:
    """What was said so far in this process."""
    return tuple(_noted)
