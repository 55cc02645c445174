"""`make corpus DIR=...`: what the service makes of real files, one by one, compared with what pydicom makes of them.

Every file below the folder is stored on an Azurite and a host of this run's own, and then

    bytes       come back exactly as they were sent
    metadata    has every top-level attribute that pydicom reads, with pydicom's values or, where they are bulk, with
                references whose targets are pydicom's bytes
    frames      all of them, as stored, are those pydicom cuts from the same file; decoded, and rendered, the first one
                and the last one are there or cleanly refused

A file that cannot be stored must end as a clean failure item. The exit code is 1 when any file met a 5xx, a request
that did not end, or a difference; a table says which.
"""

import argparse
import io
import json
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pydicom
from pydicom.encaps import generate_frames
from pydicom.pixels.utils import get_expected_length

from local.azurite import running
from shared.dicom.json_model import BULK_VRS
from tests.local.hosting import running_host

JSON = "application/dicom+json"
#: Seconds after which a request counts as hanging.
TIMEOUT = 60


class Difference(Exception):
    """The service and pydicom do not agree, or the service failed."""


@dataclass(frozen=True)
class Verdict:
    """How one file ended: `stored`, `refused` or `WRONG`, and what there is to say."""

    outcome: str
    remark: str


def check(client: httpx.Client, raw: bytes) -> Verdict:
    """Store one file and compare. Raises Difference."""
    answer = ask(client, "PUT", "/studies", content=raw, headers={"Content-Type": "application/dicom", "Accept": JSON})
    body = answer.json()
    if answer.status_code == 409:
        (failed,) = body["00081198"]["Value"]
        return Verdict("refused", f"{failed['00081197']['Value'][0]}")
    if answer.status_code not in (200, 202):
        raise Difference(f"store answered {answer.status_code}")
    (item,) = body["00081199"]["Value"]
    url = item["00081190"]["Value"][0]
    if ask(client, "GET", url, headers={"Accept": "application/dicom; transfer-syntax=*"}).content != raw:
        raise Difference("other bytes came back")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        attributes = compare_metadata(client, url, raw, item)
        values = compare_bulk_values(client, url, raw)
        frames = compare_frames(client, url, raw)
    return Verdict("stored", f"{attributes} attributes, {values} bulk values, {frames}")


def ask(client: httpx.Client, method: str, url: str, **options: Any) -> httpx.Response:
    """One request. Raises Difference for a 5xx or one that does not end."""
    try:
        answer = client.request(method, url, **options)
    except httpx.HTTPError as error:
        raise Difference(f"{method} failed: {type(error).__name__}") from None
    if answer.status_code >= 500:
        raise Difference(f"{method} answered {answer.status_code}")
    return answer


def compare_metadata(client: httpx.Client, url: str, raw: bytes, item: dict[str, Any]) -> int:
    """The number of attributes compared; those that the store left out with a warning are not."""
    (ours,) = ask(client, "GET", f"{url}/metadata", headers={"Accept": JSON}).json()
    comments = [each["00000902"]["Value"][0] for each in item.get("00741048", {}).get("Value", ())]
    dropped = {comment[10:].split(")")[0].strip("(").replace(",", "").upper() for comment in comments}
    try:
        theirs = json.loads(pydicom.dcmread(io.BytesIO(raw), stop_before_pixels=True).to_json())
    except Exception:  # pydicom itself cannot convert every odd file
        return 0
    compared = 0
    for tag, element in theirs.items():
        private, group_length = int(tag[3], 16) % 2 == 1, tag.endswith("0000")
        if element["vr"] in (*BULK_VRS, "SQ") or private or group_length or tag in dropped:
            continue
        mine = ours.get(tag, {}).get("Value", [])
        if [unpadded(each) for each in mine] != [unpadded(each) for each in element.get("Value", [])]:
            raise Difference(f"metadata differs in ({tag[:4]},{tag[4:]})")
        compared += 1
    return compared


def unpadded(value: Any) -> Any:
    """A value as both would say it: pydicom drops other padding than the service, and keeps empty values."""
    return value.rstrip(" \0") or None if isinstance(value, str) else value


