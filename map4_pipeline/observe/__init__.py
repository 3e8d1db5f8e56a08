"""What tells how MAP4 is doing: structured logs, the machine's figures, reports of defects.

Imports nothing of MAP4 but the settings, so that every floor may use it. What the application counts is in `api.metrics`, what
the database knows in `store.figures`.
"""
