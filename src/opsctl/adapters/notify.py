"""Tell people: Slack by its Web API, mail and a hundred other services by Apprise.

Telling is no step of a plan: it changes nothing that could be undone, and it is done at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from opsctl.core.errors import Exit, OpsError
from opsctl.core.secrets import resolve_secret, without_secrets

if TYPE_CHECKING:
    from opsctl.core.settings import Channels

_TIMEOUT_S = 15.0
_MOST_SIGNS = 3000


@dataclass(frozen=True)
class Message:
    """One message: a line, and more of it."""

    title: str
    body: str


def channel_names(channels: Channels) -> tuple[str, ...]:
    """Return the channels that the settings describe, without any secret: slack, email, url-1."""
    names = ["slack"] if channels.slack else []
    names += ["email"] if channels.email else []
    return (*names, *(f"url-{index}" for index in range(1, len(channels.urls) + 1)))


def tell(channels: Channels, message: Message, *, only: tuple[str, ...] = ()) -> dict[str, str]:
    """Send a message to every channel, or to those named; return why each failed one failed.

    Neither a token nor an address is in what is returned. Slow: up to 15 s a channel.
    """
    failed = {}
    for name, reference in _destinations(channels):
        if only and name not in only:
            continue
        try:
            secret = resolve_secret(reference)
            if name == "slack":
                _tell_slack(channels, secret, message)
            else:
                address = secret if name != "email" else _mail_address(secret, channels.email)
                _tell_apprise(address, message)
        except OpsError as error:
            failed[name] = f"{error.what}: {error.why}"
        except Exception as error:  # noqa: BLE001 - one channel must not keep the others
            failed[name] = f"it was not told: {type(error).__name__}"
    return failed


def _destinations(channels: Channels) -> Iterator[tuple[str, str]]:
    if channels.slack:
        yield "slack", channels.slack
    if channels.email:
        # Without a server resolving says that the reference is missing.
        yield "email", channels.smtp or "env:OPSCTL_SMTP_URL"
    for index, reference in enumerate(channels.urls, 1):
        yield f"url-{index}", reference


def _tell_slack(channels: Channels, token: str, message: Message) -> None:
    import httpx

    text = f"*{_slack_text(message.title)}*\n{_slack_text(message.body)}"
    try:
        with httpx.Client(follow_redirects=False, timeout=_TIMEOUT_S) as client:
            response = client.post(
                f"{channels.slack_api.rstrip('/')}/chat.postMessage",
                headers={"Authorization": f"Bearer {token}"},
                json={"channel": channels.slack_channel, "text": text, "unfurl_links": False},
            )
        answer: Any = response.json()
    except (httpx.HTTPError, ValueError, UnicodeError) as error:
        raise _failed("Slack was not reached", type(error).__name__) from None
    if response.status_code != 200 or not isinstance(answer, dict) or answer.get("ok") is not True:
        said = answer.get("error") if isinstance(answer, dict) else None
        why = without_secrets(str(said or f"status {response.status_code}")[:100], [token])
        raise _failed("Slack did not take the message", why)


def _slack_text(text: str) -> str:
    """Return text that mentions nobody: Slack obeys <!channel>."""
    text = text[:_MOST_SIGNS]
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _tell_apprise(address: str, message: Message) -> None:
    try:
        import apprise
    except ImportError:
        raise _failed(
            "The channel could not be used",
            "the notify extra is not installed: pip install 'opsctl[notify]'",
        ) from None
    import logging

    # It logs addresses, and with them secrets.
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
    service = apprise.Apprise()
    if not service.add(address):
        raise _failed("The channel could not be used", "its address is not one that Apprise knows")
    body = message.body[:_MOST_SIGNS] or message.title
    try:
        taken = service.notify(title=message.title, body=body, body_format="text")
    except Exception as error:  # noqa: BLE001 - of more than a hundred plugins, by others
        raise _failed("The message was not sent", type(error).__name__) from None
    if not taken:
        raise _failed("The message was not sent", "the service did not take it")


def _mail_address(server: str, recipients: tuple[str, ...]) -> str:
    join = "&" if "?" in server else "?"
    return f"{server}{join}to={quote(','.join(recipients), safe='@,')}"


def _failed(what: str, why: str) -> OpsError:
    return OpsError(
        what,
        why=why,
        hint="check channels in the settings",
        code="not-told",
        exit=Exit.UNKNOWN,
    )
