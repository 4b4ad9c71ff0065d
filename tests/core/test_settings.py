"""Settings: found, merged, checked, described."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from opsctl.core.errors import OpsError
from opsctl.core.settings import Settings
from opsctl.core.sources import choose_environment, load_settings
from opsctl.core.strict_yaml import load_yaml

ROOT = Path(__file__).parent.parent.parent
EXAMPLE = ROOT / "config" / "opsctl.example.yaml"
SCHEMAS = ROOT / "src" / "opsctl" / "core" / "schemas"


def load(path: Path, environ: dict[str, str] | None = None) -> Any:
    return load_settings(config=str(path), start=path.parent, environ=environ or {})


def keys_of(model: Any, place: str = "") -> set[str]:
    """Return the path of every key of a model and of the models within; names of ours are *."""
    found: set[str] = set()
    for name, field in model.model_fields.items():
        path = f"{place}{name}"
        found.add(path)
        todo: list[tuple[Any, str]] = [(field.annotation, path)]
        while todo:
            kind, path = todo.pop()
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                found |= keys_of(kind, f"{path}.")
            many = getattr(kind, "__origin__", None) in (dict, tuple)
            for each in getattr(kind, "__args__", ()):
                todo.append((each, f"{path}.*" if many else path))
    return found


def paths_of(value: Any, place: str = "") -> set[str]:
    """Return the path of every key in data, as keys_of writes them."""
    if isinstance(value, list):
        return {path for each in value for path in paths_of(each, f"{place}*.")}
    if not isinstance(value, dict):
        return set()
    free = place in ("environments.", "environments.*.health.*.headers.")
    found: set[str] = set()
    for key, each in value.items():
        name = "*" if free else key
        found |= {f"{place}{name}", *paths_of(each, f"{place}{name}.")}
    return found


def test_the_example_loads_and_has_every_key_of_every_model() -> None:
    loaded = load(EXAMPLE)
    data, _ = load_yaml(EXAMPLE.read_bytes(), source="example")

    assert "environments.*.health.*.headers" in keys_of(Settings)
    assert keys_of(Settings) - paths_of(data) == set()
    assert loaded.settings.environments["production"].protected
    assert loaded.root == ROOT


def test_every_key_of_the_example_is_explained_where_it_first_stands() -> None:
    lines = EXAMPLE.read_text().splitlines()
    _, places = load_yaml(EXAMPLE.read_bytes(), source="example")
    explained = set()
    for path, line in places.items():
        if path and isinstance(path[-1], str) and lines[line - 2].strip().startswith("#"):
            explained.add(path)

    for path in places:
        if path[:2] != ("environments", "production") or not isinstance(path[-1], str):
            continue
        later = any(isinstance(part, int) and part > 0 for part in path)
        if "headers" in path[:-1] or later:  # a header, and all but the first of a list
            continue
        assert path in explained, path


def test_the_shipped_schema_is_what_the_models_make() -> None:
    shipped = json.loads((SCHEMAS / "settings.schema.json").read_text())

    assert Settings.model_json_schema() == shipped


def test_flag_beats_variable_beats_file_beats_default(tmp_path: Path) -> None:
    path = tmp_path / "opsctl.yaml"
    path.write_text("state: a.db\nenvironments:\n  one: {}\n  Two: {project: here}\n")
    environ = {"OPSCTL_STATE": "b.db", "OPSCTL_ENVIRONMENTS__TWO__PROTECTED": "true"}

    loaded = load(path, environ)

    assert loaded.settings.state == "b.db"
    assert loaded.origins["state"] == "OPSCTL_STATE"
    assert loaded.settings.environments["Two"].protected
    assert loaded.settings.environments["Two"].project == "here"
    assert loaded.origins["environments.Two.project"] == f"{path}:4"
    assert choose_environment(loaded, "one", {"OPSCTL_ENV": "Two"}) == "one"
    assert choose_environment(loaded, None, {"OPSCTL_ENV": "Two"}) == "Two"
    assert choose_environment(loaded, None, {}) is None


def test_the_nearest_file_upward_is_found(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "opsctl.yaml").write_text("environments: {far: {}}\n")
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    far = load_settings(config=None, start=inner, environ={})
    assert (far.root, list(far.settings.environments)) == (tmp_path, ["far"])

    (tmp_path / "a" / "opsctl.yaml").write_text("environments: {near: {}}\n")

    near = load_settings(config=None, start=inner, environ={})
    assert (near.root, list(near.settings.environments)) == (tmp_path / "a", ["near"])


def test_without_a_file_there_are_the_defaults(tmp_path: Path) -> None:
    loaded = load_settings(config=None, start=tmp_path, environ={})

    assert (loaded.settings, loaded.path) == (Settings(), None)


def test_an_environment_under_the_dot_directory_joins(tmp_path: Path) -> None:
    folder = tmp_path / ".opsctl" / "sandbox"
    folder.mkdir(parents=True)
    (folder / "environment.yaml").write_text(
        "name: sandbox\nenvironment:\n  database:\n    url: file:secret-url\n"
    )

    loaded = load_settings(config=None, start=tmp_path, environ={})

    database = loaded.settings.environments["sandbox"].database
    assert database is not None
    assert database.url == f"file:{tmp_path / 'secret-url'}"


@pytest.mark.parametrize(
    ("text", "code", "part"),
    [
        ("enviroments: {}", "settings-invalid", "did you mean environments"),
        ("environments: {p: {databse: {}}}", "settings-invalid", "did you mean database"),
        ("environments: {p: {protected: yes}}", "settings-invalid", "protected"),
        ("environments: {p: {}}\ndefault_environment: q", "settings-invalid", "'q'"),
        ("environments: {p: {health: [{name: a, url: 'http://x'}, {name: a, url: 'http://y'}]}}",
         "settings-invalid", "same name"),
        ("state: a\nstate: b", "yaml-duplicate-key", "opsctl.yaml:2"),
        ("a: &x 1\nb: *x", "yaml-alias", "anchor"),
        ("state: !!python/object:os.system x", "yaml-tag", "tag"),
        ("[" * 100, "yaml-too-deep", "64"),
        ("[" * 200_000, "yaml-too-deep", "64"),
        ("a: b: c", "yaml-syntax", "opsctl.yaml:1"),
        ("- a\n- b", "settings-invalid", "list"),
        ("? [a]\n: b", "yaml-key", "key"),
        ("a: 1\n---\nb: 2", "yaml-documents", "document"),
    ],
    ids=lambda value: str(value)[:30],
)  # fmt: skip
def test_bad_settings_say_what_and_where(tmp_path: Path, text: str, code: str, part: str) -> None:
    path = tmp_path / "opsctl.yaml"
    path.write_text(text)

    with pytest.raises(OpsError) as caught:
        load(path)

    error = caught.value
    assert (error.code, int(error.exit)) == (code, 2)
    assert part in f"{error.what} {error.why} {error.hint}"


def test_a_secret_in_the_wrong_place_is_not_repeated(tmp_path: Path) -> None:
    secret = "-".join(["hunter", "2", "canary"])
    path = tmp_path / "opsctl.yaml"
    path.write_text(
        f"environments:\n  p:\n    database:\n      url: postgresql://u:{secret}@h/d\n"
        f"    protected: {secret}\n"
    )

    with pytest.raises(OpsError) as caught:
        load(path)

    error = caught.value
    assert "by reference" in error.why
    assert secret not in f"{error.what} {error.why} {error.hint}"


def test_an_unknown_variable_is_an_error_with_a_suggestion(tmp_path: Path) -> None:
    with pytest.raises(OpsError) as caught:
        load_settings(config=None, start=tmp_path, environ={"OPSCTL_STAT": "x"})

    assert (caught.value.code, caught.value.hint) == (
        "unknown-variable",
        "did you mean OPSCTL_STATE?",
    )


def test_words_that_yaml_would_turn_into_something_else_stay_words() -> None:
    data, _ = load_yaml("a: NO\nb: 1:30\nc: 2026-01-01\nd: 0o17\ne: 1_000\nf: .inf", source="x")

    assert data == {
        "a": "NO", "b": "1:30", "c": "2026-01-01", "d": "0o17", "e": "1_000", "f": ".inf",
    }  # fmt: skip


def test_two_files_in_one_directory_are_ambiguous(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "opsctl.yaml").write_text("state: a\n")
    (tmp_path / "opsctl.yaml").write_text("state: b\n")

    with pytest.raises(OpsError) as caught:
        load_settings(config=None, start=tmp_path, environ={})

    assert caught.value.code == "settings-ambiguous"
    assert str(tmp_path / "opsctl.yaml") in caught.value.why
    assert str(tmp_path / "config" / "opsctl.yaml") in caught.value.why


def test_the_flag_beats_the_variable_beats_what_is_found(tmp_path: Path) -> None:
    for name in ("opsctl", "flag", "variable"):
        (tmp_path / f"{name}.yaml").write_text(f"state: {name}.db\n")
    environ = {"OPSCTL_CONFIG": "variable.yaml"}
    states = [
        load_settings(config=config, start=tmp_path, environ=given).settings.state
        for config, given in (("flag.yaml", environ), (None, environ), (None, {}))
    ]

    assert states == ["flag.db", "variable.db", "opsctl.db"]


def test_a_settings_file_above_is_not_hidden_by_a_dot_directory(tmp_path: Path) -> None:
    (tmp_path / "opsctl.yaml").write_text("environments: {p: {}}\n")
    folder = tmp_path / "inner" / ".opsctl" / "sandbox"
    folder.mkdir(parents=True)
    (folder / "environment.yaml").write_text("name: sandbox\nenvironment: {}\n")

    loaded = load_settings(config=None, start=tmp_path / "inner", environ={})

    assert (loaded.root, list(loaded.settings.environments)) == (tmp_path, ["p"])


def test_a_dot_directory_above_makes_a_root_where_there_is_no_file(tmp_path: Path) -> None:
    folder = tmp_path / ".opsctl" / "sandbox"
    folder.mkdir(parents=True)
    (folder / "environment.yaml").write_text("name: sandbox\nenvironment: {protected: true}\n")
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)

    loaded = load_settings(config=None, start=inner, environ={})

    assert (loaded.root, loaded.path) == (tmp_path, None)
    where = "environments.sandbox.protected"
    assert loaded.origins[where] == f"{folder / 'environment.yaml'}:2"


@pytest.mark.parametrize(
    "text",
    ["", "name: z", "environment: {}", "name: 1\nenvironment: {}", "- a", "[",
     "name: ../z\nenvironment: {}", "name: z\nenvironment: 5", "name: z\nenvironment: {}\nx: 1"],
)  # fmt: skip
def test_a_bad_environment_under_the_dot_directory_is_not_passed_over(
    tmp_path: Path, text: str
) -> None:
    path = tmp_path / ".opsctl" / "box" / "environment.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(text)

    with pytest.raises(OpsError) as caught:
        load_settings(config=None, start=tmp_path, environ={})

    assert int(caught.value.exit) == 2
    assert str(path) in caught.value.what + caught.value.why


def test_the_settings_file_wins_over_the_dot_directory(tmp_path: Path) -> None:
    (tmp_path / "opsctl.yaml").write_text("environments: {sandbox: {project: mine}}\n")
    folder = tmp_path / ".opsctl" / "sandbox"
    folder.mkdir(parents=True)
    (folder / "environment.yaml").write_text("name: sandbox\nenvironment: {protected: true}\n")

    sandbox = load(tmp_path / "opsctl.yaml").settings.environments["sandbox"]

    assert (sandbox.project, sandbox.protected) == ("mine", False)


@pytest.mark.parametrize("config", ["nowhere.yaml", ".", "x" * 5_000, "a\0b", "loop", "dir"])
def test_a_file_that_cannot_be_one_is_missing(tmp_path: Path, config: str) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "dir").mkdir()

    with pytest.raises(OpsError) as caught:
        load_settings(config=config, start=tmp_path, environ={})

    assert (caught.value.code, int(caught.value.exit)) == ("settings-missing", 2)


@pytest.mark.parametrize("where", ["health: [{name: a, url: 'URL'}]", "supabase: {url: 'URL'}"])
def test_an_address_holds_no_password(tmp_path: Path, where: str) -> None:
    password = "-".join(["canary", "8810"])
    path = tmp_path / "opsctl.yaml"
    setting = where.replace("URL", f"https://u:{password}@example.com/")
    path.write_text(f"environments: {{p: {{{setting}}}}}")

    with pytest.raises(OpsError) as caught:
        load(path)

    assert "no password" in caught.value.why
    assert password not in caught.value.why + caught.value.what + caught.value.hint


def test_every_misfit_is_listed_a_line_each(tmp_path: Path) -> None:
    path = tmp_path / "opsctl.yaml"
    path.write_text("statte: a\nenvironments:\n  p:\n    protected: 1\n    database: {}\n")

    with pytest.raises(OpsError) as caught:
        load(path)

    assert set(caught.value.why.splitlines()) == {
        f"{path}:1: statte: unknown key; did you mean state?",
        f"{path}:4: environments.p.protected: is to be true or false",
        f"{path}:5: environments.p.database.url: is required",
    }