def compare_bulk_values(client: httpx.Client, url: str, raw: bytes) -> int:
    """The number of top-level bulk values compared, but for pixel data."""
    (ours,) = ask(client, "GET", f"{url}/metadata", headers={"Accept": JSON}).json()
    try:
        data_set = pydicom.dcmread(io.BytesIO(raw))
        swapped = data_set.file_meta.TransferSyntaxUID == pydicom.uid.ExplicitVRBigEndian
    except Exception:
        return 0
    compared = 0
    for tag, element in ours.items():
        if "BulkDataURI" not in element or tag == "7FE00010":
            continue
        answer = ask(client, "GET", element["BulkDataURI"], headers={"Accept": "application/octet-stream"})
        expected = getattr(data_set.get_item(int(tag, 16)), "value", None)
        if answer.status_code != 200 or (isinstance(expected, bytes) and len(answer.content) != len(expected)):
            raise Difference(f"bulk value ({tag[:4]},{tag[4:]}) answered {answer.status_code}")
        if isinstance(expected, bytes) and not swapped and answer.content != expected:
            raise Difference(f"bulk value ({tag[:4]},{tag[4:]}) differs")
        compared += 1
    return compared


def compare_frames(client: httpx.Client, url: str, raw: bytes) -> str:
    """What there is to say about the frames."""
    expected = list(pydicoms_frames(raw))
    if not expected:
        return "no frames"
    accept = {"Accept": "application/octet-stream; transfer-syntax=*"}
    for number, theirs in enumerate(expected, start=1):
        answer = ask(client, "GET", f"{url}/frames/{number}", headers=accept)
        if answer.status_code != 200:
            raise Difference(f"frame {number} of {len(expected)} answered {answer.status_code}")
        if answer.content != theirs:
            raise Difference(f"frame {number} of {len(expected)} differs")
    ways = [other_ways(client, url, number) for number in sorted({1, len(expected)})]
    return f"{len(expected)} frames, {ways[0] if len(set(ways)) == 1 else ' and '.join(ways)}"


def other_ways(client: httpx.Client, url: str, number: int) -> str:
    """Whether a frame can be had decoded and rendered: 200, or a clean refusal."""
    decoded = ask(client, "GET", f"{url}/frames/{number}", headers={"Accept": "application/octet-stream"})
    rendered = ask(client, "GET", f"{url}/frames/{number}/rendered", headers={"Accept": "image/png"})
    for answer in (decoded, rendered):
        if answer.status_code not in (200, 406):
            raise Difference(f"frame {number} in another form answered {answer.status_code}")
    words = {200: "", 406: "not "}
    return f"{words[decoded.status_code]}decoded, {words[rendered.status_code]}rendered"


def pydicoms_frames(raw: bytes) -> Iterator[bytes]:
    """The frames of a file as pydicom cuts them; none where it cannot tell, or where a frame is not whole."""
    try:
        data_set = pydicom.dcmread(io.BytesIO(raw))
        count = int(data_set.get("NumberOfFrames") or 1)
        if data_set["PixelData"].is_undefined_length:
            video = data_set.file_meta.TransferSyntaxUID.name.startswith(("MPEG", "HEVC"))
            yield from generate_frames(data_set.PixelData, number_of_frames=1 if video else count)
            return
        length = get_expected_length(data_set)
        if length % count or len(data_set.PixelData) < length or int(data_set.BitsAllocated) == 1:
            return
    except Exception:
        return
    size = length // count
    yield from (data_set.PixelData[at : at + size] for at in range(0, length, size))


def main() -> int:
    """Check every file below a folder; the exit code."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("folder", type=Path)
    folder: Path = options.parse_args().folder
    files = sorted(path for path in folder.rglob("*.dcm") if path.is_file())
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as scratch, running() as azurite:
        environment = {
            "DICOM_STORAGE_CONNECTION": azurite.connection_string,
            "AzureWebJobsStorage": azurite.connection_string,
            "SWEEP_SCHEDULE": "0 0 0 1 1 *",
            "ORPHAN_SCHEDULE": "0 0 0 1 1 *",
        }
        with (
            running_host(environment, Path(scratch) / "log") as host,
            httpx.Client(base_url=f"{host.url}/v2", timeout=TIMEOUT) as client,
        ):
            for path in files:
                try:
                    verdict = check(client, path.read_bytes())
                except Difference as difference:
                    verdict = Verdict("WRONG", str(difference))
                outcomes[verdict.outcome] += 1
                print(f"{verdict.outcome:8} {path.relative_to(folder).as_posix()[:80]:80} {verdict.remark}", flush=True)
    print(", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items())), f"of {len(files)} files")
    return 1 if outcomes["WRONG"] or not files else 0


if __name__ == "__main__":
    sys.exit(main())
