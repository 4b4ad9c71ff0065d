"""The part of Slack's Web API that incident handling uses: messages, threads, reminders.

As Slack's, it answers 200 with `ok: false` and a word where something is wrong.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, ClassVar

from opsctl.sandbox.plane import Answered, Asked, ControlPlane

_MOST_TEXT = 40_000
_FURTHEST_S = 120 * 86_400


class SlackPlane(ControlPlane):
    """One workspace: its channels and what was said in them."""

    KIND = "slack"
    KEPT: ClassVar[tuple[str, ...]] = ("channels", "messages", "scheduled", "last_ts")

    def __init__(self, *, token: str) -> None:
        super().__init__(token=token)
        self.channels: dict[str, str] = {"incidents": "C0SANDBOX1"}
        """Ids by name."""
        self.messages: list[dict[str, Any]] = []
        """channel, ts, text, and thread_ts within a thread."""
        self.scheduled: list[dict[str, Any]] = []
        self.last_ts = 0.0

    def refuse(self, asked: Asked) -> Answered:
        """Answer as Slack does to a token that it does not know."""
        word = "invalid_auth" if "authorization" in asked.headers else "not_authed"
        return _wrong(word)

    def too_many(self, asked: Asked) -> Answered:
        """Answer as Slack does to too many requests."""
        return Answered(429, {"ok": False, "error": "ratelimited"})

    def answer(self, asked: Asked) -> Answered:
        """Answer one request."""
        self._send_due()
        body = {**asked.query, **(asked.body if isinstance(asked.body, dict) else {})}
        parts = asked.parts[1:] if asked.parts[:1] == ("api",) else asked.parts
        match parts:
            case ("auth.test",):
                return _right(user="opsctl", user_id="U0SANDBOX", team="Sandbox")
            case ("conversations.list",):
                found = [{"id": id, "name": name} for name, id in self.channels.items()]
                return _right(channels=found, response_metadata={"next_cursor": ""})
            case ("conversations.history" | "conversations.replies" as method,):
                return self._read(body, replies=method.endswith("replies"))
            case ("chat.postMessage",):
                return self._post(body)
            case ("chat.update" | "chat.delete" as method,):
                return self._change(body, delete=method.endswith("delete"))
            case ("chat.scheduleMessage",):
                return self._schedule(body)
            case ("chat.deleteScheduledMessage",):
                return self._unschedule(body)
            case ("chat.scheduledMessages.list",):
                return _right(
                    scheduled_messages=[
                        {"id": each["id"], "channel_id": each["channel"],
                         "post_at": each["post_at"], "text": each["text"]}
                        for each in self.scheduled
                    ]
                )  # fmt: skip
            case ("chat.getPermalink",):
                link = f"https://sandbox.slack.com/archives/{body.get('channel')}/p0"
                return _right(permalink=link, channel=body.get("channel"))
        return _wrong("unknown_method")

    def _post(self, body: Mapping[str, Any]) -> Answered:
        channel = self._channel(body.get("channel"))
        if channel is None:
            return _wrong("channel_not_found")
        text = body.get("text") or ""
        if not text and not body.get("blocks"):
            return _wrong("no_text")
        if len(text) > _MOST_TEXT:
            return _wrong("msg_too_long")
        thread = body.get("thread_ts")
        if thread and self._find(channel, thread) is None:
            return _wrong("thread_not_found")
        message = self._new(channel, text, thread)
        return _right(channel=channel, ts=message["ts"], message={**message, "type": "message"})

    def _new(self, channel: str, text: str, thread: Any) -> dict[str, Any]:
        self.last_ts = max(time.time(), self.last_ts + 0.000_1)
        message = {
            "channel": channel,
            "ts": f"{self.last_ts:.6f}",
            "text": text,
            **({"thread_ts": str(thread)} if thread else {}),
        }
        self.messages.append(message)
        return message

    def _change(self, body: Mapping[str, Any], *, delete: bool) -> Answered:
        channel = str(body.get("channel", ""))
        if channel not in self.channels.values():
            return _wrong("channel_not_found")  # here Slack takes the id alone
        found = self._find(channel, body.get("ts"))
        if found is None:
            return _wrong("message_not_found")
        if delete:
            self.messages.remove(found)
        else:
            found["text"] = body.get("text", found["text"])
        return _right(channel=channel, ts=found["ts"], text=found["text"])

    def _schedule(self, body: Mapping[str, Any]) -> Answered:
        channel = self._channel(body.get("channel"))
        if channel is None:
            return _wrong("channel_not_found")
        try:
            post_at = int(body.get("post_at", 0))
        except ValueError:
            return _wrong("invalid_time")
        if post_at <= time.time():
            return _wrong("time_in_past")
        if post_at > time.time() + _FURTHEST_S:
            return _wrong("time_too_far")
        id = f"Q{len(self.scheduled) + int(time.time() * 1000)}"
        self.scheduled.append({"id": id, "channel": channel, "post_at": post_at,
                               "text": body.get("text", ""),
                               "thread_ts": body.get("thread_ts")})  # fmt: skip
        return _right(channel=channel, scheduled_message_id=id, post_at=post_at)

    def _unschedule(self, body: Mapping[str, Any]) -> Answered:
        found = next(
            (each for each in self.scheduled if each["id"] == body.get("scheduled_message_id")),
            None,
        )
        if found is None:
            return _wrong("invalid_scheduled_message_id")
        self.scheduled.remove(found)
        return _right()

    def _read(self, body: Mapping[str, Any], *, replies: bool) -> Answered:
        channel, thread = str(body.get("channel", "")), body.get("ts")
        if channel not in self.channels.values():
            return _wrong("channel_not_found")
        found = [
            each
            for each in self.messages
            if each["channel"] == channel
            and (
                thread in (each["ts"], each.get("thread_ts"))
                if replies
                else "thread_ts" not in each
            )
        ]
        return _right(messages=found if replies else found[::-1], has_more=False)

    def _send_due(self) -> None:
        for each in [each for each in self.scheduled if each["post_at"] <= time.time()]:
            self.scheduled.remove(each)
            self._new(each["channel"], each["text"], each["thread_ts"])

    def _channel(self, wanted: Any) -> str | None:
        name = str(wanted or "").removeprefix("#")
        return name if name in self.channels.values() else self.channels.get(name)

    def _find(self, channel: str, ts: Any) -> dict[str, Any] | None:
        return next(
            (each for each in self.messages if each["channel"] == channel and each["ts"] == ts),
            None,
        )


def _right(**data: Any) -> Answered:
    return Answered(data={"ok": True, **data})


def _wrong(word: str) -> Answered:
    return Answered(data={"ok": False, "error": word})
