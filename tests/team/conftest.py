"""A team's state of its own for every world."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from opsctl.adapters.scratch import ScratchServer
from opsctl.adapters.team_schema import schema_sql


@pytest.fixture(scope="session")
def template(postgres: ScratchServer) -> str:
    url = postgres.create_database("team_template")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(schema_sql().encode())
    return "team_template"


@pytest.fixture
def team(postgres: ScratchServer, template: str) -> Callable[[], str]:
    """Return the address of a team's state of its own, each time."""
    return lambda: postgres.create_database(template=template)
