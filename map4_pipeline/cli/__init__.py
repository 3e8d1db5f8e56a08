"""`map4`, the command line. Commands live in modules of their own and import what they need when they run."""

#: The most rows that a command may be asked for: what PostgreSQL's `LIMIT` and programs elsewhere take without doubt.
MOST_ROWS = (1 << 31) - 1
