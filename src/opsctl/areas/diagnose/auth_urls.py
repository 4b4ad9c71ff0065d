"""Judge where sign-in is started from and where it leads back to: CORS and redirect URLs."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from opsctl.areas.diagnose.auth_facts import AuthFacts, origin_of
from opsctl.areas.diagnose.findings import green, not_judged, red, unknown, yellow
from opsctl.core.report import Finding

_NAMED = 8


def judge_cors(facts: AuthFacts) -> list[Finding]:
    """Judge whether a browser may call Auth from the application's pages."""
    site, answer = facts.expected.site_url, facts.preflight
    if site is None or answer is None:
        return [not_judged("cors", "CORS was not tried", next="set auth.site_url in the settings")]
    origin = origin_of(site)
    if not answer.status or answer.status == 429 or answer.status >= 500:
        saw = f"status {answer.status}" if answer.status else answer.why
        return [unknown("cors", "CORS: not known", saw=saw, next="see above")]
    allowed = answer.headers.get("access-control-allow-origin", "")
    headers = answer.headers.get("access-control-allow-headers", "").lower()
    saw = f"status {answer.status}, access-control-allow-origin: {allowed or 'none'}"
    if answer.status >= 400 or allowed not in ("*", origin):
        return [
            red(
                "cors",
                f"Browsers may not call Auth from {origin}",
                saw=saw,
                next="which proxy or gateway stands before Auth, and what does it allow?",
            )
        ]
    missing = [
        name
        for name in ("apikey", "authorization", "content-type")
        if headers != "*" and name not in re.split(r"\s*,\s*", headers)
    ]
    if missing:
        return [red("cors", f"Browsers may not send {', '.join(missing)} to Auth",
                    saw=f"access-control-allow-headers: {headers or 'none'}",
                    next="which proxy or gateway stands before Auth?")]  # fmt: skip
    return [green("cors", f"CORS: {origin} may call Auth")]


def judge_redirects(facts: AuthFacts, *, protected: bool) -> list[Finding]:
    """Judge the site's URL and the redirect URLs against the project's configuration."""
    rule, expected, config = "redirects", facts.expected, facts.config
    if facts.config_error is not None:
        error = facts.config_error
        return [unknown(rule, "Redirect URLs: not known", saw=f"{error.what}: {error.why}",
                        next=error.hint)]  # fmt: skip
    if config is None:
        return [not_judged(rule, "Redirect URLs were not looked at: they are in the Management API",
                           next="set supabase.ref and supabase.access_token")]  # fmt: skip
    found: list[Finding] = []
    if expected.site_url and expected.site_url.rstrip("/") != config.site_url.rstrip("/"):
        found.append(
            red(
                rule,
                "The project's site URL is another one",
                saw=f"{config.site_url or 'none'}, not {expected.site_url}: links in "
                "e-mails lead there",
                next="Authentication, URL Configuration",
            )
        )
    missing = [
        each
        for each in expected.redirect_urls
        if not same_host(each, config.site_url)
        and not any(fits(pattern, each) for pattern in config.redirect_urls)
    ]
    if missing:
        found.append(red(rule, "Sign-in may not lead back to where it should",
                         saw=", ".join(missing[:_NAMED]) + ": not allowed, so the site URL is "
                         "taken instead", next="Authentication, URL Configuration"))  # fmt: skip
    wide = [each for each in config.redirect_urls if _wide(each)]
    if wide:
        found.append(
            yellow(
                rule,
                "Sign-in may lead to hosts of anybody: its tokens with it",
                saw=", ".join(wide[:_NAMED]),
                next="name your own hosts alone",
            )
        )
    local = [each for each in config.redirect_urls if _local(each)]
    if local and protected:
        found.append(yellow(rule, "Sign-in of a protected environment may lead to localhost",
                            saw=", ".join(local[:_NAMED]), next="remove it there"))  # fmt: skip
    others = [
        each
        for each in config.redirect_urls
        if each not in wide + local
        and not any(each == own or fits(each, own) for own in expected.redirect_urls)
    ]
    if others and expected.redirect_urls:
        found.append(yellow(rule, "Sign-in may lead to URLs that the settings do not expect",
                            saw=", ".join(others[:_NAMED]),
                            next="remove them, or name them in auth.redirect_urls"))  # fmt: skip
    return found or [green(rule, f"Redirect URLs: {len(config.redirect_urls)}, as expected")]


def fits(pattern: str, url: str) -> bool:
    """Whether Auth's pattern allows a URL: * stops at . and /, ** does not (its glob library)."""
    if pattern == url:
        return True
    words = {"**": ".*", "*": "[^./]*", "?": "[^./]"}
    parts = re.split(r"(\*\*|\*|\?)", pattern)
    text = "".join(words.get(part) or re.escape(part) for part in parts)
    return re.fullmatch(text, url, re.DOTALL) is not None


def same_host(url: str, site: str) -> bool:
    """Whether a URL is of the site's host: Auth allows those by themselves."""
    host = _host(url)
    return bool(host) and host == _host(site)


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _wide(pattern: str) -> bool:
    host = re.sub(r"^[a-z*]+://", "", pattern).partition("/")[0]
    labels = host.partition(":")[0].split(".")
    # `*.vercel.app` is anybody's as well: the last two labels must be somebody's own.
    shared = {"vercel.app", "netlify.app", "pages.dev", "github.io", "web.app", "onrender.com"}
    return any("*" in label for label in labels[-2:]) or (
        ".".join(labels[-2:]) in shared and labels[:-2] in (["*"], ["**"])
    )


def _local(pattern: str) -> bool:
    return _host(pattern.replace("*", "x")) in ("localhost", "127.0.0.1", "::1")
