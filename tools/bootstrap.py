"""Install what a make target needs, then run its command in the virtual environment.

    python3 tools/bootstrap.py NEED[,NEED...] COMMAND [ARGUMENT...]

Runs on any Python 3.11 with nothing installed. Debian packages are installed when we are root and named otherwise.
When everything is there it only compares a few stamps. ``COMMAND`` replaces this process.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

CODE = Path(__file__).resolve().parent.parent
#: Where the code is copied to when the service account cannot reach it.
REACHABLE_HOME = Path("/var/lib/panda-dev")
DEBIAN_PYTHON = Path("/usr/bin/python3")
POLICY = Path("/usr/sbin/policy-rc.d")
ACCOUNT = "panda"


@dataclass(frozen=True)
class Need:
    """What one kind of work requires besides the base: Debian packages, and extras of setup.py."""

    packages: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    service: bool = False  # starts processes as the service account, so that must be able to reach the code


#: mod_wsgi is built against Apache's and Python's headers, whatever we are going to do.
BASE = ("apache2-bin", "apache2-dev", "gcc")
DEBIAN_PYTHON_PACKAGES = ("python3-venv", "python3-dev")
#: mysqlclient is built too.
MYSQL_HEADERS = ("libmariadb-dev", "pkg-config")
#: Tests let these read the deployment files that are for them; nothing of them is started.
MACHINE = ("systemd", "logrotate", "gridsite")

NEEDS = {
    "run": Need(packages=("openssl",), extras=("metrics",), service=True),
    "sqlite": Need(),
    "postgresql": Need(("postgresql",), ("postgres",), service=True),
    "mariadb": Need(("mariadb-server", *MYSQL_HEADERS), ("mysql",), service=True),
    "demo": Need(extras=("demo",)),
    "builtin": Need(),
    "stock": Need(packages=("procps", "curl", "util-linux")),
    "develop": Need((*MYSQL_HEADERS, *MACHINE), ("test",)),
    "bench": Need(("wrk",), service=True),
}


def main(arguments: Sequence[str]) -> None:
    """Satisfy the needs and become the command."""
    if len(arguments) < 2:
        sys.exit(__doc__)
    names, command = arguments[0].split(","), list(arguments[1:])
    if unknown := [name for name in names if name not in NEEDS]:
        sys.exit(f"{', '.join(unknown)}: not one of {', '.join(NEEDS)}")
    needs = [NEEDS[name] for name in names]
    if sys.version_info < (3, 11):  # noqa: UP036 - this file is also run by whatever python3 is on PATH
        sys.exit(f"Python 3.11 or newer is needed; {sys.executable} is {sys.version.split()[0]}")

    with alone():
        python = chosen_python()
        install_packages(missing_packages(wanted_packages(needs, python)))
        if os.geteuid() == 0 and any(need.service for need in needs):
            create_account()
            if not reachable(CODE / "setup.py") or not reachable(CODE / "pandaserver" / "__init__.py"):
                continue_in_copy(arguments)
        environment = ensure_environment(python, {extra for need in needs for extra in need.extras})
        if os.geteuid() == 0 and any(need.service for need in needs):
            check_interpreter(environment)
    become(environment, command)


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Keep a second make from installing at the same time."""
    with (CODE / "setup.py").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def become(environment: Path, command: list[str]) -> None:
    """Replace this process by the command, with the environment's programs first."""
    os.environ["PATH"] = f"{environment / 'bin'}:{os.environ.get('PATH', os.defpath)}"
    os.environ["VIRTUAL_ENV"] = str(environment)
    os.environ.pop("PYTHONHOME", None)
    os.chdir(CODE)
    program = shutil.which(command[0]) or sys.exit(f"{command[0]}: not found")
    os.execv(program, command)


# ---- packages of the operating system


def wanted_packages(needs: Sequence[Need], python: Path) -> list[str]:
    """Return the Debian packages for the needs, each once."""
    wanted = list(BASE)
    if python == DEBIAN_PYTHON:
        wanted += DEBIAN_PYTHON_PACKAGES
    for need in needs:
        wanted += need.packages
    return list(dict.fromkeys(wanted))


def missing_packages(wanted: Sequence[str]) -> list[str]:
    """Return those that are not installed; none where there is no dpkg to ask."""
    if not shutil.which("dpkg-query"):
        if not shutil.which("apxs"):
            sys.exit(f"This is not a Debian system, so install the equivalents of these first: {' '.join(wanted)}")
        return []
    query = ["dpkg-query", "--show", "--showformat", "${Package} ${db:Status-Status}\\n", *wanted]
    answer = subprocess.run(query, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False).stdout
    installed = {line.split()[0] for line in answer.splitlines() if line.endswith(" installed")}
    return [name for name in wanted if name not in installed]


def install_packages(missing: Sequence[str]) -> None:
    """Install packages without starting any service they bring, or say which are missing."""
    if not missing:
        return
    if os.geteuid() != 0:
        sys.exit(f"Debian packages are missing. Have them installed:\n\n    apt-get install {' '.join(missing)}\n")
    say(f"installing Debian packages: {' '.join(missing)}")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    with services_kept_from_starting():
        for command in (["update"], ["install", "-y", "--no-install-recommends", *missing]):
            # Of interest is only what goes wrong, and that is on stderr.
            subprocess.run(["apt-get", "-qq", *command], check=True, env=environment, stdout=subprocess.DEVNULL)


