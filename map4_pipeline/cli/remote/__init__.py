"""The commands that ask a `map4 serve` elsewhere (`--server URL`, MAP4_SERVER), through the generated client.

They have the names of those that ask the database, and print the same tables and the same JSON.
"""
