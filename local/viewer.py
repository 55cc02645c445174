"""The OHIF viewer, as its makers publish it: `viewer_files` fetches it through npm on first use and says where it lies.

Decides: one version, pinned with the SHA-512 that npm publishes for it, so that a changed package is refused; a folder
inside the project that git ignores. The 50 MB (204 MB unpacked) are no dependency of the service, nor does `make setup`
fetch them, so `package.json` does not name them. Nothing of the viewer is changed; `local/app-config.js` configures it.

Leaves out the packages that `@ohif/app` names as its own dependencies: they are compiled into its files.
"""

import base64
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
import time
from pathlib import Path, PurePosixPath
from typing import Final

from local.settings import ROOT, LocalError

PACKAGE: Final = "@ohif/app"
VERSION: Final = "3.13.2"
INTEGRITY: Final = "sha512-WZdxmpmG7rqFgW9ZJLcbgr3XCtLi1KDNPoMaeY5PPe6j4G4fjEjjkycZM6C6Zk2F87BKxFfpq+jd5xXZB9E8EA=="

FOLDER: Final = ROOT / ".viewer"
#: What the viewer reads instead of the configuration in the package, which names a public server.
CONFIGURATION: Final = ROOT / "local" / "app-config.js"

FETCH_SECONDS: Final = 600


def viewer_files(folder: Path = FOLDER) -> Path:
    """The folder of the viewer's `index.html`; fetched if need be. Raises LocalError when that fails."""
    files = folder / f"ohif-{VERSION}"
    if not (files / "index.html").is_file():
        print(f"Fetching the viewer, {PACKAGE} {VERSION}: 50 MB, once", flush=True)
        folder.mkdir(parents=True, exist_ok=True)
        # Beside its destination, so that the last step is a renaming: what is there is complete.
        with tempfile.TemporaryDirectory(dir=folder, prefix="fetch-") as scratch:
            unpacked = unpack(_fetch(Path(scratch)), Path(scratch) / "files")
            shutil.rmtree(files, ignore_errors=True)
            unpacked.rename(files)
    return files


def unpack(package: Path, into: Path) -> Path:
    """Unpacks the web pages of the package, and its licence. Raises LocalError when it is not the pinned one."""
    digest = hashlib.sha512()
    with package.open("rb") as opened:
        while piece := opened.read(1 << 20):
            digest.update(piece)
    found = f"sha512-{base64.b64encode(digest.digest()).decode()}"
    if found != INTEGRITY:
        raise LocalError(f"{PACKAGE} {VERSION} is not the package that was published: its checksum is {found}.")
    pages, now = PurePosixPath("package/dist"), int(time.time())
    with tarfile.open(package) as archive:
        for member in archive:
            path = PurePosixPath(member.name)
            if path.is_relative_to(pages):
                member.name = str(path.relative_to(pages))
            elif path.name == "LICENSE" and len(path.parts) == 2:
                member.name = "LICENSE"
            else:
                continue
            # All files of the package bear one date, of 1985: an ETag made from it would not change with the version.
            member.mtime = now
            archive.extract(member, into, filter="data")
    return into


def _fetch(into: Path) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        raise LocalError("npm is needed to fetch the viewer, but it is not on the PATH.")
    command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--pack-destination", str(into), "--silent"]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=FETCH_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise LocalError(f"npm did not fetch {PACKAGE} {VERSION} within {FETCH_SECONDS} s.") from None
    fetched = list(into.glob("*.tgz"))
    if done.returncode or len(fetched) != 1:
        said = (done.stderr.strip().splitlines() or ["npm gave no reason"])[-1]
        raise LocalError(f"npm could not fetch {PACKAGE} {VERSION}: {said}")
    return fetched[0]
