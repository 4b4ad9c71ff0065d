"""An incident's thread in a Slack channel: found again by what was written under each message.

Slack keeps no key of a sender's, so every message ends in a reference, and whether it was sent
is read back from the channel. The writes act at once: they are what the hidden commands of a
plan's steps are made of. The token needs chat:write, channels:read and channels:history (for a
private channel groups:read and groups:history).
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opsctl.adapters.rest import MISFITS, TooMuch, read_whole
from opsctl.core.errors import Exit, OpsError
from opsctl.core.secrets import resolve_secret, without_secrets

if TYPE_CHECKING:
    from opsctl.core.settings import Channels

_TIMEOUT_S = 10.0
_PAGES = 20
_PER_PAGE = 200
_MOST_SIGNS = 3500
_LIMITED = 3
_LONGEST_WAIT_S = 30.0
_ID = re.compile(r"[CDG][A-Z0-9]{6,}")


@dataclass(frozen=True)
class SlackMessage:
    """One message in the channel."""

    ts: str
    text: str


@dataclass(frozen=True)
class Scheduled:
    """One message that Slack will send by itself."""

    id: str
    post_at: int
    text: str


class SlackChannel:
    """The channel of the settings. Every call may raise OpsError `slack-...` (exit 3)."""

    def __init__(self, channels: Channels, *, sleep: Callable[[float], None] = time.sleep) -> None:
        if channels.slack is None:
            raise TypeError("the settings name no Slack")
        self._reference = channels.slack
        self._api = channels.slack_api.rstrip("/")
        self._wanted = channels.slack_channel
        self._sleep = sleep
        self._id = ""

    def find(self, mark: str, *, since: float) -> SlackMessage | None:
        """Return the channel's message that holds a text, not those within threads."""
        query = {"channel": self._channel(), "oldest": f"{since:.6f}", "inclusive": "true"}
        return _holding(mark, self._pages("conversations.history", query, "messages"))

    def find_reply(self, mark: str, *, thread: str) -> SlackMessage | None:
        """Return the message of a thread that holds a text."""
        query = {"channel": self._channel(), "ts": thread}
        return _holding(mark, self._pages("conversations.replies", query, "messages"))

    def post(self, text: str, *, thread: str | None = None, aloud: bool = False) -> str:
        """Send a message and return its ts; one of a thread is shown in the channel if `aloud`."""
        body = {"channel": self._channel(), "text": text, "unfurl_links": False}
        if thread is not None:
            body.update(thread_ts=thread, reply_broadcast=aloud)
        answer = self._ask("chat.postMessage", body=body)
        if not answer.get("ts"):
            raise _not_understood("chat.postMessage")
        return str(answer["ts"])

    def edit(self, ts: str, text: str) -> None:
        """Replace a message's text."""
        self._ask("chat.update", body={"channel": self._channel(), "ts": ts, "text": text})

    def scheduled(self, mark: str) -> list[Scheduled]:
        """Return the scheduled messages that hold a text."""
        query = {"channel": self._channel()}
        method = "chat.scheduledMessages.list"
        try:
            return [
                Scheduled(str(each["id"]), int(each["post_at"]), str(each.get("text", "")))
                for each in self._pages(method, query, "scheduled_messages")
                if mark in str(each.get("text", "")) and each.get("channel_id") == self._channel()
            ]
        except MISFITS:
            raise _not_understood(method) from None

    def schedule(self, text: str, *, post_at: int) -> None:
        """Let Slack send a message at a time."""
        body = {"channel": self._channel(), "text": text, "post_at": post_at}
        self._ask("chat.scheduleMessage", body=body)

    def unschedule(self, id: str) -> None:
        """Take a scheduled message back; one that is sent or gone already is no error."""
        body = {"channel": self._channel(), "scheduled_message_id": id}
        self._ask("chat.deleteScheduledMessage", body=body, fine=("invalid_scheduled_message_id",))

    def _channel(self) -> str:
        if not self._id:
            name = self._wanted.removeprefix("#")
            if _ID.fullmatch(name):
                self._id = name
                return name
            query = {"types": "public_channel,private_channel", "exclude_archived": "true"}
            found = self._pages("conversations.list", query, "channels")
            ids = (str(each.get("id") or "") for each in found if each.get("name") == name)
            self._id = next(ids, "")
            if not self._id:
                raise _slack_error(
                    "channel",
                    f"The Slack channel {self._wanted} was not found",
                    "the token sees no channel of that name",
                    "invite the app to it, or name the channel's id in channels.slack_channel",
                )
        return self._id

    def _pages(
        self, method: str, query: Mapping[str, str], key: str
    ) -> Iterator[Mapping[str, Any]]:
        cursor = ""
        for _ in range(_PAGES):
            more = {"cursor": cursor} if cursor else {}
            answer = self._ask(method, query={**query, "limit": str(_PER_PAGE), **more})
            listed, more_of_it = answer.get(key), answer.get("response_metadata")
            for each in listed if isinstance(listed, list) else ():
                if isinstance(each, dict):
                    yield each
            found = more_of_it.get("next_cursor") if isinstance(more_of_it, dict) else ""
            cursor = str(found or "")
            if not cursor:
                return

    def _ask(
        self,
        method: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        fine: tuple[str, ...] = (),
    ) -> Mapping[str, Any]:
        import httpx

        token = resolve_secret(self._reference)
        for attempt in range(_LIMITED):
            try:
                verify = self._api.startswith("https://")  # certificates take 30 ms to load
                with (
                    httpx.Client(
                        follow_redirects=False, timeout=_TIMEOUT_S, verify=verify
                    ) as client,
                    client.stream(
                        "GET" if body is None else "POST",
                        f"{self._api}/{method}",
                        params=query,
                        json=body,
                        headers={"Authorization": f"Bearer {token}"},
                    ) as response,
                ):
                    text = read_whole(response)
                answer: Any = json.loads(text) if response.status_code == 200 else None
            except (httpx.HTTPError, ValueError, RecursionError, TimeoutError, TooMuch) as error:
                raise _slack_error(
                    "unreached", f"Slack gave no answer to {method}", type(error).__name__,
                    "is Slack reachable from here? What was sent is found out by asking it again",
                ) from None  # fmt: skip
            if response.status_code == 429 and attempt + 1 < _LIMITED:
                self._sleep(_wait_s(response.headers.get("Retry-After", "1")))
                continue
            break
        if isinstance(answer, dict) and (answer.get("ok") is True or answer.get("error") in fine):
            return answer
        said = answer.get("error") if isinstance(answer, dict) else None
        why = without_secrets(str(said or f"status {response.status_code}")[:100], [token])
        raise _slack_error(
            "refused", f"Slack did not do {method}", why,
            "check channels.slack and the scopes of the token",
        )  # fmt: skip


def slack_text(text: str) -> str:
    """Return text that mentions nobody: Slack obeys <!channel>."""
    text = text[:_MOST_SIGNS]
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _holding(mark: str, found: Iterator[Mapping[str, Any]]) -> SlackMessage | None:
    for each in found:
        if mark in str(each.get("text", "")) and each.get("ts"):
            return SlackMessage(str(each["ts"]), str(each["text"]))
    return None


def _wait_s(text: str) -> float:
    return min(float(text) if text.isdecimal() else 1.0, _LONGEST_WAIT_S)


def _not_understood(method: str) -> OpsError:
    return _slack_error(
        "answer", f"Slack's answer to {method} was not understood",
        "it is not what its API describes", "is channels.slack_api Slack's Web API?",
    )  # fmt: skip


def _slack_error(code: str, what: str, why: str, hint: str) -> OpsError:
    return OpsError(what, why=why, hint=hint, code=f"slack-{code}", exit=Exit.UNKNOWN)
