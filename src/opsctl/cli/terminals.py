"""Which terminals are known to follow hyperlinks (OSC 8); the others get plain text."""

from __future__ import annotations

from collections.abc import Mapping

_SINCE = {
    "iTerm.app": (3, 1),
    "WezTerm": (0,),
    "vscode": (1, 72),
    "ghostty": (0,),
    "zed": (0,),
    "Hyper": (3, 0),
    "tmux": (3, 4),
    "mintty": (3, 1),
}
"""By TERM_PROGRAM: the version from which on; tmux passed none on before 3.4."""
_NAMES = ("alacritty", "xterm-kitty", "xterm-ghostty", "foot", "contour", "wezterm")
"""Beginnings of TERM."""
_VTE = 5001
"""VTE_VERSION of the terminals of GNOME, Xfce and others; 0.50.0 ended when it met a link."""


def follows_links(environ: Mapping[str, str]) -> bool:
    """Whether the terminal that `environ` tells of is one of them.

    Inside GNU screen, an editor's shell, or the log of a job nothing is known of the terminal.
    """
    if any(environ.get(name) for name in ("CI", "TEAMCITY_VERSION", "STY", "INSIDE_EMACS")):
        return False
    program = environ.get("TERM_PROGRAM", "")
    if program in _SINCE:
        return _version(environ.get("TERM_PROGRAM_VERSION", "")) >= _SINCE[program]
    if environ.get("TMUX"):
        return False  # one too old to say its name; the variables below are of what is around it
    if environ.get("WT_SESSION") or environ.get("KITTY_WINDOW_ID") or environ.get("DOMTERM"):
        return True
    vte = environ.get("VTE_VERSION", "")
    if vte.isdecimal():
        return int(vte) >= _VTE
    return environ.get("TERM", "").startswith(_NAMES)


def _version(text: str) -> tuple[int, ...]:
    """Return the leading numbers of a version: those of `3.5a` are 3 and 5."""
    numbers = []
    for part in text.split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits))
    return tuple(numbers)
