"""Many clients storing the slices of one study, then one client reading it back."""

import argparse
import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from tests.builders import ct_slice

JSON = "application/dicom+json"


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Print how long something took, in seconds."""
    started = time.perf_counter()
    yield
    print(f"{what:60} {time.perf_counter() - started:8.2f} s")


async def measure(url: str, slices: int, clients: int) -> None:
    """Store, search, retrieve and delete one study."""
    study = f"1.2.826.0.1.3680043.10.1.{secrets.randbits(48)}"
    files = [ct_slice(number, study, f"{study}.1") for number in range(slices)]
    print(f"{slices} slices of {len(files[0])} bytes, {clients} clients")
    answers: Counter[int] = Counter()
    async with httpx.AsyncClient(base_url=url, timeout=300) as client:

        async def store() -> None:
            while files:
                answer = await client.post(
                    "/studies", content=files.pop(), headers={"Content-Type": "application/dicom", "Accept": JSON}
                )
                answers[answer.status_code] += 1

        with timed("store"):
            await asyncio.gather(*(store() for _ in range(clients)))
        print(f"{'statuses':60} {dict(answers)}")
        with timed("search for the study"):
            (found,) = (await client.get(f"/studies?StudyInstanceUID={study}")).json()
        print(f"{'instances counted':60} {found['00201208']['Value'][0]:8}")
        with timed("metadata of the study"):
            answer = await client.get(f"/studies/{study}/metadata")
        print(f"{'instances in the metadata':60} {len(answer.json()):8}")
        with timed("retrieve the study as stored"):
            await client.get(
                f"/studies/{study}",
                headers={"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'},
            )
        with timed("delete the study"):
            (await client.delete(f"/studies/{study}")).raise_for_status()


def main() -> None:
    """Read the options and run."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--url", default="http://localhost:7071/v2")
    options.add_argument("--slices", type=int, default=500)
    options.add_argument("--clients", type=int, default=16)
    chosen = options.parse_args()
    asyncio.run(measure(chosen.url, chosen.slices, chosen.clients))


if __name__ == "__main__":
    main()
