"""Files to rows: survey a library, scan directories, analyse what is pending, compute vectors.

What belongs here: the work that Dagster's assets, the command line and the resident worker call by name,
between the domain packages and the store. What does not: Dagster (it sits on top), SQL (in `store`), signal
processing (in `audio`). Nothing here imports `dagster`.
"""
