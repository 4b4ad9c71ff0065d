"""Vercel's own client finds every answer of the control plane to be as its contract says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from opsctl.core.process import run_program
from opsctl.sandbox.vercel_plane import VercelPlane

pytestmark = pytest.mark.node
TOKEN = "-".join(["canary", "token", "6617"])


def test_every_answer_is_as_the_contract_says(project: Path) -> None:
    shutil.copy(Path(__file__).with_name("vercel_sdk.mjs"), project)
    with VercelPlane(token=TOKEN) as plane:
        old = plane.add_deployment("a" * 40, live=True)
        new = plane.add_deployment("b" * 40, live=True)
        plane.add_variable("BOTH", "v", "production", "preview")
        argv = [str(shutil.which("node")), "vercel_sdk.mjs", plane.url, old, new]
        done = run_program(argv, env={"VERCEL_TOKEN": TOKEN}, cwd=str(project), timeout_s=60)

        assert done.exit_code == 0, done.stderr
        said = json.loads(done.stdout)
        assert {} == {name: word for name, word in said.items() if word != "ok"}
        assert 17 == len(said)
        assert new == plane.live
