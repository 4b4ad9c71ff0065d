"""What other programs need to look on a schedule: files for systemd, cron and GitHub; pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from opsctl.core.errors import OpsError

_MINUTE_S = 60
_HOUR_S = 3600


@dataclass(frozen=True)
class File:
    """One file to be written."""

    name: str
    text: str
    next: str
    """What a person does with it."""


@dataclass(frozen=True)
class Wanted:
    """What is to be scheduled."""

    environment: str
    every_s: float
    program: tuple[str, ...]
    """The argv that starts opsctl here."""
    root: str
    """Where it is started."""
    config: str | None
    """The settings file, where it was named."""
    variables: tuple[str, ...]
    """Environment variables that secrets are read from."""

    @property
    def options(self) -> tuple[str, ...]:
        """The options that name the environment."""
        config = ("--config", self.config) if self.config else ()
        return ("--env", self.environment, *config)


def systemd(wanted: Wanted) -> tuple[File, ...]:
    """Return a service that watches, so that alerts are told, and is started again if it ends."""
    name = f"opsctl-healthcheck-{wanted.environment}.service"
    command = (
        *wanted.program, "healthcheck", "watch", *wanted.options,
        "--every", _duration(wanted.every_s),
    )  # fmt: skip
    return (
        File(
            name,
            "\n".join(
                [
                    "[Unit]",
                    f"Description=opsctl watches the health of {wanted.environment}",
                    "Wants=network-online.target",
                    "After=network-online.target",
                    "",
                    "[Service]",
                    "Type=exec",
                    f"WorkingDirectory={_unit_path(wanted.root)}",
                    "# The secrets that the settings name by env: belong here, mode 0600.",
                    f"EnvironmentFile=-/etc/opsctl/{wanted.environment}.env",
                    f"ExecStart={' '.join(_unit_word(word) for word in command)}",
                    "Restart=always",
                    "RestartSec=10",
                    "# It ends in order with 143, and with 1 where something is ill.",
                    "SuccessExitStatus=143",
                    "UMask=0077",
                    "NoNewPrivileges=true",
                    "PrivateTmp=true",
                    "ProtectSystem=full",
                    "",
                    "[Install]",
                    "WantedBy=multi-user.target",
                    "",
                ]
            ),
            f"copy it to /etc/systemd/system, then: systemctl enable --now {name}",
        ),
    )


def cron(wanted: Wanted) -> tuple[File, ...]:
    """Return a line for a crontab that is silent while all is well: cron mails what is printed."""
    command = shlex.join(
        (*wanted.program, "healthcheck", "run", *wanted.options, "--quiet", "--no-input")
    )
    line = f"cd {shlex.quote(wanted.root)} && "
    line += f"out=$({command} 2>&1) || printf '%s\\n' \"$out\""
    # cron takes a bare % for the end of the line.
    escaped = line.replace("%", "\\%")
    name = f"opsctl-healthcheck-{wanted.environment}.cron"
    return (
        File(
            name,
            f"# opsctl looks at the health of {wanted.environment}.\n"
            f"{_cron_times(wanted.every_s)} {escaped}\n",
            f"add it to the crontab: (crontab -l; cat {name}) | crontab -",
        ),
    )


def github_actions(wanted: Wanted) -> tuple[File, ...]:
    """Return a workflow; GitHub starts scheduled ones late and leaves some out, so it says when."""
    command = shlex.join(
        ("opsctl", "healthcheck", "run", *wanted.options, "--no-record", "--format", "github")
    )
    secrets = [f"          {name}: ${{{{ secrets.{name} }}}}" for name in wanted.variables]
    lines = [
        f"name: Health of {wanted.environment}",
        "on:",
        "  schedule:",
        f"    - cron: '{_cron_times(wanted.every_s)}'",
        "  workflow_dispatch:",
        "permissions:",
        "  contents: read",
        "concurrency:",
        f"  group: opsctl-healthcheck-{wanted.environment}",
        "jobs:",
        "  healthcheck:",
        "    runs-on: ubuntu-latest",
        "    timeout-minutes: 5",
        "    steps:",
        "      - uses: actions/checkout@v4",
        "      - uses: actions/setup-python@v5",
        "        with:",
        "          python-version: '3.12'",
        "      - run: pip install opsctl",
        f"      - run: {_yaml_text(command)}",
    ]
    lines += ["        env:", *secrets] if secrets else []
    name = f".github/workflows/opsctl-healthcheck-{wanted.environment}.yml"
    note = "commit it, and put the secrets that it names into the repository's settings; "
    return (File(name, "\n".join([*lines, ""]), note + "GitHub may start it late, or not at all"),)


def _cron_times(every_s: float) -> str:
    """Return the five fields; raises OpsError `no-such-schedule` for what cron cannot say."""
    minutes, hours = every_s / _MINUTE_S, every_s / _HOUR_S
    if minutes == 1:
        return "* * * * *"
    if minutes < 60 and minutes.is_integer() and 60 % minutes == 0:
        return f"*/{minutes:.0f} * * * *"
    if hours == 1:
        return "0 * * * *"
    if hours.is_integer() and hours <= 24 and 24 % hours == 0:
        return "0 0 * * *" if hours == 24 else f"0 */{hours:.0f} * * *"
    raise OpsError(
        f"cron cannot do something every {every_s:g} s",
        why="it knows minutes that divide an hour and hours that divide a day",
        hint="give --every 1m, 5m, 15m or 1h; --systemd takes any",
        code="no-such-schedule",
    )


def _duration(seconds: float) -> str:
    return f"{seconds:g}s"


def _unit_word(word: str) -> str:
    """Return a word as systemd takes it apart again: % and $ are its own, quotes keep spaces."""
    word = word.replace("%", "%%").replace("$", "$$")
    if re.fullmatch(r"[A-Za-z0-9_./:=@%+,-]+", word):
        return word
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _unit_path(path: str) -> str:
    return path.replace("%", "%%")


def _yaml_text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def variables_of(references: Sequence[str]) -> tuple[str, ...]:
    """Return the environment variables among some references to secrets, sorted."""
    return tuple(sorted({each[4:] for each in references if each.startswith("env:")}))
