"""The one place where text from outside is made harmless: shown, never obeyed."""

from __future__ import annotations

import re

_OBEYED = re.compile(
    "["
    "\x00-\x1f\x7f-\x9f"  # C0 (ESC, BEL, backspace, CR, LF, tab), DEL, C1 (CSI, OSC, NEL)
    "\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\uffa0"  # invisible letters
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # bidi marks, overrides, isolates
    "\u200b-\u200d\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb"  # zero width
    "\u2028\u2029"  # line and paragraph separators
    "\ud800-\udfff"  # lone surrogates: bytes that were not UTF-8
    "\ufdd0-\ufdef\ufffe\uffff"  # not characters
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"  # shorthand and musical format controls
    "\U000e0000-\U000e0fff"  # tags and variation selectors: text that nobody sees
    "]"
)
_NONCHARACTER = re.compile(
    "["
    + "".join(chr(plane << 16 | low) for plane in range(1, 17) for low in (0xFFFE, 0xFFFF))
    + "]"
)
_COMMAND_LINE = re.compile(r"^(\s*):(?=:[^\n]*::)", re.MULTILINE)
_COMMAND_WORD = re.compile(r"##(?=[\w.-]*\[)")


def safe(text: str, *, multiline: bool = False) -> str:
    r"""Return `text` with everything that a terminal or a CI log would obey shown instead.

    A control becomes `\x1b`, `\u202e` or `\U000e0041`. Line breaks become `\n`, or with
    `multiline` stay what they are, with tabs as spaces. The result may hold no command of a CI
    log either (see `inert`).
    """
    if text.isascii() and text.isprintable():
        return inert(text)
    if multiline:
        lines = text.replace("\r\n", "\n").split("\n")
        return inert("\n".join(_visible(line.expandtabs(4)) for line in lines))
    return inert(_visible(text))


def inert(document: str) -> str:
    r"""Return `document` with no line that a CI server takes for a command.

    GitHub obeys `::name::` at the start of a line, blanks before it or not, and `##[name]`
    anywhere; Azure and TeamCity obey `##vso[` and `##teamcity[`. The first sign becomes `\x3a`,
    the second `\x23`. Folding can bring such a sign to the start of a line, so renderers of
    plain text call this again on what they made.
    """
    if "::" in document:
        document = _COMMAND_LINE.sub(r"\1\\x3a", document)
    if "##" in document:
        document = _COMMAND_WORD.sub(r"#\\x23", document)
    return document


def _visible(text: str) -> str:
    return _NONCHARACTER.sub(_name, _OBEYED.sub(_name, text))


def _name(found: re.Match[str]) -> str:
    named = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
    sign = found[0]
    code = ord(sign)
    if sign in named:
        return named[sign]
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
