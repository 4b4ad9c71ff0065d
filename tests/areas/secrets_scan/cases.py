"""The accuracy set: secrets and what only looks like one, made up anew from a seed.

The rules' own examples are no part of it: a scanner on its own examples scores near 1.
"""

# ruff: noqa: E501 - tables, a row a line

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from tests.areas.secrets_scan.made_up import LETTERS, drawn, expand, jwt


@dataclass(frozen=True)
class Case:
    """One file, and whether a secret is in it."""

    name: str
    text: str
    secret: bool
    stack: bool


# How people write a value down, by the kind of file.
_WAYS = (
    ("py", "{N} = '{V}'\n"), ("ts", 'export const {n}: string = "{V}";\n'),
    ("env", "{N}={V}\n"), ("env", 'export {N}="{V}"\n'), ("yaml", "env:\n  {N}: {V}\n"),
    ("json", '{{\n  "{n}": "{V}"\n}}\n'), ("toml", '{n} = "{V}"\n'), ("js", "module.exports = {{ {n}: '{V}' }};\n"),
    ("go", 'var {n} = "{V}"\n'), ("sh", "curl -H \"x-{n}: {V}\" https://api.acme.io/v1\n"),
    ("properties", "app.{n}={V}\n"), ("tf", 'variable "{n}" {{\n  default = "{V}"\n}}\n'),
    ("dockerfile", "ENV {N}={V}\n"), ("ini", "[app]\n{n} = {V}\n"),
)  # fmt: skip

_GENERAL = (
    ("githubToken", "{crc:ghp_}"), ("github_pat", "github_pat_{A22}_{A59}"), ("gitlabToken", "glpat-{A20}"),
    ("npmToken", "{crc:npm_}"), ("awsAccessKeyId", "AKIA{Y16}"), ("awsSecretAccessKey", "{K40}"),
    ("stripeSecretKey", "sk_live_{A24}"), ("stripeKey", "rk_live_{A99}"), ("webhookSecret", "whsec_{A32}"),
    ("slackToken", "xoxb-{d12}-{d13}-{A24}"), ("sendgridApiKey", "SG.{b22}.{b43}"),
    ("openaiApiKey", "sk-proj-{A74}T3BlbkFJ{A74}"), ("anthropicApiKey", "sk-ant-api03-{b93}AA"),
    ("resendApiKey", "re_{A8}_{A24}"), ("sentryAuthToken", "sntryu_{h64}"), ("linearApiKey", "lin_api_{A40}"),
    ("dopplerToken", "dp.st.prd.{A43}"), ("digitaloceanToken", "dop_v1_{h64}"), ("hfToken", "hf_{L34}"),
    ("twilioAuthToken", "{h32}"), ("mailgunApiKey", "key-{h32}"), ("datadogApiKey", "{h32}"),
    ("shopifyToken", "shpat_{h32}"), ("airtableToken", "pat{A14}.{h64}"), ("telegramToken", "{d10}:AA{A33}"),
    ("cloudflareApiToken", "{A40}"), ("herokuApiKey", "{u}"), ("notionToken", "ntn_{d11}{A35}"),
    ("postmanKey", "PMAK-{h24}-{h34}"), ("pypiToken", "pypi-AgEIcHlwaS5vcmc{A100}"),
    ("clientSecret", "{A40}"), ("apiToken", "{h40}"), ("encryptionKey", "{K43}="), ("adminPassword", "{A6}!{A5}#2k"),
    ("signingSecret", "{h64}"), ("authToken", "{A32}"),
)  # fmt: skip

_STACK = (
    ("supabaseServiceRoleKey", "{jwt:service_role}"), ("supabaseSecretKey", "sb_secret_{b22}_{b8}"),
    ("supabaseAccessToken", "sbp_{h40}"), ("vercelToken", "{A24}"), ("supabaseJwtSecret", "{A40}"),
    ("databaseUrl", "postgresql://postgres:{A16}@db.{l20}.supabase.co:5432/postgres"),
    ("directUrl", "postgresql://postgres.{l20}:{A18}@aws-0-eu-central-1.pooler.supabase.com:5432/postgres"),
    ("sqlalchemyUrl", "postgresql+psycopg://app:{A16}@pg.acme.io:5432/app"),
    ("vercelAutomationBypassSecret", "{A32}"), ("blobReadWriteToken", "vercel_blob_rw_{A16}_{A30}"),
    ("deployHook", "https://api.vercel.com/v1/integrations/deploy/prj_{A28}/{A10}"),
)  # fmt: skip

