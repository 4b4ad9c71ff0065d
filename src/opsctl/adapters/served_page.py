"""What a browser gets: a page's own HTML and the scripts of the same origin that it names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urljoin, urlsplit

from opsctl.adapters.bundle_html import tags_in
from opsctl.adapters.rest import TooMuch, read_whole
from opsctl.core.errors import Exit, OpsError
from opsctl.core.trust import trusted

_TIMEOUT_S = 20.0
_MOST_SCRIPTS = 200
_MOST_BYTES = 32 << 20
_SCRIPT = re.compile(r"[^?]+\.m?js(?:\?.*)?", re.IGNORECASE | re.DOTALL)


def read_served(url: str) -> dict[str, str]:
    """Return the text of a page and of each script that it names, by address.

    No cache is used on the way, no redirect leaves the origin. Raises OpsError `page-unread`
    (exit 3) where the page or one of its scripts is not got whole: what is missing may be
    what is looked for.
    """
    import httpx

    found: dict[str, str] = {}
    headers = {"User-Agent": "opsctl", "Cache-Control": "no-cache", "Accept": "*/*"}
    with httpx.Client(
        timeout=_TIMEOUT_S, headers=headers, follow_redirects=False, verify=trusted()
    ) as client:
        page = _get(client, url)
        found[url] = page
        try:
            scripts = dict.fromkeys(urljoin(url, each) for each in _scripts_of(page))
            own = [each for each in scripts if _origin(each) == _origin(url)]
        except ValueError:
            raise _unread(url, "it names a script by what is no address") from None
        if len(own) > _MOST_SCRIPTS:
            raise _unread(url, f"it names {len(own)} scripts")
        size = len(page)
        for each in own:
            found[each] = _get(client, each)
            size += len(found[each])
            if size > _MOST_BYTES:
                raise _unread(url, f"its scripts are larger than {_MOST_BYTES >> 20} MiB")
    return found


def _get(client: object, url: str) -> str:
    import httpx

    assert isinstance(client, httpx.Client)
    try:
        with client.stream("GET", url) as answer:
            body = read_whole(answer)
    except TooMuch as error:
        raise _unread(url, f"it is {error}") from None
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
        raise _unread(url, f"no answer: {type(error).__name__}") from None
    if answer.status_code != 200:
        raise _unread(url, f"it answered {answer.status_code}")
    # Scripts are UTF-8, whatever the server calls them: what is looked for is ASCII.
    return body.decode("utf-8", "replace")


def _scripts_of(page: str) -> Iterator[str]:
    for kind, given in tags_in(page):
        address = given.get("src" if kind == "script" else "href", "")
        if _SCRIPT.fullmatch(address):
            yield address


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


def _unread(url: str, why: str) -> OpsError:
    return OpsError(
        f"What browsers get from {url} could not be read",
        why=why,
        hint="is it the page of the application? rotation.page in the settings",
        code="page-unread",
        exit=Exit.UNKNOWN,
    )
