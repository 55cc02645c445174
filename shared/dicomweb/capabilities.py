"""The Capabilities Description: a WADL document of one version of the service (PS3.18 §8.9, Annex H).

Decides how a row of operations.py is written in WADL, and which form of the document answers an Accept header. One
tree of elements is built and written in two ways: as XML, and as JSON, for which neither WADL nor PS3.18 says how:
attributes become members, and the elements of one name an array.

    application/vnd.sun.wadl+xml   what a wildcard means
    application/json
    application/xml                the same bytes as the first, for browsers, which show it

The document holds everything below the base URL but the transaction that retrieves it, as Annex H wants.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from shared.dicomweb.media_types import MediaRange
from shared.dicomweb.negotiation import JSON, covers
from shared.dicomweb.operation import PATH_PARAMETERS, WADL, XML, Operation, Parameter, Place, Shape, acceptable_of
from shared.dicomweb.operations import OPERATIONS
from shared.errors import NotAcceptable, ServiceError

_NAMESPACES = {"xmlns": "http://wadl.dev.java.net/2009/02", "xmlns:xs": "http://www.w3.org/2001/XMLSchema"}
_TYPES = {Shape.FLAG: "xs:boolean", Shape.NUMBER: "xs:int"}
_ROOT = "{version}"

#: Forms of the document, the one that a wildcard means first.
FORMS = (WADL, JSON, XML)


def negotiate(accept: Sequence[MediaRange]) -> str:
    """The form that is liked best, of equal ones the one named first. Raises NotAcceptable when none is acceptable."""
    for each in sorted(accept, key=lambda media_range: -media_range.q):
        if each.q > 0 and not each.multipart:
            for form in FORMS:
                if covers(each.media, form):
                    return form
    raise NotAcceptable(f"nothing in Accept is offered; on offer: {', '.join(FORMS)}")


def capabilities(base: str, statuses: Mapping[type[ServiceError], int], form: str) -> bytes:
    """The document in one of `FORMS`: `base` is the URL of the service with its version, without a final slash."""
    application = _application(base, statuses)
    if form == JSON:
        return json.dumps({"application": _members(application)}).encode()
    application.attrib |= _NAMESPACES
    ElementTree.indent(application)
    document: bytes = ElementTree.tostring(application, encoding="utf-8", xml_declaration=True)
    return document


def _application(base: str, statuses: Mapping[type[ServiceError], int]) -> Element:
    application = Element("application")
    SubElement(application, "doc", title="DICOMweb (PS3.18)")
    resources = {_ROOT: SubElement(application, "resources", base=base)}
    for operation in OPERATIONS:
        if operation.path.startswith(f"{_ROOT}/"):
            resource = _resource(resources, operation.path)
            for method in operation.methods:
                _method(resource, operation, method, statuses)
    return application


def _resource(resources: dict[str, Element], path: str) -> Element:
    """The element of a path, made with all those above it when it is first named."""
    found = resources.get(path)
    if found is None:
        above, _, segment = path.rpartition("/")
        found = resources[path] = SubElement(_resource(resources, above), "resource", path=segment)
        if segment.startswith("{"):
            _param(found, PATH_PARAMETERS[segment[1:-1]], "template")
    return found


def _method(resource: Element, operation: Operation, name: str, statuses: Mapping[type[ServiceError], int]) -> None:
    method = SubElement(resource, "method", name=name, id=operation.identifier(name))
    SubElement(method, "doc", title=operation.summary)
    request = SubElement(method, "request")
    if operation.negotiates:
        acceptable = acceptable_of(operation)
        accept = SubElement(request, "param", name="Accept", style="header", type="xs:string", default=acceptable[0])
        for media in acceptable:
            SubElement(accept, "option", value=media)
    for parameter in operation.parameters:
        _param(request, parameter, parameter.place.value)
    for body in operation.body:
        SubElement(request, "representation", mediaType=body.media)
    for answer in operation.answers:
        response = SubElement(method, "response", status=str(answer.status))
        for each in answer.representations if name != "HEAD" else ():
            SubElement(response, "representation", mediaType=each.media)
    failed = SubElement(method, "response", status=" ".join(str(statuses[error]) for error in operation.failures))
    if name != "HEAD":
        SubElement(failed, "representation", mediaType="text/plain")


def _param(parent: Element, parameter: Parameter, style: str) -> None:
    attributes = {"name": parameter.name, "style": style, "type": _TYPES.get(parameter.shape, "xs:string")}
    if parameter.place is Place.PATH:
        attributes["required"] = "true"
    if parameter.repeated:
        attributes["repeating"] = "true"
    if parameter.default is not None:
        attributes["default"] = str(parameter.default)
    SubElement(SubElement(parent, "param", attributes), "doc", title=parameter.description)


def _members(element: Element) -> dict[str, Any]:
    members: dict[str, Any] = dict(element.attrib)
    for child in element:
        members.setdefault(child.tag, []).append(_members(child))
    return members
