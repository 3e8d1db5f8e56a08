-- Dagster's own tables live in a database of their own beside MAP4's. Runs once, when the volume is empty.
CREATE DATABASE map4_dagster;
