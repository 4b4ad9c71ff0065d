"""What a confirming check is shown, and what it may answer."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from opsctl.adapters.secret_scanner.rules import Rule

Buffer = bytes | bytearray | memoryview

_LOCKS = frozenset(
    """package-lock.json npm-shrinkwrap.json yarn.lock pnpm-lock.yaml bun.lock bun.lockb
    composer.lock cargo.lock gemfile.lock poetry.lock pipfile.lock uv.lock pdm.lock go.sum
    flake.lock deno.lock mix.lock podfile.lock packages.lock.json gradle.lockfile
    .terraform.lock.hcl conda-lock.yml pubspec.lock""".split()  # noqa: SIM905
)
_FIXTURE = (
    r"(?i)(^|/)(tests?|__tests__|specs?|fixtures?|__fixtures__|test[_-]?data|mocks?|__mocks__|e2e|"
    r"cypress|examples?|samples?|snapshots?|__snapshots__|cassettes|testing)/|"
    r"\.(test|spec|stories|snap)(\.[a-z]{1,4})?$|_test\.[a-z]{1,4}$|(^|/)test_[^/]*\.py$|"
    r"(^|/)conftest\.py$"
)
_CLIENT = (
    r"(?i)(^|/)(\.next/static|out/_next|_next/static|dist/assets|dist/static|build/static|"
    r"public/build|\.output/public|storybook-static|\.svelte-kit/output/client|"
    r"\.vercel/output/static)/|\.(js|mjs|css)\.map$"
)
_CODE = frozenset(
    """.js .jsx .ts .tsx .mjs .cjs .py .go .rb .java .kt .c .h .cc .cpp .hpp .cs .rs .php
    .swift .scala .m .mm .lua .pl .dart .ex .exs .vue .svelte .sql .r .hs .clj .groovy
    .zig""".split()  # noqa: SIM905
)


@dataclass(frozen=True)
class Place:
    """A file, as far as its path tells what it is."""

    path: str
    """Relative to what is scanned, with slashes."""
    client: bool = False
    """Whether browsers get it."""

    @cached_property
    def is_lock(self) -> bool:
        """Whether it pins packages: full of hashes."""
        name = os.path.basename(self.path).lower()  # noqa: PTH119 - no file
        return name in _LOCKS or self.path.endswith(".dist-info/RECORD")

    @cached_property
    def is_fixture(self) -> bool:
        """Whether it belongs to tests or examples."""
        return re.search(_FIXTURE, self.path) is not None

    @cached_property
    def is_code(self) -> bool:
        """Whether what follows an = without quotes is an expression there."""
        return os.path.splitext(self.path)[1].lower() in _CODE  # noqa: PTH122 - no file

    @cached_property
    def kind(self) -> int:
        """All that checks know of a path, as one number."""
        return self.is_lock + 2 * self.is_fixture + 4 * self.is_code + 8 * self.is_client

    @cached_property
    def is_client(self) -> bool:
        """Whether browsers get it, or their debuggers."""
        return self.client or re.search(_CLIENT, self.path) is not None


@dataclass(frozen=True)
class Sighting:
    """A match of a rule, not yet confirmed."""

    rule: Rule
    place: Place
    data: Buffer
    match: str
    """The whole match; bytes are shown as Latin-1 throughout."""
    value: str
    """The secret within it."""
    start: int
    """Of the secret in `data`."""
    begin: int
    """Of the whole match in `data`."""

    @property
    def end(self) -> int:
        """Where the secret ends in `data`."""
        return self.start + len(self.value)

    def before(self, count: int) -> str:
        """Return up to `count` signs before the whole match."""
        return str(self.data[max(0, self.begin - count) : self.begin], "latin-1")

    def after(self, count: int) -> str:
        """Return up to `count` signs after the secret."""
        return str(self.data[self.end : self.end + count], "latin-1")

    @cached_property
    def name(self) -> str:
        """The name that the secret is assigned to, as far as the match shows it."""
        left = re.search(r"[\w.\-]*$", self.before(60))
        head = (left[0] if left else "") + self.match[: self.start - self.begin]
        words = re.findall(r"[A-Za-z_][\w.\-]*", head)
        return max(words, key=_telling, default="")


@dataclass(frozen=True)
class Verdict:
    """A confirmed secret. Empty parts are the rule's."""

    title: str = ""
    severity: str = ""
    confidence: str = "high"
    note: str = ""
    """What was seen of it, for a person; never a part of the value."""
    project: str = ""
    """The Supabase project it belongs to, if it says so."""
    value: str = ""
    """The secret, where it is another part of the match."""


Check = Callable[[Sighting], Verdict | None]

_TELLING = re.compile(r"pass|pwd|secret|token|key|auth|cred|access|private", re.IGNORECASE)


def _telling(word: str) -> tuple[bool, int]:
    return _TELLING.search(word) is not None, len(word)
