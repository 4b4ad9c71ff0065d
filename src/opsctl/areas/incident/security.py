"""The steps of a security incident (runbook, 'Security Incidents'), each with the real command."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class SecurityStep:
    """One step of the list."""

    id: str
    phase: str
    text: str
    command: str = ""
    """What does it, where opsctl does."""
    runs: str = ""
    """The command of a finished run in the journal that proves it done."""


STEPS = (
    SecurityStep("isolate", "Isolate", "Take the way in away: the release, the key, the account",
                 "opsctl rollback app", "rollback app"),
    SecurityStep("preserve-logs", "Preserve",
                 "Keep the platform's logs before they are gone: vercel logs, Supabase's log pages",
                 "opsctl incident evidence FILE"),
    SecurityStep("preserve-state", "Preserve", "Keep the database as it is now",
                 "opsctl backup create"),
    SecurityStep("notify-team", "Notify", "Tell the security team",
                 "opsctl incident escalate --to security --reason 'What is known'"),
    SecurityStep("notify-law", "Notify", "Ask which authorities and customers must be told"),
    SecurityStep("find-leaks", "Investigate", "Find what is exposed in all of git's history",
                 "opsctl secrets-scan --history"),
    SecurityStep("find-policies", "Investigate", "Find what the policies let through",
                 "opsctl rls-smoke lint"),
    SecurityStep("find-auth", "Investigate", "Look at sign-in, keys and tables without policies",
                 "opsctl diagnose auth"),
    SecurityStep("assess-damage", "Investigate", "Say which data was read or changed, by whom"),
    SecurityStep("rotate", "Remediate", "Replace every credential that may be known",
                 "opsctl rotate-keys plan", "rotate-keys"),
    SecurityStep("patch", "Remediate", "Close the way in for good"),
    SecurityStep("verify", "Recover", "See that it is well, and watch for it to come back",
                 "opsctl healthcheck watch --for 1h"),
)  # fmt: skip


def step_ids() -> tuple[str, ...]:
    """Return the names of the steps, in order."""
    return tuple(each.id for each in STEPS)


def phase_of(step: str) -> str:
    """Return the phase that a step belongs to."""
    return next(each.phase for each in STEPS if each.id == step)


def usable(step: SecurityStep, rooms: Collection[str]) -> bool:
    """Whether the command of a step is one that this opsctl has."""
    words = step.command.split()
    return not words or words[1] in rooms
