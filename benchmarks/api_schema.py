"""schemathesis against `map4 serve` with PostgreSQL and Valkey: every operation, all checks, as each role and as nobody.

    python -m benchmarks.api_schema [--examples 50] [--role user]

A bar: 0 server errors, 0 answers that the description does not know. What is found is printed with a command that repeats it.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

from benchmarks.single import Server
from map4_pipeline_tests.api.attack import SCOPES_OF, attack
from map4_pipeline_tests.api.test_pages import furnish


def main(arguments: list[str] | None = None) -> None:
    """Start a server, attack it, print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=20, help="generated requests an operation and phase")
    parser.add_argument("--role", action="append", choices=[*SCOPES_OF, "nobody"], help="only as these; default: all")
    options = parser.parse_args(arguments)
    base = Path(tempfile.mkdtemp(prefix="map4a-"))
    (base / "Music").mkdir()
    server = Server(base / "home", base / "Music", rate=10_000_000)
    try:
        furnish(server.engine, base / "Music")
        tokens: dict[str, str | None] = {"nobody": None} | {role: server.token(role, SCOPES_OF[role]) for role in SCOPES_OF}
        failed = 0
        for role, token in tokens.items():
            if options.role and role not in options.role:
                continue
            went = attack(str(server.client.base_url).rstrip("/"), token, examples=options.examples)
            failed += went.code != 0
            print(f"{role:<8} {went.cases:>7,} requests   {'nothing found' if went.code == 0 else 'FOUND:'}", flush=True)
            if went.code:
                print(went.found)
        print(f"server errors and schema violations: {'none, the bar holds' if not failed else 'see above, the bar is MISSED'}")
    finally:
        server.close()
        shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    main()
