#!/bin/sh
# For any other CI: a shell, Python and the wheel. DATABASE_URL and the tokens come from its
# secrets; the exit code says how it went: 0 well, 1 wrong, 2 called wrongly, 3 could not look.
set -eu
export OPSCTL_ENV="${OPSCTL_ENV:-production}" OPSCTL_NO_INPUT=1
opsctl doctor --also junit=opsctl-doctor.xml
opsctl healthcheck run --no-record --also junit=opsctl-health.xml --also markdown=opsctl-health.md