@contextlib.contextmanager
def services_kept_from_starting() -> Iterator[None]:
    """Let package scripts start nothing; a policy that is already there stays as it is."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink()


# ---- the service account


def create_account() -> None:
    """Create the account that Apache, the daemon and the database of an instance run as."""
    known = subprocess.run(["getent", "passwd", ACCOUNT], stdout=subprocess.DEVNULL, check=False).returncode == 0
    if not known:
        say(f"creating the system account {ACCOUNT}")
        useradd = ["useradd", "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"]
        subprocess.run([*useradd, "--shell", "/usr/sbin/nologin", ACCOUNT], check=True)


def reachable(path: Path) -> bool:
    """Say whether an account without privileges can read ``path``, judging by the permissions for others."""
    if not path.exists():
        return False
    return bool(path.stat().st_mode & 0o004) and all(parent.stat().st_mode & 0o001 for parent in path.parents)


def continue_in_copy(arguments: Sequence[str]) -> None:
    """Copy the code to where the account can read it, and start over there."""
    home = REACHABLE_HOME / f"{CODE.name}-{zlib.crc32(str(CODE).encode()):08x}"
    say(f"account {ACCOUNT} cannot read {CODE}: the code and the instance live in {home}")
    home.mkdir(parents=True, exist_ok=True)
    for directory in (REACHABLE_HOME, home):
        directory.chmod(0o755)
    copy_tree(CODE, home)
    os.chdir(home)
    os.execv(sys.executable, [sys.executable, str(home / "tools" / "bootstrap.py"), *arguments])


def copy_tree(source: Path, target: Path) -> None:
    """Make ``target`` equal to ``source``, except for what is made in place: environments, instances, caches."""
    made_here = {".git", ".venv", "var", "build", "dist", "__pycache__"}
    for entry in target.iterdir():
        if entry.name not in made_here and not entry.name.endswith(".egg-info"):
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    for entry in source.iterdir():
        if entry.name in made_here or entry.name.endswith(("_cache", ".egg-info")):
            continue
        if entry.is_dir():
            shutil.copytree(entry, target / entry.name, ignore=shutil.ignore_patterns("__pycache__"), symlinks=True)
        else:
            shutil.copy2(entry, target / entry.name, follow_symlinks=False)
    for directory, _, files in os.walk(target):
        for path in [Path(directory), *(Path(directory, name) for name in files)]:
            if not path.is_symlink() and not made_here & set(path.relative_to(target).parts):
                path.chmod(path.stat().st_mode | (0o055 if path.is_dir() else 0o044))


# ---- the virtual environment


def chosen_python() -> Path:
    """Return the Python to build the environment from: the one on PATH, if the service account can reach it."""
    on_path = Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")
    is_debians = sys.base_prefix == "/usr"
    if is_debians or (os.geteuid() == 0 and DEBIAN_PYTHON.exists() and not reachable(on_path)):
        return DEBIAN_PYTHON
    return on_path


def ensure_environment(python: Path, extras: set[str]) -> Path:
    """Create the virtual environment if there is none and install the project with ``extras`` into it."""
    environment = CODE / ".venv"
    pip = [str(environment / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
    if not (environment / "bin" / "python").exists():
        say(f"creating {environment} from {python}")
        subprocess.run([str(python), "-m", "venv", "--clear", str(environment)], check=True)
        subprocess.run([*pip, "install", "-qq", "--upgrade", "pip", "setuptools", "wheel"], check=True)
    stamps = environment / "installed"
    stamps.mkdir(exist_ok=True)
    wanted = fingerprint()
    outdated = [extra for extra in ("", *sorted(extras)) if content(stamps / f"stamp-{extra}") != wanted]
    if outdated:
        say(f"installing the Python packages{' for ' + ', '.join(filter(None, outdated)) if extras else ''}")
        target = f"{CODE}[{','.join(sorted(extras))}]" if extras else str(CODE)
        constraints = ["--constraint", str(CODE / "tools" / "constraints.txt")]
        subprocess.run([*pip, "install", "-qq", *constraints, "--editable", target], check=True)
        for extra in outdated:
            (stamps / f"stamp-{extra}").write_text(wanted)
    return environment


def check_interpreter(environment: Path) -> None:
    """Refuse an environment whose Python the service account cannot start; somebody else made it."""
    interpreter = (environment / "bin" / "python").resolve()
    if not reachable(interpreter):
        sys.exit(
            f"{environment} was made from {interpreter}, which account {ACCOUNT} cannot reach: remove it, run again"
        )


def fingerprint() -> str:
    """Return a hash of everything that decides what is installed."""
    parts = [(CODE / name).read_bytes() for name in ("setup.py", "tools/constraints.txt")]
    return hashlib.sha256(b"\0".join([*parts, str(CODE).encode()])).hexdigest()


def content(path: Path) -> str:
    """Return the text of a file, or nothing where there is none."""
    return path.read_text() if path.exists() else ""


def say(message: str) -> None:
    """Tell the person at the terminal, apart from what the command prints."""
    print(f"bootstrap: {message}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    os.umask(0o022)  # the service account reads what we install
    try:
        main(sys.argv[1:])
    except subprocess.CalledProcessError as failure:
        sys.exit(f"bootstrap: {' '.join(map(str, failure.cmd))} failed with exit code {failure.returncode}")
