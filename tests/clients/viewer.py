"""The OHIF viewer in a real browser, on what the service stores: the list, the filters, the images, the thumbnails.

`make test-viewer` runs it. It is not named `test_`, so `make test` leaves it out, because it needs what `make setup`
does not install: Chromium and the viewer. With SCREENSHOTS set to a folder it also leaves pictures there.
"""

import json
import os
import re
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import httpx
import pydicom.data
import pytest

from local.azurite import Azurite
from local.pages import HEADERS
from local.viewer import viewer_files
from tests.builders import instance
from tests.clients.chromium import Exchange, Page, outside, page
from tests.clients.files import Sample
from tests.e2e.service import Api, Place, new_uid, wait_until
from tests.local.hosting import RunningHost, running_host
from tests.local.test_supervisor import started
from tests.phantom import SLICES, STUDIES

ADA, BRUNO, CLARA = STUDIES

#: The rows of the study list, without those of its head and its filters, and the patients they name.
STUDY_ROWS = "[...document.querySelectorAll('tr')].filter(row => /\\d\\d:\\d\\d/.test(row.innerText))"
PATIENTS = f"{STUDY_ROWS}.map(row => row.innerText.split('\\n')[0])"
ADAS_ROW = f"{STUDY_ROWS}.find(row => row.innerText.includes('Ada'))"
THUMBNAILS = "[...document.querySelectorAll('[data-cy=study-browser-thumbnail] img')]"
#: How many different values the bytes of the picture on the screen have, scaled down; of one colour it has at most 4.
SHADES = """(() => {
  const scaled = document.createElement('canvas');
  scaled.width = scaled.height = 128;
  const drawing = scaled.getContext('2d');
  drawing.drawImage(document.querySelector('canvas.cornerstone-canvas'), 0, 0, 128, 128);
  return new Set(drawing.getImageData(0, 0, 128, 128).data).size;
})()"""


@pytest.fixture(scope="module")
def host(azurite: Azurite, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHost]:
    """The service with the viewer, and three patients in it."""
    environment = Place.new(azurite.connection_string).environment()
    log = tmp_path_factory.mktemp("viewer") / "host.log"
    with running_host(environment, log, arguments=["--viewer", viewer_files()]) as started:
        with Api(started.url) as api:
            for study in STUDIES:
                assert api.store(*study.files()).status_code == 200
        yield started


@pytest.fixture
def network_log(tmp_path: Path) -> Path:
    return tmp_path / "network.json"


@pytest.fixture
def browser(network_log: Path) -> Iterator[Page]:
    with page(network_log) as opened:
        yield opened


