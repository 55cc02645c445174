"""The URL map: one Azure function per route, and the timers. What they do is in `shared/`; docs/architecture.md."""

import azure.functions as func
from azurefunctions.extensions.http.fastapi import Request, Response

from shared.app import wire
from shared.dicomweb import query

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
dicom = wire()

STUDIES = "{version}/studies"
STUDY = STUDIES + "/{study}"
SERIES = STUDY + "/series/{series}"
INSTANCE = SERIES + "/instances/{instance}"


# Store (PS3.18 §10.5)


@app.route(route=STUDIES, methods=["POST", "PUT"])
async def store_instances(req: Request) -> Response:
    return await dicom.store.store(req)


@app.route(route=STUDY, methods=["POST", "PUT"])
async def store_instances_in_study(req: Request) -> Response:
    return await dicom.store.store(req)


# Retrieve (PS3.18 §10.4)


@app.route(route=STUDY, methods=["GET"])
async def retrieve_study(req: Request) -> Response:
    return await dicom.retrieve.instances(req)


@app.route(route=STUDY + "/metadata", methods=["GET"])
async def retrieve_study_metadata(req: Request) -> Response:
    return await dicom.retrieve.metadata(req)


@app.route(route=SERIES, methods=["GET"])
async def retrieve_series(req: Request) -> Response:
    return await dicom.retrieve.instances(req)


@app.route(route=SERIES + "/metadata", methods=["GET"])
async def retrieve_series_metadata(req: Request) -> Response:
    return await dicom.retrieve.metadata(req)


@app.route(route="{version}/{study}/series/{series}/metadata", methods=["GET"])
async def retrieve_series_metadata_as_in_the_tutorial(req: Request) -> Response:
    # The tutorial's request has lost a slash: GET /v2/studies1.2.3/series/1.2.3.4/metadata.
    return await dicom.retrieve.metadata_of_misspelt_series(req)


@app.route(route=INSTANCE, methods=["GET"])
async def retrieve_instance(req: Request) -> Response:
    return await dicom.retrieve.instances(req)


@app.route(route=INSTANCE + "/metadata", methods=["GET"])
async def retrieve_instance_metadata(req: Request) -> Response:
    return await dicom.retrieve.metadata(req)


@app.route(route=INSTANCE + "/frames/{frames}", methods=["GET"])
async def retrieve_frames(req: Request) -> Response:
    return await dicom.retrieve.frames(req)


# Search (PS3.18 §10.6)


@app.route(route=STUDIES, methods=["GET"])
async def search_studies(req: Request) -> Response:
    return await dicom.search.search(req, query.STUDIES)


@app.route(route="{version}/series", methods=["GET"])
async def search_series(req: Request) -> Response:
    return await dicom.search.search(req, query.ALL_SERIES)


@app.route(route="{version}/instances", methods=["GET"])
async def search_instances(req: Request) -> Response:
    return await dicom.search.search(req, query.ALL_INSTANCES)


@app.route(route=STUDY + "/series", methods=["GET"])
async def search_series_of_study(req: Request) -> Response:
    return await dicom.search.search(req, query.STUDY_SERIES)


@app.route(route=STUDY + "/instances", methods=["GET"])
async def search_instances_of_study(req: Request) -> Response:
    return await dicom.search.search(req, query.STUDY_INSTANCES)


@app.route(route=SERIES + "/instances", methods=["GET"])
async def search_instances_of_series(req: Request) -> Response:
    return await dicom.search.search(req, query.SERIES_INSTANCES)


# Delete


@app.route(route=STUDY, methods=["DELETE"])
async def delete_study(req: Request) -> Response:
    return await dicom.delete.delete(req)


@app.route(route=SERIES, methods=["DELETE"])
async def delete_series(req: Request) -> Response:
    return await dicom.delete.delete(req)


@app.route(route=INSTANCE, methods=["DELETE"])
async def delete_instance(req: Request) -> Response:
    return await dicom.delete.delete(req)


# Operations


@app.route(route="health/check", methods=["GET"])
async def check_health(req: Request) -> Response:
    return await dicom.health.check(req)


@app.timer_trigger(schedule="%SWEEP_SCHEDULE%", arg_name="timer")
async def sweep(timer: func.TimerRequest) -> None:
    await dicom.sweep.sweep()


@app.timer_trigger(schedule="%ORPHAN_SCHEDULE%", arg_name="timer")
async def find_orphans(timer: func.TimerRequest) -> None:
    await dicom.sweep.find_orphans()
