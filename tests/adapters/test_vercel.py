"""Vercel's API read through HTTP: whole lists, patience, errors that say why and no token."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from opsctl.adapters.rest import Patience
from opsctl.adapters.vercel import Deployment, GitLink, Project, VercelApi
from opsctl.core.action import Request
from opsctl.core.errors import Exit, OpsError
from opsctl.core.settings import Vercel
from opsctl.engine.perform import ask, perform
from opsctl.sandbox.plane import Answered
from opsctl.sandbox.vercel_plane import VercelPlane

TOKEN = "-".join(["canary", "token", "5512"])
QUICK = Patience(attempts=3, pause_s=0.01, longest_pause_s=2.0)
ODD = "A\x1b]52;c;x\x07\r\n\u202e[/x]"


@pytest.fixture
def plane(monkeypatch: pytest.MonkeyPatch) -> Iterator[VercelPlane]:
    monkeypatch.setenv("T_TOKEN", TOKEN)
    with VercelPlane(token=TOKEN) as plane:
        yield plane


def settings(plane: VercelPlane, **changes: Any) -> Vercel:
    given = {"project": "web", "team": plane.team, "token": "env:T_TOKEN", "api": plane.url}
    return Vercel(**{**given, **changes})


def api(plane: VercelPlane, **changes: Any) -> VercelApi:
    return VercelApi(settings(plane, **changes), patience=QUICK)


def error_of(plane: VercelPlane, **changes: Any) -> OpsError:
    with pytest.raises(OpsError) as caught:
        api(plane, **changes).project()
    error = caught.value
    assert error.exit is Exit.UNKNOWN
    assert all((error.what, error.why, error.hint, error.code))
    assert TOKEN not in repr((error.what, error.why, error.hint, error.code, error.args))
    return error


def answered(data: Any) -> Answered:
    return Answered(200, data if isinstance(data, bytes) else json.dumps(data).encode())


def test_a_project_is_read(plane: VercelPlane) -> None:
    live = plane.add_deployment("a" * 40, live=True)
    plane.auto_assign = False

    expected = Project(
        id="prj_web",
        name="web",
        link=GitLink("github", "example/web", "main"),
        auto_assign=False,
        live=live,
    )
    assert expected == api(plane).project()


def test_the_token_and_the_team_go_along(plane: VercelPlane) -> None:
    api(plane).project()

    assert f"Bearer {TOKEN}" == plane.asked[0].headers["authorization"]
    assert {"teamId": plane.team} == plane.asked[0].query


def test_production_is_what_the_domain_points_to(plane: VercelPlane) -> None:
    """Not what the project's own record names: that may be older."""
    old = plane.add_deployment("a" * 40, live=True)
    plane.add_deployment("b" * 40, live=True)
    plane.add_domain("redirects.example.com", redirect="web.example.com")
    plane.add_domain("branch.example.com", gitBranch="next")
    plane.add_domain("new.example.com", verified=False)
    project = api(plane).project()
    for name in plane.aliases:
        plane.aliases[name] = old

    found = api(plane).production(project)

    assert found.deployment is not None
    assert old == found.deployment.id
    assert "a" * 40 == found.deployment.commit
    assert ["web.example.com", "web.vercel.example"] == [each.name for each in found.domains]
    assert not found.split


def test_domains_that_disagree_are_seen(plane: VercelPlane) -> None:
    plane.add_deployment("a" * 40, live=True)
    plane.aliases["web.vercel.example"] = plane.add_deployment("b" * 40)

    assert api(plane).production(api(plane).project()).split


def test_nothing_live_is_none_and_no_error(plane: VercelPlane) -> None:
    found = api(plane).production(api(plane).project())

    assert found.deployment is None
    assert [None, None] == [each.deployment for each in found.domains]


def test_a_deployment_that_is_gone_is_none(plane: VercelPlane) -> None:
    assert api(plane).deployment("dpl_gone") is None
    assert api(plane).deployment("../v2/user") is None


def test_every_page_of_deployments_is_read(plane: VercelPlane) -> None:
    made = [plane.add_deployment(f"{number:040x}") for number in range(250)]
    project = api(plane).project()

    found, complete = api(plane).deployments(project, most=1000)

    assert list(reversed(made)) == [each.id for each in found]
    assert complete
    assert 3 == plane.count("GET", "/v6/deployments")


def test_fewer_than_all_deployments_are_said_to_be_fewer(plane: VercelPlane) -> None:
    made = [plane.add_deployment(f"{number:040x}") for number in range(5)]
    project = api(plane).project()

    assert (2, False) == (
        len(api(plane).deployments(project, most=2)[0]),
        api(plane).deployments(project, most=2)[1],
    )
    assert api(plane).deployments(project, most=5)[1]
    assert made[4] == api(plane).deployments(project, most=1)[0][0].id


