"""Settings from environment variables: which names fit, what the values mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from opsctl.core.errors import OpsError
from opsctl.core.sources import Loaded, choose_environment, environment_origin, load_settings

FILE = (
    "environments:\n"
    "  pre-prod: {vercel: {project: a, token: 'env:OPSCTL_VERCEL_TOKEN'}}\n"
    "  Two: {database: }\n"
)
IN = "OPSCTL_ENVIRONMENTS__"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "opsctl.yaml").write_text(FILE)
    return tmp_path


def load(root: Path, **environ: str) -> Loaded:
    return load_settings(config=None, start=root, environ=environ)


def test_names_match_whatever_their_case_and_hyphens_are_underscores(root: Path) -> None:
    loaded = load(root, **{f"{IN}PRE_PROD__PROTECTED": "true", f"{IN}two__project": "here"})

    assert loaded.settings.environments["pre-prod"].protected
    assert loaded.settings.environments["Two"].project == "here"
    assert loaded.origins["environments.pre-prod.protected"] == f"{IN}PRE_PROD__PROTECTED"


def test_a_group_that_is_not_there_is_made(root: Path) -> None:
    loaded = load(root, **{f"{IN}TWO__DATABASE__URL": "env:X"})

    database = loaded.settings.environments["Two"].database
    assert database is not None
    assert database.url == "env:X"


def test_values_mean_what_they_mean_in_the_file_but_text_needs_no_quotes(root: Path) -> None:
    loaded = load(
        root,
        **{
            f"{IN}PRE_PROD__VERCEL__PROJECT": "123",
            f"{IN}PRE_PROD__LIMITS__RESPONSE_MS": "250",
            "OPSCTL_DEFAULT_ENVIRONMENT": "",
        },
    )

    environment = loaded.settings.environments["pre-prod"]
    assert environment.vercel is not None
    assert environment.vercel.project == "123"
    assert environment.limits.response_ms == 250
    assert loaded.settings.default_environment is None


def test_without_a_file_variables_make_an_environment(tmp_path: Path) -> None:
    loaded = load(tmp_path, **{f"{IN}PRODUCTION__DATABASE__URL": "env:X"})

    assert list(loaded.settings.environments) == ["production"]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("OPSCTL_STAT", "did you mean OPSCTL_STATE?"),
        ("OPSCTL_FORMATS", "did you mean OPSCTL_FORMAT?"),
        (f"{IN}PRE_PROD__PROTECTD", f"did you mean {IN}PRE_PROD__PROTECTED?"),
        (f"{IN}TWOO__PROTECTED", f"did you mean {IN}TWO__PROTECTED?"),
        (f"{IN}TWO__DATABASE__URI", f"did you mean {IN}TWO__DATABASE__URL?"),
        (f"{IN}TWO__HEALTH", "in the settings file"),
        (f"{IN}TWO__DATABASE", f"did you mean {IN}TWO__DATABASE__URL?"),
        (f"{IN}TWO__HEALTH__NAME", ""),
        (f"{IN}TWO", f"did you mean {IN}TWO__PROTECTED?"),
        ("OPSCTL_ENVIRONMENTS", ""),
        (IN, ""),
        (f"{IN}__", ""),
        ("OPSCTL_", ""),
    ],
)
def test_an_unknown_name_is_an_error(root: Path, name: str, hint: str) -> None:
    with pytest.raises(OpsError) as caught:
        load(root, **{name: "true"})

    assert (caught.value.code, int(caught.value.exit)) == ("unknown-variable", 2)
    assert hint in caught.value.hint
    assert f"mean {name}?" not in caught.value.hint


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (f"{IN}TWO__PROTECTED", "yes"),
        (f"{IN}TWO__LIMITS__RESPONSE_MS", "1e3"),
        (f"{IN}TWO__LIMITS__RESPONSE_MS", ".inf"),
        ("OPSCTL_VERSION", "2"),
        ("OPSCTL_STATE", ""),
        ("OPSCTL_STATE", "a\x1b[31mb"),
        ("OPSCTL_STATE", "a\udcffb"),
        ("OPSCTL_DEFAULT_ENVIRONMENT", "nowhere"),
        (f"{IN}TWO__DATABASE__URL", "postgresql://u:" + "canary" * 2 + "@h/d"),
    ],
)
def test_a_value_that_does_not_fit_is_an_error_that_names_the_variable(
    root: Path, name: str, value: str
) -> None:
    with pytest.raises(OpsError) as caught:
        load(root, **{name: value})

    error = caught.value
    text = f"{error.what}\n{error.why}\n{error.hint}"
    assert (error.code, int(error.exit)) == ("settings-invalid", 2)
    assert name in text
    assert "canary" not in text


def test_a_variable_that_a_reference_names_is_no_setting(root: Path) -> None:
    loaded = load(root, OPSCTL_VERCEL_TOKEN="xyzzy")

    assert "xyzzy" not in str(loaded.settings)


def test_a_variable_does_not_fit_under_a_single_value(tmp_path: Path) -> None:
    (tmp_path / "opsctl.yaml").write_text("environments: {p: {database: 5}}\n")

    with pytest.raises(OpsError, match="does not fit"):
        load(tmp_path, **{f"{IN}P__DATABASE__URL": "env:X"})


def test_what_chose_the_environment_is_told(root: Path) -> None:
    loaded = load(root, OPSCTL_DEFAULT_ENVIRONMENT="Two")
    told = [
        (choose_environment(loaded, flag, environ), environment_origin(loaded, flag, environ))
        for flag, environ in (
            ("pre-prod", {"OPSCTL_ENV": "Two"}),
            (None, {"OPSCTL_ENV": "pre-prod"}),
            (None, {}),
        )
    ]

    assert told == [
        ("pre-prod", "--env"),
        ("pre-prod", "OPSCTL_ENV"),
        ("Two", "OPSCTL_DEFAULT_ENVIRONMENT"),
    ]


def test_an_unknown_environment_is_answered_with_the_nearest(root: Path) -> None:
    with pytest.raises(OpsError) as caught:
        choose_environment(load(root), "preprod", {})

    assert caught.value.code == "unknown-environment"
    assert caught.value.hint == "did you mean pre-prod?"
