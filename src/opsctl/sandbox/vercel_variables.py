"""The environment variables of the sandbox's Vercel project: records, read and written."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from typing import Any

from opsctl.sandbox.plane import Answered, Asked

_READABLE = ("plain", "encrypted")
_TYPES = ("system", "secret", "encrypted", "plain", "sensitive")

Record = dict[str, Any]


def answer_variables(
    records: list[Record],
    asked: Asked,
    rest: tuple[str, ...],
    *,
    hidden: int,
    tick: Callable[[], int],
) -> Answered | None:
    """Answer a request below /projects/PROJECT/env, or None where there is no such path.

    `tick` is the plane's clock, in ms since 1970.
    """
    match (asked.method, rest):
        case "GET", ("env",):
            return _list(records, asked.query.get("target"), hidden=hidden)
        case "POST", ("env",):
            bodies = asked.body if isinstance(asked.body, list) else [asked.body]
            return _create(records, bodies, upsert=asked.query.get("upsert") == "true", tick=tick)
        case method, ("env", id):
            found = next((each for each in records if each["id"] == id), None)
            if found is None:
                return error(404, "not_found", "Environment variable not found")
            match method:
                case "GET":
                    return Answered(data=_single(found))
                case "DELETE":
                    records.remove(found)
                    return Answered(data=_listed(found))
                case "PATCH":
                    return _change(found, asked.body, tick=tick)
    return None


def new_record(
    name: str, value: str, targets: list[str], *, type: str, branch: str | None, at_ms: int
) -> Record:
    """Return one record."""
    return {
        "id": f"env_{secrets.token_hex(8)}",
        "key": name,
        "value": value,
        "type": type,
        "target": targets,
        "createdAt": at_ms,
        "updatedAt": at_ms,
        **({"gitBranch": branch} if branch else {}),
    }


def error(status: int, code: str, message: str) -> Answered:
    """Return an error as Vercel writes it."""
    return Answered(status, {"error": {"code": code, "message": message}})


def _list(records: list[Record], target: str | None, *, hidden: int) -> Answered:
    envs = [_listed(each) for each in records if target is None or target in each["target"]]
    pagination = {"count": len(envs), "next": None, "prev": None}
    data: dict[str, Any] = {"envs": envs, "pagination": pagination}
    if hidden:
        data["hiddenProductionEnvCount"] = hidden
    return Answered(data=data)


def _create(
    records: list[Record], bodies: list[Any], *, upsert: bool, tick: Callable[[], int]
) -> Answered:
    created = []
    for body in bodies:
        wrong = _wrong(body)
        if wrong:
            return error(400, "BAD_REQUEST", wrong)
        targets, branch = _targets(body), body.get("gitBranch")
        clash = next(
            (
                each
                for each in records
                if each["key"] == body["key"]
                and set(each["target"]) & set(targets)
                and each.get("gitBranch") == branch
            ),
            None,
        )
        if clash is not None and not (upsert and set(clash["target"]) == set(targets)):
            return error(
                400,
                "ENV_CONFLICT",
                f"Another Environment Variable with the same Name and Environment exists: "
                f"{body['key']}",
            )
        if clash is not None:
            clash.update(value=body["value"], type=body["type"], updatedAt=tick())
            created.append(clash)
        else:
            record = new_record(body["key"], body["value"], targets, type=body["type"],
                                branch=branch, at_ms=tick())  # fmt: skip
            records.append(record)
            created.append(record)
    listed = [_listed(each) for each in created]
    return Answered(201, {"created": listed[0] if len(listed) == 1 else listed, "failed": []})


def _change(record: Record, body: Any, *, tick: Callable[[], int]) -> Answered:
    if not isinstance(body, Mapping):
        return error(400, "BAD_REQUEST", "a body is needed")
    for name in ("key", "value", "type", "gitBranch", "comment"):
        if name in body:
            record[name] = body[name]
    if "target" in body:
        record["target"] = _targets(body)
    record["updatedAt"] = tick()
    return Answered(data=_listed(record))


def _wrong(body: Any) -> str:
    if not isinstance(body, Mapping) or not isinstance(body.get("key"), str) or not body["key"]:
        return "key is needed"
    if not isinstance(body.get("value"), str):
        return "value is needed"
    if body.get("type") not in _TYPES:
        return "type is unknown"
    targets = _targets(body)
    if not targets or set(targets) - {"production", "preview", "development"}:
        return "target is unknown"
    if body["type"] == "sensitive" and "development" in targets:
        return "You cannot set a Sensitive Environment Variable's target to development"
    return ""


def _targets(body: Mapping[str, Any]) -> list[str]:
    target = body.get("target") or []
    return [target] if isinstance(target, str) else list(target)


def _listed(record: Record) -> Record:
    record = {**record, "securityIssues": []}
    if record["type"] == "plain":
        return {**record, "decrypted": True}
    cipher = "" if record["type"] == "sensitive" else f"cipher:{record['id']}"
    return {**record, "value": cipher, "decrypted": False}


def _single(record: Record) -> Record:
    record = {**record, "securityIssues": []}
    if record["type"] in _READABLE:
        return {**record, "decrypted": True}
    return {**{key: value for key, value in record.items() if key != "value"}, "decrypted": False}
