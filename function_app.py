"""The URL map: one Azure function per route, and the timers. What they do is in `shared/`; docs/architecture.md."""

import azure.functions as func
from azurefunctions.extensions.http.fastapi import Request, Response

from shared.app import application
from shared.dicomweb import query
from shared.services.sweep import Swept
from shared.web.edge import Kind

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
dicom = application()

STUDIES = "{version}/studies"
STUDY = STUDIES + "/{study}"
SERIES = STUDY + "/series/{series}"
INSTANCE = SERIES + "/instances/{instance}"

# OPTIONS is for browsers that ask whether they may; of each route, one function answers it.
READ = ["GET", "HEAD", "OPTIONS"]


# Store (PS3.18 §10.5)


@app.route(route=STUDIES, methods=["POST", "PUT"])
@dicom.operation(Kind.STORE)
async def store_instances(req: Request) -> Response:
    return await dicom.store.store(req)


@app.route(route=STUDY, methods=["POST", "PUT"])
@dicom.operation(Kind.STORE)
async def store_instances_in_study(req: Request) -> Response:
    return await dicom.store.store(req)


# Retrieve (PS3.18 §10.4)


@app.route(route=STUDY, methods=READ)
@dicom.operation(Kind.RETRIEVE)
async def retrieve_study(req: Request) -> Response:
    return await dicom.retrieve.instances(req)


@app.route(route=SERIES, methods=READ)
@dicom.operation(Kind.RETRIEVE)
async def retrieve_series(req: Request) -> Response:
    return await dicom.retrieve.instances(req)


@app.route(route=INSTANCE, methods=READ)
@dicom.operation(Kind.RETRIEVE)
async def retrieve_instance(req: Request) -> Response:
    return await dicom.retrieve.instances(req)


@app.route(route=INSTANCE + "/frames/{frames}", methods=READ)
@dicom.operation(Kind.RETRIEVE)
async def retrieve_frames(req: Request) -> Response:
    return await dicom.retrieve.frames(req)


# Metadata (PS3.18 §10.4.1.1.2)


@app.route(route=STUDY + "/metadata", methods=READ)
@dicom.operation(Kind.METADATA)
async def retrieve_study_metadata(req: Request) -> Response:
    return await dicom.retrieve.metadata(req)


@app.route(route=SERIES + "/metadata", methods=READ)
@dicom.operation(Kind.METADATA)
async def retrieve_series_metadata(req: Request) -> Response:
    return await dicom.retrieve.metadata(req)


@app.route(route="{version}/{study}/series/{series}/metadata", methods=READ)
@dicom.operation(Kind.METADATA)
async def retrieve_series_metadata_as_in_the_tutorial(req: Request) -> Response:
    # The tutorial's request has lost a slash: GET /v2/studies1.2.3/series/1.2.3.4/metadata.
    return await dicom.retrieve.metadata_of_misspelt_series(req)


@app.route(route=INSTANCE + "/metadata", methods=READ)
@dicom.operation(Kind.METADATA)
async def retrieve_instance_metadata(req: Request) -> Response:
    return await dicom.retrieve.metadata(req)


# Bulk data and pixel data (PS3.18 §10.4.1.1.5, §10.4.1.1.6)


@app.route(route=STUDY + "/bulkdata", methods=READ)
@dicom.operation(Kind.RETRIEVE)
async def retrieve_study_bulkdata(req: Request) -> Response:
    return await dicom.bulkdata.all_values(req)


@app.route(route=SERIES + "/bulkdata", methods=READ)
@dicom.operation(Kind.RETRIEVE)
async def retrieve_series_bulkdata(req: Request) -> Response:
    return await dicom.bulkdata.all_values(req)


@app.route(route=INSTANCE + "/bulkdata", methods=READ)
@dicom.operation(Kind.RETRIEVE)
async def retrieve_instance_bulkdata(req: Request) -> Response:
    return await dicom.bulkdata.all_values(req)


@app.route(route=INSTANCE + "/bulkdata/{attribute}", methods=READ)
@dicom.operation(Kind.RETRIEVE)
async def retrieve_bulk_value(req: Request) -> Response:
    return await dicom.bulkdata.value(req)


@app.route(route=STUDY + "/pixeldata", methods=READ)
@dicom.operation(Kind.RETRIEVE)
async def retrieve_study_pixel_data(req: Request) -> Response:
    return await dicom.bulkdata.pixel_data(req)


@app.route(route=SERIES + "/pixeldata", methods=READ)
@dicom.operation(Kind.RETRIEVE)
async def retrieve_series_pixel_data(req: Request) -> Response:
    return await dicom.bulkdata.pixel_data(req)


@app.route(route=INSTANCE + "/pixeldata", methods=READ)
@dicom.operation(Kind.RETRIEVE)
async def retrieve_instance_pixel_data(req: Request) -> Response:
    return await dicom.bulkdata.pixel_data(req)


# Rendered images and thumbnails (PS3.18 §10.4.1.1.3, §10.4.1.1.4)


