"""Plan, Report or OpsError -> text. Pure; one module per format, imported when it is asked for.

What comes from outside is shown and never obeyed: every word of it passes `opsctl.render.safe`.
"""

FORMATS = ("text", "json", "junit", "sarif", "github", "markdown")
"""The names of the formats, the default first."""

MONITORING_FORMATS = ("openmetrics", "nagios")
"""Those of other systems that watch; the rooms that have numbers name them in their row."""

SPOKEN = "spoken"
"""What `--plain` makes of text, for screen readers; no format of its own on the command line."""
