# opsctl with what it needs for backups and proofs: docker build -t opsctl .
FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY src src
COPY runbooks runbooks
RUN pip wheel --no-deps --wheel-dir /wheels .

FROM python:3.13-slim
# psql and pg_dump with TLS; git for rollback code and secrets-scan --history.
RUN apt-get update && apt-get install --yes --no-install-recommends postgresql-client git \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /wheels /wheels
RUN wheel="$(ls /wheels/*.whl)" \
    && pip install --no-cache-dir "opsctl[embedded,age,s3,github,secrets,re2,notify,bundle] @ file://$wheel" \
    && rm -rf /wheels && useradd --create-home opsctl
USER opsctl
WORKDIR /work
ENTRYPOINT ["opsctl"]