_STACK_FILES = (
    (".pgpass", "db.acme.io:5432:app:app:{A16}\n"),
    ("run.sh", "PGPASSWORD={A16} psql -h db.acme.io -U app\n"),
    ("001_roles.sql", "create role reporter with login password '{A18}';\n"),
    ("002_roles.sql", "ALTER USER postgres WITH ENCRYPTED PASSWORD '{A14}x7';\n"),
    ("vault.sql", "select vault.create_secret('{A32}', 'stripe_key');\n"),
    ("Conf.java", 'String u = "jdbc:postgresql://pg.acme.io:5432/app?user=app&password={A16}";\n'),
    ("db.py", 'connect("host=pg.acme.io port=5432 dbname=app user=app password={A16}")\n'),
    ("keys.json", '{"kty":"EC","crv":"P-256","x":"{b43}","y":"{b43}","d":"{b43}"}\n'),
    ("supabase/config.toml", '[auth.external.github]\nenabled = true\nsecret = "{h40}"\n'),
    ("test.sh", "curl -H 'x-vercel-protection-bypass: {A32}' https://web.vercel.app/\n"),
    (".npmrc", "//registry.npmjs.org/:_authToken={crc:npm_}\n"),
    ("docker-compose.yml", "services:\n  db:\n    environment:\n      POSTGRES_PASSWORD: {A16}\n"),
    ("deploy.yml", "      - run: vercel deploy --prod --token={A24}\n"),
)  # fmt: skip

