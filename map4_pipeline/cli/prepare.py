"""What `map4 up` does before its services start, in a process of its own (it imports Dagster, `map4 up` does not).

    python -m map4_pipeline.cli.prepare SOCKET

Prints one JSON object: `libraries`, `partitions`, `notes`.
"""

import json
import sys
from typing import Any

from map4_pipeline.cli import garbage


def prepare(socket: str) -> dict[str, Any]:
    """Make Dagster's storage ready; return what `map4 up` tells its user."""
    from map4_pipeline.orchestration.instance import open_instance
    from map4_pipeline.orchestration.orphans import close_leftovers, close_orphans
    from map4_pipeline.orchestration.partitions import register_partitions
    from map4_pipeline.settings import settings
    from map4_pipeline.store.database import open_database
    from map4_pipeline.store.libraries import all_libraries

    configured = settings()
    engine = open_database(configured)
    with open_instance(configured) as instance:
        closed = close_orphans(instance) + close_leftovers(instance, socket)
        partitions = register_partitions(instance, engine)
        notes = [f"{closed} interrupted runs were closed; what they had finished is kept."] if closed else []
    with engine.connect() as conn:
        libraries = [(library.name, library.root_text) for library in all_libraries(conn)]
    engine.dispose()
    return {"libraries": libraries, "partitions": len(partitions), "notes": notes}


def main() -> None:
    """Prepare; errors are one sentence on standard error."""
    from map4_pipeline.store.errors import InfrastructureError

    garbage.begin()
    try:
        state = prepare(sys.argv[1])
    except InfrastructureError as error:
        print(f"map4: {error}", file=sys.stderr)
        sys.exit(3)
    print(json.dumps(state))


if __name__ == "__main__":
    main()
