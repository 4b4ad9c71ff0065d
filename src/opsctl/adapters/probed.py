"""What became of one request: its answer or its failure, and when each phase of it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from opsctl.adapters.dialing import Failed
from opsctl.adapters.http_request import Ask


@dataclass(frozen=True, slots=True)
class Times:
    """When each phase of an answer ended, in ms after it began; None where it was not reached."""

    dns_ms: float | None = None
    connect_ms: float | None = None
    tls_ms: float | None = None
    first_byte_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one request."""

    ask: Ask
    due: float
    """Of `time.monotonic`, as is `began`."""
    began: float
    ended: float
    failure: Failed | None = None
    status: int | None = None
    """The status of the last answer, also where its body then failed."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Names in lower case."""
    body: bytes = b""
    """As much of it as was to be kept."""
    whole: bool = False
    """Whether that is all of the body."""
    times: Times = Times()
    address: str = ""
    certificate: bytes = b""
    """The server's, DER."""
    location: str = ""
    """Where a redirect that was not followed leads to, absolute."""
    proxy: str = ""

    @property
    def took_ms(self) -> float:
        """From when it was due to its end."""
        return (self.ended - self.due) * 1000

    @property
    def own_ms(self) -> float:
        """From when it began to its end."""
        return (self.ended - self.began) * 1000