@app.route(route=STUDY + "/rendered", methods=READ)
@dicom.operation(Kind.RENDERED)
async def render_study(req: Request) -> Response:
    return await dicom.rendered.rendered(req)


@app.route(route=SERIES + "/rendered", methods=READ)
@dicom.operation(Kind.RENDERED)
async def render_series(req: Request) -> Response:
    return await dicom.rendered.rendered(req)


@app.route(route=INSTANCE + "/rendered", methods=READ)
@dicom.operation(Kind.RENDERED)
async def render_instance(req: Request) -> Response:
    return await dicom.rendered.rendered(req)


@app.route(route=INSTANCE + "/frames/{frames}/rendered", methods=READ)
@dicom.operation(Kind.RENDERED)
async def render_frames(req: Request) -> Response:
    return await dicom.rendered.rendered(req)


@app.route(route=STUDY + "/thumbnail", methods=READ)
@dicom.operation(Kind.RENDERED)
async def retrieve_study_thumbnail(req: Request) -> Response:
    return await dicom.rendered.thumbnail(req)


@app.route(route=SERIES + "/thumbnail", methods=READ)
@dicom.operation(Kind.RENDERED)
async def retrieve_series_thumbnail(req: Request) -> Response:
    return await dicom.rendered.thumbnail(req)


@app.route(route=INSTANCE + "/thumbnail", methods=READ)
@dicom.operation(Kind.RENDERED)
async def retrieve_instance_thumbnail(req: Request) -> Response:
    return await dicom.rendered.thumbnail(req)


@app.route(route=INSTANCE + "/frames/{frames}/thumbnail", methods=READ)
@dicom.operation(Kind.RENDERED)
async def retrieve_frame_thumbnail(req: Request) -> Response:
    return await dicom.rendered.thumbnail(req)


# Search (PS3.18 §10.6)


@app.route(route=STUDIES, methods=READ)
@dicom.operation(Kind.QUERY)
async def search_studies(req: Request) -> Response:
    return await dicom.search.search(req, query.STUDIES)


@app.route(route="{version}/series", methods=READ)
@dicom.operation(Kind.QUERY)
async def search_series(req: Request) -> Response:
    return await dicom.search.search(req, query.ALL_SERIES)


@app.route(route="{version}/instances", methods=READ)
@dicom.operation(Kind.QUERY)
async def search_instances(req: Request) -> Response:
    return await dicom.search.search(req, query.ALL_INSTANCES)


@app.route(route=STUDY + "/series", methods=READ)
@dicom.operation(Kind.QUERY)
async def search_series_of_study(req: Request) -> Response:
    return await dicom.search.search(req, query.STUDY_SERIES)


@app.route(route=STUDY + "/instances", methods=READ)
@dicom.operation(Kind.QUERY)
async def search_instances_of_study(req: Request) -> Response:
    return await dicom.search.search(req, query.STUDY_INSTANCES)


@app.route(route=SERIES + "/instances", methods=READ)
@dicom.operation(Kind.QUERY)
async def search_instances_of_series(req: Request) -> Response:
    return await dicom.search.search(req, query.SERIES_INSTANCES)


# Delete


@app.route(route=STUDY, methods=["DELETE"])
@dicom.operation(Kind.DELETE)
async def delete_study(req: Request) -> Response:
    return await dicom.delete.delete(req)


@app.route(route=SERIES, methods=["DELETE"])
@dicom.operation(Kind.DELETE)
async def delete_series(req: Request) -> Response:
    return await dicom.delete.delete(req)


@app.route(route=INSTANCE, methods=["DELETE"])
@dicom.operation(Kind.DELETE)
async def delete_instance(req: Request) -> Response:
    return await dicom.delete.delete(req)


# Descriptions of the service: capabilities (PS3.18 §8.9) and OpenAPI


@app.route(route=r"{version:regex(^v\d)}", methods=READ)
@dicom.operation(Kind.CAPABILITIES)
async def retrieve_capabilities(req: Request) -> Response:
    # The constraint leaves other one-segment paths to whoever serves pages beside the service.
    return await dicom.description.capabilities(req)


@app.route(route="{version}/api.yaml", methods=READ)
@dicom.operation(Kind.DESCRIPTION)
async def describe_as_yaml(req: Request) -> Response:
    return await dicom.description.openapi_yaml(req)


@app.route(route="{version}/api.json", methods=READ)
@dicom.operation(Kind.DESCRIPTION)
async def describe_as_json(req: Request) -> Response:
    return await dicom.description.openapi_json(req)


# Operations


@app.route(route="health/check", methods=READ)
@dicom.operation(Kind.DESCRIPTION)
async def check_health(req: Request) -> Response:
    return await dicom.health.check(req)


@app.timer_trigger(schedule="%SWEEP_SCHEDULE%", arg_name="timer")
@dicom.job
async def sweep(timer: func.TimerRequest) -> Swept:
    return await dicom.sweep.sweep()


@app.timer_trigger(schedule="%ORPHAN_SCHEDULE%", arg_name="timer")
@dicom.job
async def find_orphans(timer: func.TimerRequest) -> Swept:
    return await dicom.sweep.find_orphans()
