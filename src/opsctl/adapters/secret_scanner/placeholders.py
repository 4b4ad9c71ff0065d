"""Values that are no secrets: placeholders, references, examples, well-known defaults."""

from __future__ import annotations

import itertools
import re

_REFERENCE = re.compile(
    r"\$\{|\$\(|\{\{|\}\}|<%|%>|#\{|%\(|(?:^|[/:@=])\$[A-Za-z_]|%[A-Z_]{3,}%"
    r"|\bprocess\.env|import\.meta|os\.environ"
    r"|getenv|\bENV\[|env\(|Deno\.env|secrets\.|vault:|op://|\bref\+|arn:aws:"
    r"|projects/[^/]+/secrets"
    r"|keyvault|ssm:|sops|data\.|var\.|local\.|module\.|!Ref|!Sub|Fn::|\bvars\.|config\.|settings\."
    r"|^ENC\[|^\{cipher\}|^AgA[A-Za-z0-9+/]{60}|\$ANSIBLE_VAULT|^@[A-Za-z]|__[A-Z_]+__|\[\[|^:[a-z_]+$",
)
_WORDS = re.compile(
    r"example|sample|placeholder|[_\-. ]your|change[_-]?(?:me|this|it)|"
    r"replace[_-]?(?:me|this|with)|your[_\-. ]|redacted|dummy|fake|foobar|foo[_-]?bar|insert[_-]|"
    r"todo|fixme|xxxx|\*\*\*|\.\.\.|…|"
    r"not[_-]?a[_-]?(?:real|secret)|test[_-]?(?:key|token|secret|password)|my[_-]?(?:secret|password|"
    r"token|key|api)|some[_-]?(?:secret|token|password|key)|super[_-]?secret|secret[_-]?(?:here|value)|"
    r"here$|lorem|ipsum|deadbeef|cafebabe|hunter2|letmein|"
    r"mock|stub|<[^>]*>|\bnull\b|\bundefined\b|enter[_-]|goes[_-]|put[_-]?your|paste|obfuscated|"
    r"masked|removed|censored|hidden|scrubbed|^\[[A-Z _-]+\]$|0000000|1111111|aaaaaaa|fffffff",
    re.IGNORECASE,
)
_SEQUENCE = re.compile(r"1234567|0123456|7654321|abcdefgh|qwerty|asdfgh", re.IGNORECASE)
_RUN = re.compile(r"([^=])\1{5,}")
_WEAK = frozenset(
    """postgres postgresql password passwd pass secret admin root user test tests testing
    guest default changeit changeme dev develop development local localhost example sample
    demo docker mysql mariadb mongo mongodb redis rabbit rabbitmq minio minioadmin supabase
    prisma app api web db database pwd pw none null true false empty string username
    userpass pass123 admin123 root123 test123 password1 password123 p@ssw0rd p@ssword
    passw0rd 123456 12345678 1234 12345 123456789 secret123 mysecretpassword mypassword
    mysecret my-secret-pw dbpassword db_password db_pass dbpass your-password yourpassword
    password! toor alpine sa pgpass qwerty letmein welcome welcome1 token key value abc123
    foo bar baz foobar s3cr3t s3cret sekret hunter2 testpass testpassword testpw test1234
    demo123 postgres123 pguser pgpassword hello world correct-horse user:pass janedoe
    johndoe alice bob xxx yyy zzz pass1 pass2 pass1234 passpass neo4j elastic kibana grafana
    guest123 changethis keycloak airflow superuser superset""".split()  # noqa: SIM905
)


def is_reference(value: str) -> bool:
    """Whether a value names where the secret is, and is none."""
    return _REFERENCE.search(value) is not None


def is_placeholder(value: str, *, strict: bool = True) -> bool:
    """Whether a value stands for a secret that is not there, or is an example that all know.

    A sequence of the keyboard is one, too, unless it is long, mixed and `strict` is off: some
    people type their tokens.
    """
    if _REFERENCE.search(value) or _WORDS.search(value) or _RUN.search(value):
        return True
    mixed = len(value) >= 20 and re.search(r"\d", value) and re.search(r"[A-Za-z]", value)
    if not strict and mixed:
        return len(set(value.lower())) < 5
    if _SEQUENCE.search(value):
        return True
    signs = set(value.lower())
    return (len(value) >= 12 and len(signs) < 5) or _is_sequence(value)


def is_weak(value: str) -> bool:
    """Whether a password is a default that protects nothing."""
    bare = value.strip("\"'`").lower()
    return bare in _WEAK or bare.rstrip("0123456789!") in _WEAK


def _is_sequence(value: str) -> bool:
    """Whether most signs follow the one before in the alphabet: `abcdef123456`."""
    steps = sum(ord(b) - ord(a) in (1, 0) for a, b in itertools.pairwise(value))
    return len(value) >= 8 and steps >= 0.7 * (len(value) - 1)
