"""The OpenAPI description of one version of the service, made from the table of operations.

Decides how a row of operations.py is written in OpenAPI 3.0.3, the version that most tools read. As in the original
service's descriptions the version is a part of the paths and `servers` holds what goes before it, so that
`/health/check`, which has no version, needs no exception.

Facts. OpenAPI ignores parameters named Accept and Content-Type (§4.7.12.1): media types are keys of `content`, with
their `type` parameter; transfer syntaxes stand beside them as `x-transfer-syntaxes`, an extension.

Left out: authentication.
"""

from collections.abc import Mapping
from typing import Any

from shared.dicomweb.operation import Answer, Operation, Parameter, Place, Representation, Shape, path_parameters
from shared.dicomweb.operations import ANSWER_HEADERS, FAILURES, OPERATIONS
from shared.errors import Forbidden, ServiceError, Unauthenticated

type Document = dict[str, Any]

_SCHEMAS: dict[Shape, Document] = {
    Shape.BYTES: {"type": "string", "format": "binary"},
    Shape.DATA_SET: {"$ref": "#/components/schemas/DataSet"},
    Shape.DATA_SETS: {"type": "array", "items": {"$ref": "#/components/schemas/DataSet"}},
    Shape.HEALTH: {"$ref": "#/components/schemas/Health"},
    Shape.DOCUMENT: {"type": "string"},
    Shape.TEXT: {"type": "string"},
    Shape.FLAG: {"type": "boolean", "default": False},
    Shape.NUMBER: {"type": "integer"},
}

_COMPONENT_SCHEMAS: Document = {
    "DataSet": {
        "description": "A data set in the DICOM JSON Model (PS3.18 §F): attributes by tag.",
        "type": "object",
        "additionalProperties": {"$ref": "#/components/schemas/Attribute"},
    },
    "Attribute": {
        "type": "object",
        "required": ["vr"],
        "properties": {
            "vr": {"type": "string", "minLength": 2, "maxLength": 2},
            "Value": {"type": "array", "items": {"nullable": True}},
            "BulkDataURI": {"type": "string"},
            "InlineBinary": {"type": "string", "format": "byte"},
        },
    },
    "Health": {
        "type": "object",
        "required": ["overallStatus", "details"],
        "properties": {
            "overallStatus": {"type": "string", "enum": ["Healthy", "Unhealthy"]},
            "details": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {name: {"type": "string"} for name in ("name", "status", "description")},
                },
            },
        },
    },
}

_ACCEPT = {
    "name": "accept",
    "in": "query",
    "description": "Takes the place of the Accept header (PS3.18 §8.3.3.1).",
    "schema": {"type": "string"},
}

#: What guarded operations answer besides, where the service requires tokens.
_GUARDED = (Unauthenticated, Forbidden)
_BEARER = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "JWT",
    "description": "A token of the issuer the service trusts. A service on a laptop takes requests without.",
}
#: The headers of every answer.
_EVERY_ANSWER = ("api-supported-versions", "x-ms-request-id")


def description(version: str, root: str, statuses: Mapping[type[ServiceError], int]) -> Document:
    """The description of a version, by its path segment.

    `root` is the URL the segment is appended to, without a final slash; `statuses` are those of every error.
    """
    paths: Document = {}
    for operation in OPERATIONS:
        item = paths.setdefault(f"/{operation.path.replace('{version}', version)}", {})
        if parameters := path_parameters(operation):
            item["parameters"] = [_parameter(each) for each in parameters]
        for method in operation.methods:
            item[method.lower()] = _operation(operation, method, statuses)
    return {
        "openapi": "3.0.3",
        "info": {
            "title": "DICOMweb",
            "version": version,
            "description": "Stores, retrieves, renders, searches and deletes DICOM instances (PS3.18). "
            "Errors are told in plain text.",
        },
        "servers": [{"url": root}],
        "tags": [{"name": name} for name in dict.fromkeys(each.group for each in OPERATIONS)],
        "paths": paths,
        "components": {
            "schemas": _COMPONENT_SCHEMAS,
            "headers": {
                name: {"description": text, "schema": {"type": "string"}} for name, text in ANSWER_HEADERS.items()
            },
            "responses": {error.__name__: _plain_text(text, headers) for error, (text, headers) in FAILURES.items()}
            | {"Defect": _plain_text("The service failed; trying again later may help.", ())},
            "securitySchemes": {"bearer": _BEARER},
        },
    }


def _operation(operation: Operation, method: str, statuses: Mapping[type[ServiceError], int]) -> Document:
    parameters = [_parameter(each) for each in operation.parameters]
    if operation.negotiates:
        parameters.append(_ACCEPT)
    with_body = method != "HEAD"
    responses = {str(answer.status): _answer(answer, with_body) for answer in operation.answers}
    for error in (*operation.failures, *(_GUARDED if operation.guarded else ())):
        responses[str(statuses[error])] = {"$ref": f"#/components/responses/{error.__name__}"}
    responses["500"] = {"$ref": "#/components/responses/Defect"}
    described: Document = {
        "operationId": operation.identifier(method),
        "summary": operation.summary,
        "tags": [operation.group],
        "parameters": parameters,
        "responses": dict(sorted(responses.items())),
    }
    if operation.clause:
        described["description"] = operation.clause
    if operation.guarded:
        described["security"] = [{"bearer": []}, {}]
    if operation.body:
        described["requestBody"] = {"required": True, "content": _content(operation.body)}
    return described


def _parameter(parameter: Parameter) -> Document:
    schema = dict(_SCHEMAS[parameter.shape])
    bounds = {"minimum": parameter.least, "maximum": parameter.greatest, "default": parameter.default}
    schema |= {name: value for name, value in bounds.items() if value is not None}
    described: Document = {
        "name": parameter.name,
        "in": parameter.place.value,
        "description": parameter.description,
        "schema": {"type": "array", "items": schema} if parameter.repeated else schema,
    }
    if parameter.place is Place.PATH:
        described["required"] = True
    return described


def _answer(answer: Answer, with_body: bool) -> Document:
    described: Document = {"description": answer.description, "headers": _headers(answer.headers)}
    if answer.representations and with_body:
        described["content"] = _content(answer.representations)
    return described


def _plain_text(text: str, headers: tuple[str, ...]) -> Document:
    return {
        "description": text,
        "headers": _headers(headers),
        "content": {"text/plain": {"schema": {"type": "string"}}},
    }


def _headers(names: tuple[str, ...]) -> Document:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in (*_EVERY_ANSWER, *names)}


def _content(representations: tuple[Representation, ...]) -> Document:
    content: Document = {}
    for each in representations:
        content[each.media] = {"schema": _SCHEMAS[each.shape]}
        if each.transfer_syntaxes:
            content[each.media]["x-transfer-syntaxes"] = list(each.transfer_syntaxes)
    return content
