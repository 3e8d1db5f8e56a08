"""Make the environment in `.venv`: what `make setup` runs, and Windows users run by hand.

    python scripts/setup_env.py            what MAP4 needs to run
    python scripts/setup_env.py --dev      and what its tests and checks need

It needs Python 3.11 to 3.13 and nothing else. Packages come from the lock files, hash by hash. uv installs them, because it
takes seconds where pip takes minutes; where uv cannot be had, or MAP4_SETUP=pip asks for it, pip does it.
Run again, it installs nothing, and needs no network.
"""

import argparse
import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SUPPORTED = ((3, 11), (3, 13))


def venv_python(folder):
    """Return the path of a virtual environment's interpreter."""
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def say(text):
    """Print one line of progress."""
    print(text, flush=True)


def child_environment(folder):
    """Return the environment for pip and uv.

    An unset PYTHONDONTWRITEBYTECODE matters: without .pyc files every start of Dagster takes three times as long.
    """
    environment = {
        k: v for k, v in os.environ.items() if k not in ("PYTHONDONTWRITEBYTECODE", "PYTHONHOME", "PYTHONPATH", "PIP_USER")
    }
    environment["VIRTUAL_ENV"] = str(folder)
    environment["UV_PYTHON_DOWNLOADS"] = "never"
    return environment


def usable_version(python):
    """Return (major, minor) of an interpreter that really runs, else None."""
    command = [str(python), "-c", "import sys; print(*sys.version_info[:2])"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        major, minor = answer.stdout.split()
        return int(major), int(minor)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def make_venv(folder):
    """Create the virtual environment unless a working one is there."""
    version = usable_version(venv_python(folder))
    if version is not None and SUPPORTED[0] <= version <= SUPPORTED[1]:
        return
    if version is not None:
        say(f"{folder} holds Python {version[0]}.{version[1]}: it is made anew.")
    say(f"Creating {folder} with Python {sys.version_info[0]}.{sys.version_info[1]} ({sys.executable})")
    venv.EnvBuilder(with_pip=True, clear=folder.exists(), symlinks=os.name != "nt").create(str(folder))


def pip(python, *arguments):
    """Return the command line of a quiet pip."""
    return [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]


def has_uv(python, environment):
    """Put uv into the environment and say whether it is there."""
    if os.environ.get("MAP4_SETUP", "uv") == "pip":
        return False
    if subprocess.run([python, "-m", "uv", "--version"], env=environment, capture_output=True, check=False).returncode == 0:
        return True
    # Wheels only: building uv from source would need a Rust compiler.
    command = pip(python, "--only-binary", ":all:", "--require-hashes", "-r", str(ROOT / "scripts" / "lock-uv.txt"))
    if subprocess.run(command, env=environment, check=False).returncode == 0:
        return True
    say("uv cannot be had here: pip takes its place, which is slower.")
    return False


def install(folder, lock, with_map4):
    """Install a lock file and MAP4 itself, editable: the code stays where it is."""
    environment = child_environment(folder)
    python = str(venv_python(folder))
    # The locks are complete, so nothing is resolved (--no-deps).
    if has_uv(python, environment):
        base = [python, "-m", "uv", "pip", "install", "--quiet", "--compile-bytecode", "--python", python, "--no-deps"]
    else:
        base = pip(python, "--no-deps")
    for path in (ROOT / "scripts" / "lock-build.txt", lock):
        say(f"Installing {path.relative_to(ROOT).as_posix()}")
        subprocess.run([*base, "--require-hashes", "-r", str(path)], env=environment, check=True)
    if with_map4:
        # Without build isolation nothing is fetched: setuptools is there already, from its own lock.
        subprocess.run([*base, "--no-build-isolation", "--editable", str(ROOT)], env=environment, check=True)


def main():
    """Parse the command line and set up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--venv", type=Path, default=ROOT / ".venv", help="where the environment goes (default: .venv in the root)"
    )
    parser.add_argument("--dev", action="store_true", help="install what tests and checks need as well")
    parser.add_argument("--packages-only", action="store_true", help="leave MAP4 itself out (a layer of the image)")
    parser.add_argument("--stamp", type=Path, help="a file to touch when all went well")
    arguments = parser.parse_args()
    version = sys.version_info[:2]
    if not SUPPORTED[0] <= version <= SUPPORTED[1]:
        return f"MAP4 needs Python 3.11, 3.12 or 3.13; this is {version[0]}.{version[1]} ({sys.executable})."
    folder = arguments.venv.absolute()
    lock = ROOT / ("requirements-dev.lock" if arguments.dev else "requirements.lock")
    try:
        make_venv(folder)
        install(folder, lock, with_map4=not arguments.packages_only)
    except subprocess.CalledProcessError as error:
        return (
            f"The set-up failed at `{' '.join(error.cmd[:5])} ...` (exit code {error.returncode}). "
            "If the network was the reason, the same command goes on where it stopped."
        )
    if arguments.stamp:
        arguments.stamp.touch()
    return 0


if __name__ == "__main__":
    sys.exit(main())