def test_deployments_are_filtered_by_the_api(plane: VercelPlane) -> None:
    one = plane.add_deployment("a" * 40)
    plane.add_deployment("a" * 40, target=None)
    plane.add_deployment("a" * 40, state="ERROR")
    plane.add_deployment("b" * 40)
    project = api(plane).project()

    found, _ = api(plane).deployments(
        project, most=9, target="production", state="READY", sha="a" * 40
    )

    assert [one] == [each.id for each in found]


def test_pages_that_do_not_end_are_an_error(plane: VercelPlane) -> None:
    project = api(plane).project()
    page = {"deployments": [], "pagination": {"count": 0, "next": 7, "prev": None}}
    plane.fail("/v6/deployments", answered(page), times=999)

    with pytest.raises(OpsError) as caught:
        api(plane).deployments(project, most=5)

    assert "vercel-answer" == caught.value.code


def test_one_record_for_two_targets_is_one_variable(plane: VercelPlane) -> None:
    id = plane.add_variable("BOTH", "v", "production", "preview")
    plane.add_variable("ONE", "v", "preview", type="plain", branch="next")

    both, one = api(plane).variables().variables

    assert (id, "BOTH", ("preview", "production"), "encrypted", "", True) == (
        both.id, both.name, both.targets, both.type, both.branch, both.readable
    )  # fmt: skip
    assert ("ONE", ("preview",), "plain", "next", True) == (
        one.name, one.targets, one.type, one.branch, one.readable
    )  # fmt: skip


def test_a_target_may_be_a_single_word(plane: VercelPlane) -> None:
    record = {"id": "env_1", "key": "A", "type": "plain", "target": "production", "value": "v"}
    plane.fail("/env", answered({"envs": [record]}))

    assert ("production",) == api(plane).variables().variables[0].targets


def test_variables_come_in_pages_where_the_api_makes_pages(plane: VercelPlane) -> None:
    def page(name: str, following: int | None) -> Answered:
        record = {"id": f"env_{name}", "key": name, "type": "plain", "target": [], "value": ""}
        return answered(
            {"envs": [record], "pagination": {"count": 1, "next": following, "prev": None}}
        )

    plane.fail("/env", page("B", 5))
    plane.fail("/env", page("A", None))

    assert ["A", "B"] == [each.name for each in api(plane).variables().variables]
    assert "5" == plane.asked[-1].query["until"]


def test_hidden_variables_are_counted(plane: VercelPlane) -> None:
    plane.hidden_variables = 4

    assert 4 == api(plane).variables().hidden


def test_values_are_read_where_the_api_decrypts_them(plane: VercelPlane) -> None:
    for kind in ("plain", "encrypted", "sensitive", "secret", "system"):
        plane.add_variable(kind.upper(), f"value of {kind}", type=kind)
    reader = api(plane)

    found = {each.name: reader.value(each) for each in reader.variables().variables}

    assert {
        "PLAIN": "value of plain", "ENCRYPTED": "value of encrypted",
        "SENSITIVE": None, "SECRET": None, "SYSTEM": None,
    } == found  # fmt: skip
    assert 2 == plane.count("GET", "/v1/projects/web/env/")


def test_cipher_text_is_not_taken_for_a_value(plane: VercelPlane) -> None:
    plane.add_variable("A", "v")
    (variable,) = api(plane).variables().variables
    record = {"type": "encrypted", "key": "A", "value": "cipher", "decrypted": False}
    plane.fail("/env/", answered(record))

    assert api(plane).value(variable) is None


def test_a_variable_that_is_gone_meanwhile_has_no_value(plane: VercelPlane) -> None:
    plane.add_variable("A", "v")
    (variable,) = api(plane).variables().variables
    plane.variables.clear()

    assert api(plane).value(variable) is None


def test_odd_names_are_data(plane: VercelPlane) -> None:
    plane.add_variable(ODD, "v")
    plane.add_deployment("a" * 40, message=ODD, live=True)

    project = api(plane).project()
    assert ODD == api(plane).variables().variables[0].name
    assert ODD == api(plane).deployments(project, most=1)[0][0].message


