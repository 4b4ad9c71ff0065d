"""The planes answer in the vendors' published shapes, and our requests are in them, too.

The shapes are types that others make from the vendors' OpenAPI descriptions; the real TypeScript
compiler holds what the planes say against them: a field that is missing, unknown or of another
kind is an error.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from opsctl.adapters.supabase_keys import SupabaseKeys
from opsctl.adapters.supabase_secrets import FunctionSecrets
from opsctl.adapters.supabase_signing import SigningKeys
from opsctl.core.process import run_program
from opsctl.core.settings import Supabase
from opsctl.sandbox.github_plane import GithubPlane
from opsctl.sandbox.plane import Asked, ControlPlane
from opsctl.sandbox.supabase_plane import SupabasePlane

REF = "r" * 20


def asked(plane: ControlPlane, method: str, path: str, body: Any = None, **query: str) -> Any:
    """Ask a plane, and return the data of its answer, which must be a good one."""
    headers = {"authorization": f"Bearer {plane.token}"}
    answer = plane.handle(Asked(method, path, query, body, headers))
    assert answer.status < 300, answer
    return answer.data


def compiled(node_modules: Path, folder: Path, text: str) -> str:
    """Return what the compiler says against a file; nothing where all is well."""
    (folder / "check.ts").write_text(text)
    (folder / "node_modules").symlink_to(node_modules)
    argv = [str(node_modules / ".bin" / "tsc"), "--noEmit", "--strict", "--skipLibCheck",
            "--module", "nodenext", "--moduleResolution", "nodenext", "check.ts"]  # fmt: skip
    done = run_program(argv, cwd=str(folder), timeout_s=300)
    return "" if done.exit_code == 0 else done.stdout


def literals(values: Mapping[str, tuple[str, Any]]) -> str:
    return "".join(
        f"export const {name}: {type} = {json.dumps(value)};\n"
        for name, (type, value) in values.items()
    )


def of_supabase() -> dict[str, tuple[str, Any]]:
    """Return what the plane says and what we send, by name, each with its published type."""
    plane = SupabasePlane(token="t0ken", ref=REF)
    base = f"/v1/projects/{REF}"
    plane.points["p"] = "AVAILABLE"
    plane.put_backup("2026-01-01T00:00:00Z")
    plane.gateway_log.append({"timestamp": "2026-01-01T00:00:00Z", "prefix": "sb_secret_abcde"})
    sent = json.loads
    project = Supabase(ref=REF, access_token="env:TOKEN", api="http://127.0.0.1:1")
    secret = SupabaseKeys(project).create("secret", "opsctl_1", description="why").body or ""
    signing = SigningKeys(project)
    made = asked(plane, "POST", f"{base}/config/auth/signing-keys",
                 sent(signing.create("ES256").body or ""))  # fmt: skip
    functions = FunctionSecrets(project).put("OUR_KEY", "v", fill=()).body or ""
    asked(plane, "POST", f"{base}/secrets", sent(functions))
    backups = asked(plane, "GET", f"{base}/database/backups")
    for each in backups["backups"]:
        del each["id"]  # the vendor's description has it; these types are from before that
    return {
        "project": ("V1ProjectWithDatabaseResponse", asked(plane, "GET", base)),
        "sentKey": ("CreateApiKeyBody", sent(secret)),
        "newKey": ("ApiKeyResponse", asked(plane, "POST", f"{base}/api-keys", sent(secret))),
        "keys": ("ApiKeyResponse[]", asked(plane, "GET", f"{base}/api-keys", reveal="true")),
        "legacy": ("LegacyApiKeysResponse", asked(plane, "GET", f"{base}/api-keys/legacy")),
        "sentSigning": ("CreateSigningKeyBody", sent(signing.create("ES256").body or "")),
        "sentStatus": ("UpdateSigningKeyBody", sent(signing.set_status("x", "in_use").body or "")),
        "newSigning": ("SigningKeyResponse", made),
        "signing": (
            "SigningKeysResponse", asked(plane, "GET", f"{base}/config/auth/signing-keys")
        ),
        "sentSecrets": ("CreateSecretBody", sent(functions)),
        "secrets": ("SecretResponse[]", asked(plane, "GET", f"{base}/secrets")),
        "health": ("V1ServiceHealthResponse[]", asked(plane, "GET", f"{base}/health")),
        "logs": (
            "AnalyticsResponse", asked(plane, "GET", f"{base}/analytics/endpoints/logs.all")
        ),
        "disk": ("DiskUtilMetricsResponse", asked(plane, "GET", f"{base}/config/disk/util")),
        "backups": ("V1BackupsResponse", backups),
        "point": (
            "V1RestorePointResponse",
            asked(plane, "GET", f"{base}/database/backups/restore-point", name="p"),
        ),
    }  # fmt: skip


def test_supabases_plane_speaks_as_published(node_modules: Path, tmp_path: Path) -> None:
    values = of_supabase()
    types = sorted({type.removesuffix("[]") for type, _ in values.values()})
    head = f"import type {{ {', '.join(types)} }} from 'supabase-management-js';\n"

    assert "" == compiled(node_modules, tmp_path, head + literals(values))


def test_a_wrong_answer_is_not_let_through(node_modules: Path, tmp_path: Path) -> None:
    values = of_supabase()
    wrong = {"wrong": ("ApiKeyResponse", {**values["newKey"][1], "type": "sesame", "more": 1})}
    head = "import type { ApiKeyResponse } from 'supabase-management-js';\n"

    assert "error TS" in compiled(node_modules, tmp_path, head + literals(wrong))


def test_githubs_plane_speaks_as_published(node_modules: Path, tmp_path: Path) -> None:
    plane = GithubPlane(token="t0ken")
    plane.head = "a" * 40
    plane.put_secret("OUR_KEY")
    plane.put_variable("OUR_VARIABLE", "value")
    base = f"/repos/{plane.repository}"
    values = {
        "secrets": ("{total_count: number, secrets: S['actions-secret'][]}",
                    asked(plane, "GET", f"{base}/actions/secrets")),
        "publicKey": ("S['actions-public-key']",
                      asked(plane, "GET", f"{base}/actions/secrets/public-key")),
        "ofDependabot": ("S['dependabot-public-key']",
                         asked(plane, "GET", f"{base}/dependabot/secrets/public-key")),
        "variables": ("{total_count: number, variables: S['actions-variable'][]}",
                      asked(plane, "GET", f"{base}/actions/variables")),
    }  # fmt: skip
    head = (
        "import type { components } from '@octokit/openapi-types';\n"
        "type S = components['schemas'];\n"
    )

    assert "" == compiled(node_modules, tmp_path, head + literals(values))
