"""schemathesis against a server that runs: every operation, all checks, as somebody with a token."""

import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

#: Operations that take the attacker's own login away; who may use them is tested elsewhere.
ENDS_LOGIN = ("end_all_sessions",)
#: The scopes of the token with which somebody of a role attacks: all that the role has.
SCOPES_OF = {
    "viewer": ["read"],
    "user": ["read", "write", "export", "analyze"],
    "admin": ["read", "write", "export", "analyze", "metrics", "admin"],
}
#: 400 says that a request fits its shape but cannot be meant: a query that cannot be read, wishes that nothing keeps. How long an
#: answer takes is the machine's affair (others work on it as well), and `benchmarks.load_users` measures it.
_CONFIGURATION = """
[checks]
max_response_time = 60
[checks.positive_data_acceptance]
expected-statuses = ["2XX", "3XX", "400", "401", "403", "404", "409", "410", "412", "413", "429"]
[checks.negative_data_rejection]
expected-statuses = ["400", "401", "403", "404", "405", "406", "409", "413", "415", "422", "428", "429"]
"""


@dataclass(frozen=True, slots=True)
class Attack:
    """How an attack went: exit code (0: nothing was found), what was found, and how many cases there were."""

    code: int
    found: str
    cases: int


def attack(
    address: str, token: str | None, *, examples: int, phases: str = "examples,coverage,fuzzing,stateful", only: str = ""
) -> Attack:
    """Try every operation of a server's description with valid and invalid requests.

    Parameters
    ----------
    examples : int
        Generated requests an operation and phase.
    only : str
        A pattern of addresses.
    """
    with tempfile.TemporaryDirectory() as folder:
        configuration = Path(folder, "schemathesis.toml")
        configuration.write_text(_CONFIGURATION)
        command = [
            sys.executable,
            "-m",
            "schemathesis.cli",
            "--config-file",
            str(configuration),
            "run",
            f"{address}/api/openapi.json",
            "--checks",
            "all",
        ]
        command += ["--max-examples", str(examples), "--phases", phases, "--continue-on-failure", "--no-color", "--seed", "1"]
        command += [
            "--generation-database",
            "none",
            "--warnings",
            "off",
            "--request-timeout",
            "60",
            "--suppress-health-check",
            "all",
        ]
        for operation in ENDS_LOGIN:
            command += ["--exclude-operation-id", operation]
        if token is not None:
            command += ["--header", f"Authorization: Bearer {token}"]
        if only:
            command += ["--include-path-regex", only]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(folder))
    said = done.stdout + done.stderr
    cases = re.search(r"([\d,]+) generated", said)
    return Attack(done.returncode, said, int(cases.group(1).replace(",", "")) if cases else 0)
