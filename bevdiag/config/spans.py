"""Where the parts of a YAML text begin and end, so that one of them can be replaced alone.

The text has been read by `TreeBuilder` before, which refuses whatever is hostile or broken.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import yaml


@dataclass(slots=True, kw_only=True)
class Spot:
    """A value's stretch of the text, in characters; what follows its last word is not part of it.

    Attributes:
        start: of the value; `end` is behind its last character.
        column: where it starts in its line.
        is_mapping: whether it has keys.
        is_flow: whether it is written in brackets, or on one line as a scalar.
        is_shared: whether it is an alias or has an anchor, so that it stands for other places too.
        value: the text of a scalar.
        entries: by key, for a mapping.
        items: of a list.
    """

    start: int
    end: int
    column: int
    is_mapping: bool = False
    is_flow: bool = True
    is_shared: bool = False
    value: str | None = None
    entries: dict[str, "Entry"] = field(default_factory=dict)
    items: list["Spot"] = field(default_factory=list)

    def child(self, key: str) -> "Spot | None":
        """Return the part that `key` names: a key, an index, or the NAME of a list's entry."""
        if self.is_mapping:
            entry = self.entries.get(key)
            return None if entry is None else entry.value
        if key.isdecimal() and int(key) < len(self.items):
            return self.items[int(key)]
        for item in self.items:
            name = item.entries.get("NAME")
            if name is not None and name.value.value == key:
                return item
        return None


@dataclass(frozen=True, slots=True)
class Entry:
    """A key of a mapping, from `start` to `end` and in `column`, and its value."""

    start: int
    end: int
    column: int
    value: Spot


def read_spans(text: str) -> Spot:
    """Read the spans of the one document in `text`, which is known to be a mapping."""
    events = yaml.parse(text, Loader=yaml.SafeLoader)
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            break
    return _spot(next(events), events)


def _spot(event: yaml.Event, events: Iterator[yaml.Event]) -> Spot:
    start, end = event.start_mark, event.end_mark
    assert start is not None
    assert end is not None
    spot = Spot(start=start.index, end=end.index, column=start.column)
    if isinstance(event, yaml.AliasEvent):
        spot.is_shared = True
        return spot
    assert isinstance(event, yaml.NodeEvent)
    spot.is_shared = event.anchor is not None
    if isinstance(event, yaml.ScalarEvent):
        spot.value, spot.is_flow = event.value, event.style not in ("|", ">")
        return spot
    assert isinstance(event, yaml.CollectionStartEvent)
    spot.is_mapping = isinstance(event, yaml.MappingStartEvent)
    spot.is_flow = bool(event.flow_style)
    closing = _contents(spot, events)
    if spot.is_flow and closing.end_mark is not None:
        spot.end = closing.end_mark.index
    else:
        # The closing event of a block stands where the next block begins, comments between.
        below = [entry.value for entry in spot.entries.values()] + spot.items
        spot.end = max([spot.end, *(part.end for part in below)])
    return spot


def _contents(spot: Spot, events: Iterator[yaml.Event]) -> yaml.Event:
    """Read the parts of a mapping or list up to its closing event, and return that."""
    while not isinstance(event := next(events), yaml.CollectionEndEvent):
        if not spot.is_mapping:
            spot.items.append(_spot(event, events))
            continue
        key = _spot(event, events)
        entry = Entry(key.start, key.end, key.column, _spot(next(events), events))
        spot.entries[key.value or ""] = entry
    return event
