"""What is deployed: the service's own files, and the packages of requirements.txt for Linux and Python 3.13.

    python3 infra/package.py               makes the folder .package
    python3 infra/package.py service.zip   and a ZIP of it

Azure could install the packages itself, within a minute and with whichever Python it chooses that day. Installed here,
they are the ones that are pinned, on any system and with any Python 3 that has pip. Nothing else in this folder is
deployed, whatever lies in it (docs/adr/0018-package.md).

Facts. Deployed files cannot be written to, so what Python would compile on each start is compiled here; that takes a
Python 3.13. Times of files change on the way, so compiled files are not compared with them.
"""

import compileall
import py_compile
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / ".package"
#: Where the platform looks for packages.
PACKAGES = PACKAGE / ".python_packages/lib/site-packages"
#: The files that the service consists of.
FILES = ("function_app.py", "host.json", "requirements.txt")
#: The Python of infra/modules/app.bicep, and the C libraries (PEP 600) that are no newer than that of its system.
PYTHON = "3.13"
SYSTEMS = tuple(f"manylinux_2_{minor}_x86_64" for minor in range(28, 16, -1))


def main(arguments: list[str]) -> None:
    """Make the folder, and a ZIP if there is a name for one. Raises CalledProcessError when pip fails."""
    shutil.rmtree(PACKAGE, ignore_errors=True)
    shutil.copytree(ROOT / "shared", PACKAGE / "shared", ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy2(ROOT / name, PACKAGE)
    _install()
    if f"{sys.version_info.major}.{sys.version_info.minor}" == PYTHON:
        _compile()
    else:
        print(f"Not compiled, for this is no Python {PYTHON}: the service will start some seconds later.")
    print(f"What is deployed is in {PACKAGE.relative_to(ROOT)}.")
    if arguments:
        target = Path(arguments[0])
        shutil.make_archive(str(target.with_suffix("")), "zip", PACKAGE)
        print(f"A ZIP of it is {target.with_suffix('.zip')}.")


def _install() -> None:
    # All that is needed is listed, so pip need not ask what else is, which it would answer for this machine.
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--no-compile", "--python-version", PYTHON, "--implementation", "cp"]
    command += [word for system in SYSTEMS for word in ("--platform", system)]
    command += ["--requirement", str(ROOT / "requirements.txt"), "--target", str(PACKAGES)]
    subprocess.run(command, check=True)


def _compile() -> None:
    unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
    compileall.compile_dir(PACKAGE, quiet=2, invalidation_mode=unchecked, stripdir=PACKAGE, maxlevels=40)


if __name__ == "__main__":
    main(sys.argv[1:])