def picture(browser: Page, name: str) -> None:
    """A screenshot for the documents, when somebody asked for them."""
    if folder := os.environ.get("SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / f"ohif-{name}.png").write_bytes(browser.screenshot())


def with_uids(file: bytes, study: str) -> bytes:
    """The file as an instance of another study, so that files of one patient do not meet."""
    ds = pydicom.dcmread(BytesIO(file))
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID = study, f"{study}.1", f"{study}.1.1"
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    made = BytesIO()
    ds.save_as(made)
    return made.getvalue()


def skip_the_tour(browser: Page) -> None:
    """Whoever opens a study for the first time is shown around."""
    browser.click("[...document.querySelectorAll('span, button')].find(each => each.innerText === 'Skip all')")


def asked(browser: Page) -> list[Exchange]:
    """What was asked of the service."""
    return [each for each in browser.exchanges if each.path.startswith("/v2/")]


def assert_nothing_went_wrong(browser: Page) -> None:
    """Every request to the service succeeded, unless the viewer gave it up, and the console is clean."""
    wait_until(lambda: all(each.ended for each in asked(browser)))
    assert asked(browser)
    refused = [each for each in asked(browser) if each.status >= 300]
    lost = [each for each in asked(browser) if each.failure and not each.given_up]
    assert (refused, lost) == ([], [])
    assert browser.complaints == []


def test_the_study_list_shows_filters_and_previews_what_is_stored(host: RunningHost, browser: Page) -> None:
    browser.go(host.url)
    browser.wait_for(f"{PATIENTS}.length === 3")
    assert browser.evaluate(PATIENTS) == ["Model, Clara", "Phantom, Bruno", "Phantom, Ada"]
    text = browser.evaluate("document.body.innerText")
    for study in STUDIES:
        assert study.description in text
        assert study.accession in text
    count = sum(1 for _ in ADA.files())
    assert browser.evaluate(f"{STUDY_ROWS}[0].innerText").split()[-1] == str(count)

    browser.click("document.querySelector('table input')")
    browser.type("hanto")
    # The list is filtered twice: in the page while somebody types, then by the service.
    wait_until(lambda: any("?PatientName=*hanto*&" in each.path and each.ended for each in asked(browser)))
    browser.wait_for(f"{PATIENTS}.length === 2")
    assert browser.evaluate(PATIENTS) == ["Phantom, Bruno", "Phantom, Ada"]

    browser.click(ADAS_ROW)
    browser.wait_for(f"{THUMBNAILS}.length === 3 && {THUMBNAILS}.every(image => image.complete && image.naturalWidth)")
    picture(browser, "study-list")
    assert_nothing_went_wrong(browser)


def test_a_study_is_opened_with_pixels_and_thumbnails_and_nothing_is_asked_of_anybody_else(
    host: RunningHost, network_log: Path
) -> None:
    with page(network_log) as browser:
        browser.go(host.url)
        browser.click(ADAS_ROW, times=2)
        browser.wait_for("location.pathname === '/viewer'")
        skip_the_tour(browser)
        browser.wait_for(
            f"{THUMBNAILS}.length === 3 && {THUMBNAILS}.every(image => image.complete && image.naturalWidth)"
        )
        browser.turn_wheel(700, 400, SLICES // 2 - 1)
        browser.wait_for(f"document.body.innerText.includes('({SLICES // 2}/{SLICES})')")
        browser.wait_for(f"{SHADES} > 100")
        frames = [each.path for each in asked(browser) if re.search(rf"\.2\.{SLICES // 2}/frames/1$", each.path)]
        assert frames
        thumbnails = [each for each in asked(browser) if "/thumbnail?" in each.path]
        assert len(thumbnails) >= 3
        # The threads that decode may share memory.
        assert browser.evaluate("self.crossOriginIsolated") is True
        picture(browser, "study")
        assert_nothing_went_wrong(browser)
    assert outside(network_log, host.url) == set()


#: Files of pydicom's wheel, in JPEG 2000, JPEG-LS, RLE and JPEG.
COMPRESSED = ("JPEG2000.dcm", "MR_small_jpeg_ls_lossless.dcm", "MR_small_RLE.dcm", "SC_rgb_jpeg_dcmtk.dcm")


def test_compressed_images_are_decoded_by_the_viewer_as_they_are_stored(host: RunningHost, browser: Page) -> None:
    for name in COMPRESSED:
        file = Path(pydicom.data.get_testdata_file(name, download=False) or name).read_bytes()
        study = new_uid()
        with Api(host.url) as api:
            assert api.store(with_uids(file, study)).status_code in {200, 202}
        browser.go(f"{host.url}/viewer?StudyInstanceUIDs={study}")
        browser.wait_for(f"location.search.includes('{study}') && {SHADES} > 10")
        assert any(f"/{study}/" in each.path and each.path.endswith("/frames/1") for each in asked(browser)), name
        assert_nothing_went_wrong(browser)


def test_a_document_comes_from_its_bulk_data_uri(host: RunningHost, browser: Page) -> None:
    sample = Sample.new()
    with Api(host.url) as api:
        assert api.store(*sample.files.values()).status_code == 200
        try:
            browser.go(f"{host.url}/viewer?StudyInstanceUIDs={sample.study}")
            skip_the_tour(browser)
            browser.click("document.querySelector('[data-cy=study-browser-thumbnail-no-image]')", times=2)
            wait_until(lambda: any(each.status == 200 and "/bulkdata/" in each.path for each in asked(browser)))
            assert_nothing_went_wrong(browser)
        finally:
            assert api.delete(f"studies/{sample.study}") == 204


def test_a_file_can_be_uploaded_in_the_viewer(host: RunningHost, browser: Page, tmp_path: Path) -> None:
    study = new_uid()
    file = tmp_path / "upload.dcm"
    file.write_bytes(instance(study=study, series=f"{study}.1", sop=f"{study}.1.1", PatientName="Upload^Olga"))
    browser.go(host.url)
    browser.click("[...document.querySelectorAll('button')].find(each => each.innerText.includes('Upload'))")
    browser.wait_for("document.querySelector('input[type=file]') !== null")
    node = browser.command("Runtime.evaluate", expression="document.querySelector('input[type=file]')")["result"]
    browser.command("DOM.setFileInputFiles", files=[str(file)], objectId=node["objectId"])
    browser.wait_for("document.body.innerText.includes('1 file completed')")
    with Api(host.url) as api:
        assert api.files(f"studies/{study}") == [file.read_bytes()]
        assert api.delete(f"studies/{study}") == 204


def test_a_page_of_another_origin_may_call_the_service(host: RunningHost, browser: Page) -> None:
    here = f"http://localhost:{host.port}"  # to a browser another origin than http://127.0.0.1
    browser.go(f"{here}/health/check")
    browser.wait_for(f"location.origin === '{here}'")
    script = """
        fetch(URL, { headers: { Accept: 'application/dicom+json', Authorization: 'Bearer none' } })
          .then(async answer => [answer.status, answer.headers.get('etag'), (await answer.json()).length])
    """
    url = f"{host.url}/v2/studies/{CLARA.uid}/metadata"
    status, etag, count = browser.evaluate(script.replace("URL", json.dumps(url)))
    assert (status, count) == (200, sum(1 for _ in CLARA.files()))
    assert etag
    assert "OPTIONS" in {each.method for each in browser.exchanges}


def test_make_viewer_says_where_the_viewer_is_and_it_is_there(tmp_path: Path) -> None:
    with started([sys.executable, "-m", "local", "--viewer"], tmp_path) as copy:
        assert f"The viewer is at             {copy.url}\n" in copy.output.read_text()
        answer = httpx.get(copy.url, headers={"Accept": "text/html"}, trust_env=False)
        assert "OHIF" in answer.text


def test_the_pages_come_with_their_headers_and_the_service_keeps_its_paths(host: RunningHost) -> None:
    html = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    with httpx.Client(base_url=host.url, trust_env=False) as client:
        for path in ("/", "/viewer?StudyInstanceUIDs=1.2.3", "/app-config.js"):
            answer = client.get(path, headers=html)
            assert answer.status_code == 200
            assert {name: answer.headers[name] for name in HEADERS} == HEADERS
        assert "root = '/v2'" in client.get("/app-config.js").text
        (wasm, *_) = viewer_files().glob("*.wasm")
        assert client.get(f"/{wasm.name}").headers["content-type"] == "application/wasm"
        assert client.get("/v2/studies", headers=html).headers["content-type"] == "application/dicom+json"
        assert client.get("/missing.js").status_code == 404
