"""What is said of a window, in each of its states. Pure."""

from __future__ import annotations

from opsctl.adapters.notify import Message
from opsctl.areas.maintenance.facts import Planned
from opsctl.core.times import format_moment


def key_of(window: Planned) -> str:
    """Return what tells this message from others: the window, its state, and what was changed."""
    return f"{window.id}/{window.state}/{window.sequence}"


def mark_of(key: str) -> str:
    """Return what stands at a message's end: by it the message is found again."""
    return f"[{key}]"


def message_of(window: Planned, *, environment: str) -> Message:
    """Return what is to be said of a window as it is now."""
    begin, end = format_moment(window.begins_at), format_moment(window.ends_at)
    if window.state == "planned":
        title = f"Maintenance of {environment}: {begin} to {end}"
        if window.sequence:
            title = f"Maintenance of {environment} was moved: now {begin} to {end}"
        said = [window.reason, f"It takes {window.hours:g} h. Some things may not work meanwhile."]
        if window.short_notice:
            said.append(f"This is short notice: {window.short_notice}.")
    elif window.state == "started":
        title = f"Maintenance of {environment} has begun"
        said = [window.reason, f"It is to end by {end}. Some things may not work until then."]
    elif window.state == "finished":
        title = f"Maintenance of {environment} is over"
        said = [window.note or window.reason]
    else:
        title = f"Maintenance of {environment} on {begin} is cancelled"
        said = [window.note or window.reason]
    return Message(title, "\n".join([*said, mark_of(key_of(window))]))
