"""A working tree through the front door: what is looked at, what is said, what may stay."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from tests.areas.secrets_scan.made_up import LETTERS, drawn, expand, jwt

from opsctl.render import FORMATS

Scanning = Callable[..., Any]


def secret(template: str = "{crc:ghp_}", seed: object = 1) -> str:
    return expand(template, random.Random(str(seed)))


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_clean_directory_is_clean(scan: Scanning, tmp_path: Path) -> None:
    write(tmp_path / "a.py", "print('hello')\n")

    done = scan("--format", "text")

    assert (done.code, done.err) == (0, "")
    assert done.out == "✓ ok  No secret found in the working tree: 1 file, 15 B\n"


def test_tracked_and_untracked_are_scanned_and_ignored_is_not(
    scan: Scanning, git: Scanning, tmp_path: Path
) -> None:
    for name in ("tracked.txt", "untracked.txt", "ignored.txt", "deep/er/tracked.txt"):
        write(tmp_path / name, f"token: {secret(seed=name)}\n")
    write(tmp_path / ".gitignore", "ignored.txt\n")
    git("add", "tracked.txt", "deep")

    found = {each["path"] for each in scan().secrets}
    with_ignored = {each["path"] for each in scan("--ignored").secrets}

    assert found == {"tracked.txt", "untracked.txt", "deep/er/tracked.txt"}
    assert with_ignored == found | {"ignored.txt"}


def test_a_repository_within_is_scanned_too(scan: Scanning, git: Scanning, tmp_path: Path) -> None:
    inner = tmp_path / "vendor" / "inner"
    write(inner / "a.txt", secret())
    git("init", "-q", cwd=inner)
    git("add", ".", cwd=inner)
    git("commit", "-qm", "x", cwd=inner)

    untracked = scan().secrets
    git("-c", "advice.addEmbeddedRepo=false", "add", "vendor")
    gitlink = scan().secrets

    assert [each["path"] for each in untracked] == ["vendor/inner/a.txt"]
    assert [each["path"] for each in gitlink] == ["vendor/inner/a.txt"]


def test_the_place_is_told_and_the_value_never(scan: Scanning, tmp_path: Path) -> None:
    value = secret()
    write(tmp_path / "src" / "a b.txt", f"one\ntwo\nthe token = '{value}'\n")

    for format_ in FORMATS:
        for more in ((), ("--verbose",)):
            done = scan("src", "--format", format_, *more)
            assert done.code == 1
            assert value not in done.out + done.err
            assert value[5:-3] not in done.out + done.err
            assert value[:4] in done.out.replace("\\", "")

    found = scan("src").secrets[0]
    assert (found["path"], found["line"], found["column"]) == ("src/a b.txt", 3, 14)
    assert found["shown"] == f"{value[:4]}…{value[-2:]}, 40 characters"


def test_one_value_alone_is_looked_for_by_its_hash(
    scan: Scanning, git: Scanning, tmp_path: Path
) -> None:
    old, other = secret(), secret(seed=2)
    write(tmp_path / "a.txt", f"token = '{old}'  # opsctl:allow\nother = '{other}'\n")
    git("add", ".")
    git("commit", "-qm", "one")
    write(tmp_path / "a.txt", "")
    git("commit", "-qam", "two")
    digest = f"sha256:{sha256(old.encode()).hexdigest()}"

    in_tree = scan("--only", digest)
    in_history = scan("--history", "--only", digest)
    refused = scan("--only", old, "--format", "json")

    assert (0, []) == (in_tree.code, in_tree.secrets)
    assert 1 == in_history.code
    assert [digest.removeprefix("sha256:")] == [each["sha256"] for each in in_history.secrets]
    assert 2 == refused.code
    assert old not in refused.out + refused.err


@pytest.mark.parametrize(
    "comment",
    ["opsctl:allow", "gitleaks:allow", "pragma: allowlist secret", "pragma: whitelist secret"],
)
def test_a_comment_lets_a_secret_stay(scan: Scanning, tmp_path: Path, comment: str) -> None:
    write(tmp_path / "a.py", f'token = "{secret()}"  # {comment}\nother = "{secret(seed=2)}"\n')

    done = scan()

    assert [each["line"] for each in done.secrets] == [2]
    assert done.data["data"]["allowed"] == {"comment": 1}


def test_a_comment_above_lets_the_next_line_stay(scan: Scanning, tmp_path: Path) -> None:
    write(tmp_path / "a.py", f'# pragma: allowlist nextline secret\ntoken = "{secret()}"\n')

    assert scan().code == 0


def test_paths_and_values_of_the_settings_may_stay(scan: Scanning, tmp_path: Path) -> None:
    hashed = secret(seed="hash")
    write(tmp_path / "docs" / "x" / "a.txt", secret(seed="path"))
    write(tmp_path / "a.txt", f"{hashed}\n{secret('sk_live_{A24}')}\n{secret(seed=4)}")
    write(tmp_path / "opsctl.yaml", "environments: {}\n")
    digest = next(each["sha256"] for each in scan("a.txt").secrets if each["line"] == 1)
    settings = (
        f"secrets_scan:\n  allow_paths: [docs/**]\n  allow_values: ['sk_live_*', sha256:{digest}]\n"
    )
    write(tmp_path / "opsctl.yaml", settings)

    done = scan()

    assert [(each["path"], each["line"]) for each in done.secrets] == [("a.txt", 3)]
    assert done.data["data"]["allowed"] == {"path": 1, "value": 2}


def test_a_baseline_keeps_what_is_known_without_its_value(scan: Scanning, tmp_path: Path) -> None:
    old, new = secret(seed="old"), secret(seed="new")
    write(tmp_path / "a.txt", f"{old}\n")
    made = scan("baseline", "create", "--file", "known")
    text = (tmp_path / "known").read_text()
    assert made.code == 0
    assert old not in text
    assert len(text.splitlines()) == 2
    assert scan("--baseline", "known").code == 0

    # It moves, and another joins it.
    write(tmp_path / "a.txt", f"\n\n\n{old}\n{new}\n")
    moved = scan("--baseline", "known")
    assert [each["line"] for each in moved.secrets] == [5]

    write(tmp_path / "a.txt", f"{new}\n")
    pruned = scan("baseline", "prune", "--file", "known")
    assert (pruned.code, pruned.data["data"]["gone"]) == (0, 1)
    assert len((tmp_path / "known").read_text().splitlines()) == 1


def test_a_baseline_that_is_none_is_refused(scan: Scanning, tmp_path: Path) -> None:
    write(tmp_path / "known", "what is this\n")

    assert scan("--baseline", "known").data["error"]["code"] == "bad-baseline"
    assert scan("--baseline", "gone").data["error"]["code"] == "baseline-unreadable"


def test_gitleaksignore_is_honoured(scan: Scanning, tmp_path: Path) -> None:
    write(tmp_path / "a.txt", f"x\n{secret()}\n{secret(seed=2)}\n")
    write(tmp_path / ".gitleaksignore", "# known\na.txt:github-pat:2\n")

    assert [each["line"] for each in scan().secrets] == [3]


def test_the_role_of_a_token_decides(scan: Scanning, tmp_path: Path) -> None:
    dice = random.Random(5)
    write(tmp_path / "anon.txt", jwt("anon", dice))
    write(tmp_path / "demo.txt", jwt("service_role", dice, issuer="supabase-demo"))
    write(tmp_path / "service.txt", jwt("service_role", dice))

    found = scan().secrets

    assert [(each["path"], each["severity"]) for each in found] == [("service.txt", "critical")]


def test_a_key_of_ours_is_called_ours(scan: Scanning, tmp_path: Path) -> None:
    dice = random.Random(6)
    ours, others = drawn(LETTERS, 20, dice), drawn(LETTERS, 20, dice)
    write(tmp_path / "a.txt", jwt("service_role", dice, ref=ours))
    write(tmp_path / "b.txt", jwt("service_role", dice, ref=others))
    write(tmp_path / "opsctl.yaml",
          f"environments:\n  production: {{supabase: {{ref: {ours}}}}}\n")  # fmt: skip

    done = scan()

    first, second = done.data["findings"]
    assert first["title"] == "Supabase service_role key: this is our production key"
    assert second["title"] == "Supabase service_role key"
    assert "none of the settings" in second["evidence"]
    assert [each["environment"] for each in done.secrets] == ["production", None]


def test_a_key_that_the_environment_holds_is_ours(
    scan: Scanning, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = secret("sb_secret_{b22}_{b8}")
    monkeypatch.setenv("PROD_KEY", value)
    write(tmp_path / "a.txt", value)
    write(tmp_path / "opsctl.yaml",
          "environments:\n  production: {supabase: {secret_key: env:PROD_KEY}}\n")  # fmt: skip

    assert "our production key" in scan().data["findings"][0]["title"]


def test_what_every_visitor_has_is_the_gravest(scan: Scanning, tmp_path: Path) -> None:
    key = secret("sb_secret_{b22}_{b8}")
    write(tmp_path / ".env", f"A={secret(seed=9)}\nNEXT_PUBLIC_SERVICE_KEY={key}\n")
    write(tmp_path / ".next" / "static" / "x.js", f'let a="{secret("sb_secret_{b22}_{b8}", 3)}"')

    found = scan().secrets

    assert [each["severity"] for each in found] == ["exposed", "exposed", "critical"]


def test_a_tracked_file_of_variables_is_a_finding(
    scan: Scanning, git: Scanning, tmp_path: Path
) -> None:
    write(tmp_path / ".env", "ACME_LICENSE_KEY=" + drawn("ABCDEFGHKM", 12, random.Random(1)))
    write(tmp_path / ".env.example", "ACME_LICENSE_KEY=your-key\n")
    write(tmp_path / "web" / ".env.production", "NEXT_PUBLIC_URL=https://acme.io\n")
    assert "env-file-tracked" not in scan().rules

    git("add", "-A")

    places = [
        each["location"]["path"]
        for each in scan().data["findings"]
        if each["rule"] == "env-file-tracked"
    ]
    assert places == [".env"]


def test_a_bundle_is_searched_for_the_values_of_private_variables(
    scan: Scanning, tmp_path: Path
) -> None:
    import base64

    word = "-".join(["correct", "horse", "battery"])
    write(tmp_path / ".env.local", f"MAIL_PASS={word}\nNEXT_PUBLIC_NAME=acme-shop-public\n")
    write(tmp_path / "out" / "a.js", f'x="{word}";y="acme-shop-public"')
    write(
        tmp_path / "out" / "a.js.map",
        '{"x":"' + base64.b64encode(f"p={word};".encode()).decode() + '"}',
    )
    write(tmp_path / "out" / "clean.js", "x=1")

    done = scan("--bundle", "out")

    assert done.code == 1
    assert {each["path"] for each in done.secrets} == {"out/a.js", "out/a.js.map"}
    assert {each["rule"] for each in done.secrets} == {"private-variable-in-bundle"}
    assert word not in done.out


def test_a_file_of_private_values_that_cannot_be_read_is_named(
    scan: Scanning, tmp_path: Path
) -> None:
    """Nothing was searched for that stands in it: that is not clean."""
    write(tmp_path / "out" / "a.js", "x=1")
    (tmp_path / ".env.local").mkdir()

    done = scan("--bundle", "out")

    assert done.code == 3
    assert [".env.local"] == [
        each["location"]["path"] for each in done.data["findings"] if each["status"] == "unknown"
    ]


def test_standard_input_is_scanned(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "opsctl", "secrets-scan", "--stdin"]
    text = "a\n" * 100_000 + secret()
    done = subprocess.run(
        argv, cwd=tmp_path, input=text, capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert "stdin:100001:1" in done.stdout


def test_rules_of_the_settings_are_matched(scan: Scanning, tmp_path: Path) -> None:
    write(tmp_path / "a.txt", "x acme_" + drawn("abcdef0123456789", 32, random.Random(1)))
    rule = "{id: acme-token, description: Acme token, pattern: 'acme_(?P<secret>[a-z0-9]{32})'}"
    write(tmp_path / "opsctl.yaml", f"secrets_scan: {{rules: [{rule}]}}\n")

    done = scan()

    assert [(each["rule"], each["column"]) for each in done.secrets] == [("acme-token", 8)]


@pytest.mark.parametrize("pattern", [r"\bACME-[0-9]{5}-QRS\b", r"\b\QACME-\E[0-9]{5}-QRS"])
def test_a_rule_of_the_settings_matches_in_the_middle_of_a_text(
    scan: Scanning, tmp_path: Path, pattern: str
) -> None:
    write(tmp_path / "a.txt", "one\nkey='ACME-73918-QRS', x\nxACME-73918-QRS\ntwo\n")
    rule = f"{{id: acme, description: Acme, pattern: '{pattern}'}}"
    write(tmp_path / "opsctl.yaml", f"secrets_scan: {{rules: [{rule}]}}\n")

    assert [(each["line"], each["column"]) for each in scan().secrets] == [(2, 6)]


@pytest.mark.parametrize(
    ("pattern", "part"),
    [("(?<=x)y{8}", "look"), ("(a", "missing"), ("(a)\\1", "escape"), ("x*", "empty")],
)
def test_a_bad_rule_of_the_settings_is_named(
    scan: Scanning, tmp_path: Path, pattern: str, part: str
) -> None:
    rule = f"{{id: acme-token, description: x, pattern: '{pattern}'}}"
    write(tmp_path / "opsctl.yaml", f"secrets_scan: {{rules: [{rule}]}}\n")

    error = scan().data["error"]

    assert error["code"] == "bad-rule"
    assert "acme-token" in error["what"]
    assert error["why"]
    del part


def test_a_rule_that_would_take_for_ever_takes_no_time(scan: Scanning, tmp_path: Path) -> None:
    import time

    write(tmp_path / "a.txt", "a" * 200_000 + "!")
    rule = "{id: slow, description: x, pattern: '(a+)+b$'}"
    write(tmp_path / "opsctl.yaml", f"secrets_scan: {{rules: [{rule}]}}\n")
    began = time.monotonic()

    assert scan().code == 0
    assert time.monotonic() - began < 60


@pytest.mark.parametrize(
    "words",
    [("--staged", "--history"), ("--stdin", "x"), ("--since", "x", "--bundle", "y")],
    ids=" ".join,
)
def test_two_questions_at_once_are_refused(scan: Scanning, words: tuple[str, ...]) -> None:
    done = scan(*words)

    assert (done.code, done.data["error"]["code"]) == (2, "usage")


def test_what_is_not_there_is_an_error(scan: Scanning) -> None:
    assert scan("gone").data["error"]["code"] == "no-such-path"
    assert scan("--history").data["error"]["code"] == "not-a-checkout"


def test_both_cores_find_what_one_does(scan: Scanning, tmp_path: Path) -> None:
    for number in range(700):
        text = "filler " * 500 + (secret(seed=number) if number % 50 == 0 else "")
        write(tmp_path / f"d{number % 7}" / f"{number}.txt", text)

    one, many = scan("--jobs", "1"), scan("--jobs", "4")

    assert len(one.secrets) == 14
    assert one.secrets == many.secrets
    assert one.data["data"]["scanned"] == many.data["data"]["scanned"]


def test_this_repository_is_clean(scan: Scanning, monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(__file__).parents[3]
    monkeypatch.chdir(root)

    done = scan()

    assert [(e["rule"], e["path"], e["line"]) for e in done.secrets] == []
    assert done.code == 0, done.out
