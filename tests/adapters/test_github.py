"""GitHub's API read through HTTP: every page, of the same origin, and no token in an error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from opsctl.adapters.github import GithubApi, Repository, RepositoryVariable
from opsctl.adapters.rest import Patience
from opsctl.core.errors import Exit, OpsError
from opsctl.core.settings import Github
from opsctl.sandbox.github_plane import GithubPlane
from opsctl.sandbox.plane import Answered

TOKEN = "-".join(["canary", "token", "5513"])
QUICK = Patience(attempts=3, pause_s=0.01, longest_pause_s=2.0)
HEAD = "c" * 40


@pytest.fixture
def plane(monkeypatch: pytest.MonkeyPatch) -> Iterator[GithubPlane]:
    monkeypatch.setenv("T_TOKEN", TOKEN)
    with GithubPlane(token=TOKEN, head=HEAD) as plane:
        yield plane


def api(plane: GithubPlane, **changes: Any) -> GithubApi:
    given = {"repository": "example/web", "token": "env:T_TOKEN", "api": plane.url}
    return GithubApi(Github(**{**given, **changes}), patience=QUICK)


def error_of(read: Callable[[], object]) -> OpsError:
    with pytest.raises(OpsError) as caught:
        read()
    error = caught.value
    assert error.exit is Exit.UNKNOWN
    assert all((error.what, error.why, error.hint, error.code))
    assert TOKEN not in repr((error.what, error.why, error.hint, error.code, error.args))
    return error


def test_the_default_branch_and_its_head_are_read(plane: GithubPlane) -> None:
    plane.default_branch = "release/next"

    assert Repository("example/web", "release/next", HEAD) == api(plane).repository()
    assert "/branches/release%2Fnext" in plane.asked[-1].path


def test_a_repository_without_a_commit_has_no_head(plane: GithubPlane) -> None:
    plane.head = ""

    assert "" == api(plane).repository().head


def test_every_page_of_secrets_is_read(plane: GithubPlane) -> None:
    names = [f"KEY_{number:03}" for number in range(230)]
    for name in reversed(names):
        plane.put_secret(name)

    assert names == [each.name for each in api(plane).secrets()]
    assert 3 == len(plane.asked)
    assert all("2026-01-02" in each.updated_at for each in api(plane).secrets())


def test_every_page_of_variables_is_read(plane: GithubPlane) -> None:
    """The API gives thirty at once, however many are asked for."""
    for number in range(70):
        plane.put_variable(f"V_{number:03}", str(number))

    found = api(plane).variables()

    assert [str(number) for number in range(70)] == [each.value for each in found]
    assert 3 == len(plane.asked)


def test_those_of_an_environment_are_its_own(plane: GithubPlane) -> None:
    plane.put_secret("REPOSITORY_KEY")
    plane.put_secret("OWN_KEY", environment="a/b c")
    plane.put_variable("OWN", "v", environment="a/b c")

    assert ["OWN_KEY"] == [each.name for each in api(plane).secrets("a/b c")]
    found = api(plane).variables("a/b c")
    assert [RepositoryVariable("OWN", "v", found[0].updated_at)] == list(found)
    assert "/environments/a%2Fb%20c/" in plane.asked[0].path


def test_an_environment_that_is_not_there_is_an_error_and_not_empty(plane: GithubPlane) -> None:
    assert "github-not-found" == error_of(lambda: api(plane).secrets("nowhere")).code


def test_no_page_of_another_origin_is_asked_for(plane: GithubPlane) -> None:
    with GithubPlane(token=TOKEN) as other:
        link = {"Link": f'<{other.url}/repos/example/web/actions/secrets?page=2>; rel="next"'}
        data = {"total_count": 2, "secrets": [{"name": "A", "updated_at": "x"}]}
        plane.fail("/secrets", Answered(200, data, link))

        error = error_of(lambda: api(plane).secrets())

        assert [] == other.asked
    assert "github-answer" == error.code


def test_pages_that_lead_in_a_circle_are_an_error(plane: GithubPlane) -> None:
    link = {"Link": '</repos/example/web/actions/secrets?page=2>; rel="next"'}
    data = {"total_count": 1, "secrets": [{"name": "A", "updated_at": "x"}]}
    plane.fail("/secrets", Answered(200, data, link), times=99)

    assert "github-answer" == error_of(lambda: api(plane).secrets()).code


def test_a_list_that_is_shorter_than_it_says_is_an_error(plane: GithubPlane) -> None:
    data = {"total_count": 3, "secrets": [{"name": "A", "updated_at": "x"}]}
    plane.fail("/secrets", Answered(200, data))

    assert "it has 3, and listed 1" in error_of(lambda: api(plane).secrets()).why


@pytest.mark.parametrize(
    ("status", "headers", "code", "asked"),
    [
        (401, {}, "github-refused", 1),
        (403, {}, "github-refused", 1),
        (403, {"X-RateLimit-Remaining": "0"}, "github-busy", 1),
        (404, {}, "github-not-found", 1),
        (422, {}, "github-refused", 1),
        (429, {"Retry-After": "0"}, "github-busy", 3),
        (500, {}, "github-failing", 3),
        (301, {"Location": "/repositories/1"}, "github-answer", 1),
    ],
)
def test_each_refusal_has_its_code(
    plane: GithubPlane, status: int, headers: dict[str, str], code: str, asked: int
) -> None:
    plane.fail("", Answered(status, {"message": f"not with {TOKEN}"}, headers), times=99)

    error = error_of(lambda: api(plane).repository())

    assert (code, asked) == (error.code, len(plane.asked))


def test_a_wrong_token_is_refused(plane: GithubPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("T_TOKEN", "wrong")

    assert "Bad credentials" in error_of(lambda: api(plane).secrets()).why


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"null", b"[]", b"{}", b'{"total_count":1}', b'{"total_count":0,"secrets":5}',
     b'{"total_count":"x","secrets":[]}', b'{"total_count":1,"secrets":[{"name":"A"}]}',
     b'{"total_count":1,"secrets":[{"name":1,"updated_at":"x"}]}', b"[" * 100_000],
)  # fmt: skip
def test_rubbish_is_said_to_be_rubbish(plane: GithubPlane, body: bytes) -> None:
    plane.fail("", Answered(200, body))

    assert "github-answer" == error_of(lambda: api(plane).secrets()).code


def test_odd_values_are_data(plane: GithubPlane) -> None:
    odd = "A\x1b]52;c;x\x07\r\n\u202e[/x]"
    plane.put_variable("ODD", odd)

    assert odd == api(plane).variables()[0].value


def test_without_a_token_nothing_is_asked(plane: GithubPlane) -> None:
    error = error_of(lambda: api(plane, token=None).secrets())

    assert ("github-refused", []) == (error.code, plane.asked)