_FALSE = (
    ("anon key", "env", "NEXT_PUBLIC_SUPABASE_ANON_KEY={jwt:anon}\n", True),
    ("publishable key", "ts", 'createClient(url, "sb_publishable_{b22}_{b8}");\n', True),
    ("demo key", "env", "SUPABASE_SERVICE_ROLE_KEY={demo}\n", True),
    ("local database", "env", "DATABASE_URL=postgresql://postgres:postgres@127.0.0.1:54322/postgres\n", True),
    ("env() in prisma", "prisma", 'datasource db {\n  url = env("DATABASE_URL")\n}\n', True),
    ("placeholder url", "env", "DATABASE_URL=postgresql://postgres:[YOUR-PASSWORD]@db.{l20}.supabase.co:5432/postgres\n", True),
    ("variable in url", "yml", "url: postgresql://app:${DB_PASSWORD}@db.acme.io/app\n", True),
    ("template url", "py", 'url = f"postgresql+psycopg://{user}:{password}@{host}/app"\n', True),
    ("docs url", "md", "Connect with `postgres://user:password@hostname:5432/dbname`.\n", True),
    ("env in config.toml", "toml", 'secret = "env(SUPABASE_AUTH_GITHUB_SECRET)"\n', True),
    ("secrets of actions", "yml", "        VERCEL_TOKEN: ${{ secrets.VERCEL_TOKEN }}\n", True),
    ("psql variable", "sql", "alter role app with password :'app_password';\n", True),
    ("vault by variable", "sql", "select vault.create_secret(current_setting('app.key'), 'k');\n", True),
    ("pgpass comment", "txt", "# hostname:port:database:username:password\n", True),
    ("public jwk", "json", '{"kty":"EC","crv":"P-256","x":"{b43}","y":"{b43}"}\n', True),
    ("deploy hook placeholder", "md", "https://api.vercel.com/v1/integrations/deploy/PROJECT_ID/HOOK_ID\n", True),
    ("project id", "json", '{"projectId":"prj_{A28}","orgId":"team_{A24}"}\n', True),
    ("bypass by variable", "ts", 'h["x-vercel-protection-bypass"] = process.env.BYPASS!;\n', True),
    ("pgpassword by variable", "sh", 'PGPASSWORD="$DB_PASSWORD" psql\n', True),
    ("publishable in bundle", "js", 'let k="sb_publishable_{b22}_{b8}"\n', True),
    ("sha256", "json", '{"integrity":"sha512-{B86}==","resolved":"x"}\n', False),
    ("commit", "yml", "uses: actions/checkout@{h40}\n", False),
    ("uuid", "ts", 'const id = "{u}";\nconst tenantKey = id;\n', False),
    ("public key", "txt", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{A43} me@host\n", False),
    ("certificate", "pem", "-----BEGIN CERTIFICATE-----\n{K64}\n{K64}\n-----END CERTIFICATE-----\n", False),
    ("stripe publishable", "ts", 'loadStripe("pk_live_{A24}");\n', False),
    ("placeholder", "env", "STRIPE_SECRET_KEY=sk_live_xxxxxxxxxxxxxxxxxxxxxxxx\nAPI_KEY=your-api-key-here\n", False),
    ("env read", "ts", "const apiKey = process.env.API_KEY ?? '';\n", False),
    ("os.environ", "py", 'SECRET_KEY = os.environ["DJANGO_SECRET_KEY"]\n', False),
    ("function", "ts", "const accessToken = await getAccessTokenFromSession(request);\n", False),
    ("translation key", "json", '{"passwordLabel":"Enter your password","tokenHint":"Paste the token"}\n', False),
    ("type", "ts", "interface A { password: string; apiKey?: string; secretName: 'a-b-c' }\n", False),
    ("cache key", "ts", 'const cacheKey = "{h32}";\n', False),
    ("etag", "http", 'ETag: "{h32}"\nX-Request-Id: {u}\n', False),
    ("docker digest", "yml", "image: postgres@sha256:{h64}\n", False),
    ("css", "css", ".token-keyword { color: #a1b2c3 } .password-input { width: 12rem }\n", False),
    ("validation", "php", "'password' => 'required|string|min:8|confirmed',\n", False),
    ("weak test", "yml", "POSTGRES_PASSWORD: postgres\nREDIS_PASSWORD: password\n", False),
    ("helm", "yaml", "password: {{ .Values.db.password | quote }}\n", False),
    ("vault reference", "yaml", "token: vault:secret/data/app#token\n", False),
    ("op reference", "env", "API_TOKEN=op://vault/item/token\n", False),
    ("lock", "lock", 'resolved "https://registry.yarnpkg.com/x/-/x-1.0.0.tgz#{h40}"\n', False),
    ("data uri", "html", '<img src="data:image/png;base64,{K120}" />\n', False),
    ("base64 font", "css", "src: url(data:font/woff2;base64,{K120})\n", False),
    ("aws example", "md", "AKIAIOSFODNN7EXAMPLE is the key of the documentation\n", False),
    ("redacted", "log", "Authorization: Bearer ****************\ntoken=[REDACTED]\n", False),
    ("sealed", "yaml", "kind: SealedSecret\nspec:\n  encryptedData:\n    password: AgB{K120}\n", False),
    ("names only", "tf", 'resource "aws_secretsmanager_secret" "db" { name = "prod-db-password" }\n', False),
    ("minified", "js", 'e.exports={key:"item-list-row",token:t.token,password:e.password||""}\n', False),
    ("csrf field", "html", '<input type="hidden" name="csrf_token" value="">\n', False),
)  # fmt: skip


def make_cases(seed: int = 1, *, rounds: int = 8) -> list[Case]:
    """Return the set: at least 400 of either kind, half of them of this stack."""
    return [*_true(seed), *_stack(seed, rounds), *_clean(seed, rounds)]


def _true(seed: int) -> Iterator[Case]:
    for index, (name, template) in enumerate(_GENERAL):
        for turn in range(7):
            way = _WAYS[(index * 3 + turn * 5) % len(_WAYS)]
            yield _written(f"general-{name}-{turn}", name, template, way, seed=seed, stack=False)


def _stack(seed: int, rounds: int) -> Iterator[Case]:
    for index, (name, template) in enumerate(_STACK):
        for turn in range(rounds):
            way = _WAYS[(index + turn * 3) % 9]
            yield _written(f"stack-{name}-{turn}", name, template, way, seed=seed, stack=True)
    for name, template in _STACK_FILES:
        for turn in range(rounds):
            dice = random.Random(f"{seed}{name}{turn}")
            yield Case(f"stack-file-{turn}/{name}", expand(template, dice), True, True)


def _clean(seed: int, rounds: int) -> Iterator[Case]:
    for name, suffix, template, stack in _FALSE:
        for turn in range(rounds + 1):
            dice = random.Random(f"{seed}{name}{turn}")
            text = template.replace("{demo}", jwt("service_role", dice, issuer="supabase-demo"))
            around = f"// {drawn(LETTERS, 6, dice)}\n" if turn % 2 else ""
            folder = name.replace(" ", "-").replace("()", "")
            base = "yarn.lock" if suffix == "lock" else f"file.{suffix}"
            yield Case(f"clean-{folder}-{turn}/{base}", around + expand(text, dice), False, stack)


def _written(
    case: str, name: str, template: str, way: tuple[str, str], *, seed: int, stack: bool
) -> Case:
    suffix, form = way
    value = expand(template, random.Random(f"{seed}{case}"))
    upper = "".join(f"_{sign}" if sign.isupper() else sign.upper() for sign in name)
    text = form.replace("{{", "{").replace("}}", "}")
    text = text.replace("{N}", upper).replace("{n}", name).replace("{V}", value)
    file = "Dockerfile" if suffix == "dockerfile" else ".env" if suffix == "env" else f"a.{suffix}"
    return Case(f"{case}/{file}", text, True, stack)