@pytest.mark.parametrize(
    ("status", "code", "asked"),
    [
        (400, "vercel-refused", 1),
        (401, "vercel-refused", 1),
        (402, "vercel-refused", 1),
        (403, "vercel-refused", 1),
        (404, "vercel-not-found", 1),
        (429, "vercel-busy", 3),
        (500, "vercel-failing", 3),
        (503, "vercel-failing", 3),
    ],
)
def test_each_refusal_has_its_code_and_only_some_are_tried_again(
    plane: VercelPlane, status: int, code: str, asked: int
) -> None:
    body = {"error": {"code": "x", "message": f"no, {TOKEN} will not do"}}
    plane.fail("", Answered(status, body), times=99)

    error = error_of(plane)

    assert (code, asked) == (error.code, len(plane.asked))
    assert str(status) in error.why


def test_a_wrong_token_is_refused_and_not_shown(
    plane: VercelPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("T_TOKEN", "wrong-canary")

    error = error_of(plane)

    assert "vercel-refused" == error.code
    assert "wrong-canary" not in repr((error.why, error.hint))


def test_a_passing_failure_is_waited_out(plane: VercelPlane) -> None:
    plane.fail("", Answered(502, b"<html>"), times=1)
    plane.fail("", Answered(429, {}, {"Retry-After": "0"}), times=1)

    assert "web" == api(plane).project().name
    assert 3 == len(plane.asked)


def test_retry_after_is_honoured(plane: VercelPlane) -> None:
    plane.fail("", Answered(429, {}, {"Retry-After": "1"}))
    began = time.monotonic()

    api(plane).project()

    assert time.monotonic() - began >= 1.0


def test_too_long_a_retry_after_is_told_and_not_waited_for(plane: VercelPlane) -> None:
    plane.fail("", Answered(429, {}, {"Retry-After": "3600"}), times=9)

    error = error_of(plane)

    assert ("vercel-busy", 1) == (error.code, len(plane.asked))
    assert "3600" in error.why


@pytest.mark.parametrize("text", ["", "soon", "-5", "²", "Wed, 21 Oct 2015 07:28:00 GMT", "9" * 40])
def test_an_odd_retry_after_breaks_nothing(plane: VercelPlane, text: str) -> None:
    plane.fail("", Answered(429, {}, {"Retry-After": text.encode().decode("latin-1")}), times=9)

    assert "vercel-busy" == error_of(plane).code


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"null", b"[]", b"{}", b'"x"', b"[" * 100_000, b"\xff\xfe", b'{"id":1}',
     b'{"id":"p","name":""}', b'{"id":"p","name":"\\ud800"}', b'{"id":"p","name":"n","link":5}',
     b'{"id":"p","name":"n","targets":[]}' * 2],
)  # fmt: skip
def test_rubbish_is_said_to_be_rubbish(plane: VercelPlane, body: bytes) -> None:
    plane.fail("", Answered(200, body))

    assert "vercel-answer" == error_of(plane).code


@pytest.mark.parametrize(
    "data",
    [
        {"envs": None}, {"envs": [None]}, {"envs": [{"key": "A"}]}, {"envs": {"a": 1}},
        {"envs": [{"key": "A", "type": "plain", "target": [1]}]},
        {"envs": [], "pagination": 5}, {"envs": [], "hiddenProductionEnvCount": "x"},
    ],
)  # fmt: skip
def test_rubbish_in_a_list_is_said_to_be_rubbish(plane: VercelPlane, data: Any) -> None:
    plane.fail("/env", answered(data))

    with pytest.raises(OpsError) as caught:
        api(plane).variables()

    assert "vercel-answer" == caught.value.code


def test_an_answer_without_end_is_given_up_once(plane: VercelPlane) -> None:
    """It is packed: 50 MB arrive as 50 kB."""
    packed = gzip.compress(bytes(50_000_000), compresslevel=1)
    plane.fail("", Answered(200, packed, {"Content-Encoding": "gzip"}), times=9)

    assert ("vercel-answer", 1) == (error_of(plane).code, len(plane.asked))


def test_an_answer_that_cannot_be_unpacked_is_tried_again(plane: VercelPlane) -> None:
    plane.fail("", Answered(200, b"no gzip", {"Content-Encoding": "gzip"}))

    assert "web" == api(plane).project().name


def test_an_answer_that_is_compressed_unasked_is_unpacked_within_bounds(plane: VercelPlane) -> None:
    page = gzip.compress(json.dumps({"id": "prj_web", "name": "web"}).encode())
    plane.fail("", Answered(200, page, {"Content-Encoding": "gzip"}))
    assert "web" == api(plane).project().name
    plane.fail("", Answered(200, page[:-9], {"Content-Encoding": "gzip"}))
    assert "web" == api(plane).project().name
    bomb = gzip.compress(b" " * (33 << 20))
    plane.fail("", Answered(200, bomb, {"Content-Encoding": "gzip"}))

    assert "vercel-answer" == error_of(plane).code


def test_no_redirect_is_followed(plane: VercelPlane) -> None:
    with VercelPlane(token=TOKEN) as other:
        plane.fail("", Answered(307, {}, {"Location": f"{other.url}/v9/projects/web"}))

        error = error_of(plane)

        assert [] == other.asked
    assert "vercel-answer" == error.code


def test_nobody_there_is_unreachable() -> None:
    with VercelPlane(token=TOKEN) as plane:
        address = plane.url
    quick = Patience(attempts=2, pause_s=0.01)

    with pytest.raises(OpsError) as caught:
        VercelApi(Vercel(project="web", token="cmd:echo x", api=address), patience=quick).project()

    assert "vercel-unreachable" == caught.value.code


def test_without_a_token_nothing_is_asked(plane: VercelPlane) -> None:
    error = error_of(plane, token=None)

    assert ("vercel-refused", []) == (error.code, plane.asked)


def test_a_token_that_no_header_can_carry_is_not_shown(
    plane: VercelPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    for token in ("canary\nx: y", "canary-ümläut"):
        monkeypatch.setenv("T_TOKEN", token)

        error = error_of(plane)

        assert "vercel-refused" == error.code
        assert "canary" not in repr((error.what, error.why, error.hint))


def test_promoting_rolling_back_and_redeploying_are_requests(plane: VercelPlane) -> None:
    old = plane.add_deployment("a" * 40, live=True)
    new = plane.add_deployment("b" * 40, live=True)
    reader = api(plane)
    project = reader.project()
    deployment = reader.deployment(old)
    assert deployment is not None
    asked = len(plane.asked)

    promote = reader.promote(project, deployment)
    rollback = reader.rollback(project, deployment, reason="it & broke")
    redeploy = reader.redeploy(deployment)

    assert asked == len(plane.asked)
    assert f"{plane.url}/v10/projects/prj_web/promote/{old}?teamId={plane.team}" == promote.url
    assert (
        f"{plane.url}/v1/projects/prj_web/rollback/{old}?description=it+%26+broke"
        f"&teamId={plane.team}" == rollback.url
    )
    assert f"{plane.url}/v13/deployments?forceNew=1&teamId={plane.team}" == redeploy.url
    assert {
        "deploymentId": old, "meta": {"action": "redeploy"}, "name": "web", "target": "production",
    } == json.loads(redeploy.body or "")  # fmt: skip
    for request in (promote, rollback, redeploy):
        assert ("POST", (("Authorization", "bearer:env:T_TOKEN"),)) == (
            request.method, request.secret_headers
        )  # fmt: skip
    assert new == plane.live


def test_the_requests_do_what_they_say(plane: VercelPlane) -> None:
    old = plane.add_deployment("a" * 40, live=True)
    new = plane.add_deployment("b" * 40, live=True)
    reader = api(plane)
    project = reader.project()

    def done(request: Request) -> int:
        return perform(request, waiting=lambda text: None).code

    def one(id: str) -> Deployment:
        found = reader.deployment(id)
        assert found is not None
        return found

    assert (201, old, False) == (
        done(reader.rollback(project, one(old))), plane.live, plane.auto_assign
    )  # fmt: skip
    assert (201, new, True) == (
        done(reader.promote(project, one(new))), plane.live, plane.auto_assign
    )  # fmt: skip
    assert 200 == done(reader.redeploy(one(old)))
    assert plane.live not in (old, new)
    assert "a" * 40 == one(plane.live or "").commit


def test_a_probe_asks_the_domain(plane: VercelPlane) -> None:
    old = plane.add_deployment("a" * 40, live=True)
    new = plane.add_deployment("b" * 40, live=True)
    reader = api(plane)

    def word(id: str) -> str:
        return ask(reader.points_to_probe("web.example.com", id, attempts=1, pause_s=0))[0]

    assert ["applied", "absent", "absent"] == [word(new), word(old), word(new[:-1])]


@pytest.mark.parametrize("fault", ["error-before", "rate-limit", "expired-token"])
def test_a_probe_that_was_not_answered_says_nothing(plane: VercelPlane, fault: str) -> None:
    """`absent` would let a promotion whose answer was lost be asked for again."""
    new = plane.add_deployment("a" * 40, live=True)
    probe = api(plane).points_to_probe("web.example.com", new, attempts=1, pause_s=0)
    plane.inject(fault, "/aliases/", method="GET")

    assert "unknown" == ask(probe)[0]
    assert "applied" == ask(probe)[0]
