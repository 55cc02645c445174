"""The templates in infra/ break no rule; and each rule, given what it is there to find, finds it."""

import pytest

from tests.infra.arm_types import UNPUBLISHED, check, known_types
from tests.infra.bicep import INFRA, Template, parsed, templates_of, text_of
from tests.infra.policy import POLICY, hardening, no_secrets, roles, settings, suppressions
from tests.infra.policy import diagnostics as opt_in_logs
from tests.infra.rules import (
    LANGUAGE,
    VERSIONS,
    Templates,
    conditional_resources,
    descriptions,
    modules,
    names,
    scopes,
    syntax,
    versions,
)

TEMPLATES = templates_of()

ROLE = "subscriptionResourceId('Microsoft.Authorization/roleDefinitions', role)"
ASSIGNMENT = """
var role = 'ba92f5b4-2d11-453d-a403-e96b0029c9fe'
resource account 'Microsoft.Storage/storageAccounts@2025-01-01' existing = { name: 'x' }
resource group 'Microsoft.Resources/resourceGroups@2025-04-01' existing = { name: 'x' }
resource access 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(account.id, principal, role)
  scope: account
  properties: {
    principalId: principal
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', role)
  }
}
"""


def one(text: str, **others: str) -> Templates:
    """Templates from texts: main.bicep, and others by their names without the ending."""
    more = {f"{name}.bicep": parsed(each, f"{name}.bicep") for name, each in others.items()}
    return {"main.bicep": parsed(text)} | more


def changed(path: str, old: str, new: str) -> Templates:
    """The templates with a text in one of them replaced."""
    source = (INFRA / path).read_text("utf-8")
    assert source.count(old) >= 1, f"{path} no longer has {old!r}"
    return TEMPLATES | {path: parsed(source.replace(old, new), path)}


def test_there_are_templates() -> None:
    assert {"main.bicep", "modules/app.bicep", "modules/data-storage.bicep"} <= TEMPLATES.keys()


@pytest.mark.parametrize("rule", [*LANGUAGE, *POLICY], ids=lambda rule: rule.__name__)
def test_the_templates_break_no_rule(rule) -> None:  # type: ignore[no-untyped-def]
    assert rule(TEMPLATES) == []


def test_resources_have_the_properties_that_azure_knows() -> None:
    assert check(TEMPLATES, known_types()) == []


def test_the_types_without_definitions_are_those_that_are_named() -> None:
    known = {each.partition("@")[0] for each in known_types()}
    assert VERSIONS.keys() - known == UNPUBLISHED
    assert {each: VERSIONS[each.partition("@")[0]] for each in known_types()} == {
        each: each.partition("@")[2] for each in known_types()
    }


def test_every_listed_version_is_used() -> None:
    used = {each.type.partition("@")[0] for template in TEMPLATES.values() for each in template.of("resource").values()}
    assert used == VERSIONS.keys()


DEFECTS = [
    pytest.param(syntax, one("var a = {\n"), id="unclosed brace"),
    pytest.param(syntax, one("param a strnig =\n"), id="no value"),
    pytest.param(descriptions, one("param a string\n"), id="param without description"),
    pytest.param(descriptions, one("@description('')\nparam a string\n"), id="empty description"),
    pytest.param(descriptions, one("output a string = 'x'\n"), id="output without description"),
    pytest.param(names, one("output a string = b\n"), id="undeclared"),
    pytest.param(names, one("param a string\n"), id="unused param"),
    pytest.param(names, one("var a = 'x'\n"), id="unused var"),
    pytest.param(names, one("var a = 'x'\nvar a = 'y'\noutput b string = a\n"), id="declared twice"),
    pytest.param(names, one("param a strnig\noutput b string = a\n"), id="misspelt type"),
    pytest.param(names, one("output a string = tolower('x')\n"), id="misspelt function"),
    pytest.param(names, one("@descripton('x')\nparam a string\noutput b string = a\n"), id="misspelt decorator"),
    pytest.param(names, one("var a = [for x in ['y']: { z: x }]\noutput b string = '${a[0].z}${x}'\n"), id="loop left"),
    pytest.param(modules, one("module a 'b.bicep' = { params: {} }\n"), id="no such module"),
    pytest.param(modules, one("module a 'b.bicep' = { params: { c: 1 } }\n", b=""), id="no such param"),
    pytest.param(modules, one("module a 'b.bicep' = { params: {} }\n", b="param c int\n"), id="param is missing"),
    pytest.param(modules, one("module a 'b.bicep' = { params: { c: 'x' } }\n", b="param c int\n"), id="wrong type"),
    pytest.param(
        modules,
        one("param d bool\nmodule a 'b.bicep' = { params: { c: d } }\n", b="param c string\n"),
        id="wrong type of a param",
    ),
    pytest.param(
        modules,
        one("module a 'b.bicep' = { params: {} }\noutput d string = a.outputs.c\n", b=""),
        id="no such output",
    ),
    pytest.param(
        modules,
        one(
            "module a 'b.bicep' = if (e) { params: {} }\noutput d string = a.outputs.c\n",
            b="output c string = 'x'\n",
        ),
        id="output of a conditional module",
    ),
    pytest.param(
        conditional_resources,
        one("resource a 'b/c@1' = if (d) { name: 'x' }\noutput e string = a.properties.f\n"),
        id="property of a conditional resource",
    ),
    pytest.param(
        versions, changed("main.bicep", "resourceGroups@2025-04-01", "resourceGroups@2024-03-01"), id="version"
    ),
    pytest.param(versions, one("resource a 'Microsoft.Web/certificates@2024-11-01' = {}\n"), id="another type"),
    pytest.param(scopes, changed("main.bicep", "  scope: group\n", ""), id="module in a subscription"),
    pytest.param(
        scopes,
        one("targetScope = 'subscription'\nresource a 'Microsoft.Web/sites@2024-11-01' = { name: 'x' }\n"),
        id="app in a subscription",
    ),
    pytest.param(no_secrets, one("output a string = account.listKeys().keys[0].value\n"), id="listKeys"),
    pytest.param(no_secrets, one("output a string = listKeys('x', '2025-01-01').keys[0].value\n"), id="listKeys()"),
    pytest.param(no_secrets, one("@secure()\nparam a string\n"), id="secure param"),
    pytest.param(no_secrets, one("var a = { AzureWebJobsStorage: 'x' }\n"), id="connection string of the host"),
    pytest.param(no_secrets, one("var a = 'DefaultEndpointsProtocol=https;AccountKey=x'\n"), id="key"),
    pytest.param(roles, one(ASSIGNMENT.replace("ba92f5b4", "8e3af657")), id="another role"),
    pytest.param(roles, one(ASSIGNMENT.replace("scope: account", "")), id="role of a whole resource group"),
    pytest.param(
        roles,
        one(ASSIGNMENT.replace("account.id", "group.id").replace("scope: account", "scope: group")),
        id="role of a named resource group",
    ),
    pytest.param(roles, one(ASSIGNMENT.replace("principal, role", "role")), id="name without the principal"),
    pytest.param(roles, one(ASSIGNMENT.replace("    principalType: 'ServicePrincipal'\n", "")), id="no principal type"),
    pytest.param(settings, one("var a = { FUNCTIONS_WORKER_RUNTIME: 'python' }\n"), id="forbidden setting"),
    pytest.param(settings, one("var a = { 'WEBSITE_RUN_FROM_PACKAGE': '1' }\n"), id="forbidden setting in quotes"),
    pytest.param(suppressions, one("#disable-next-line BCP318\nvar a = 1\n"), id="warning silenced"),
    pytest.param(suppressions, one("var a = any(1)\n"), id="type hidden"),
    pytest.param(
        opt_in_logs,
        changed("modules/data-storage.bicep", "enabled: logRequests", "enabled: true"),
        id="requests logged",
    ),
]


@pytest.mark.parametrize(("rule", "templates"), DEFECTS)
def test_each_rule_finds_what_it_is_for(rule, templates: dict[str, Template]) -> None:  # type: ignore[no-untyped-def]
    assert rule(templates)


def test_a_right_role_assignment_is_not_a_problem() -> None:
    assert roles(one(ASSIGNMENT)) == []


STORAGE = "modules/data-storage.bicep"
HOST = "modules/host-storage.bicep"
APP = "modules/app.bicep"


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        (STORAGE, "allowSharedKeyAccess: false", "allowSharedKeyAccess: true"),
        (HOST, "allowSharedKeyAccess: false", "allowSharedKeyAccess: true"),
        (HOST, "    allowSharedKeyAccess: false\n", ""),
        (STORAGE, "allowBlobPublicAccess: false", "allowBlobPublicAccess: true"),
        (STORAGE, "'TLS1_2'", "'TLS1_0'"),
        (STORAGE, "supportsHttpsTrafficOnly: true", "supportsHttpsTrafficOnly: false"),
        (STORAGE, "publicAccess: 'None'", "publicAccess: 'Blob'"),
        (APP, "httpsOnly: true", "httpsOnly: false"),
        (APP, "    httpsOnly: true\n", ""),
        (APP, "minTlsVersion: '1.2'", "minTlsVersion: '1.0'"),
        (APP, "ftpsState: 'Disabled'", "ftpsState: 'AllAllowed'"),
        (APP, "            perInstanceConcurrency: httpConcurrency\n", ""),
        (APP, "version: '3.13'", "version: '3.12'"),
        (APP, "name: 'FC1'", "name: 'EP1'"),
        (APP, "    siteConfig: {\n", "    siteConfig: {\n      cors: { allowedOrigins: ['*'] }\n"),
        (APP, "type: 'UserAssignedIdentity'", "type: 'StorageAccountConnectionString'"),
        ("modules/monitoring.bicep", "DisableLocalAuth: true", "DisableLocalAuth: false"),
    ],
)
def test_what_is_not_hardened_is_found(path: str, old: str, new: str) -> None:
    assert hardening(changed(path, old, new))


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        pytest.param(APP, "instanceMemoryMB: instance", "instanceMemoryMb: instance", id="misspelt"),
        pytest.param(APP, "  location: location\n", "", id="missing"),
        pytest.param(APP, "    reserved: true\n", "    reserved: 'yes'\n", id="text for a boolean"),
        pytest.param(APP, "Count: maximumInstanceCount", "Count: planName", id="text for a number"),
        pytest.param(APP, "type: 'UserAssigned'\n", "type: 'Userassigned'\n", id="none of the choices"),
        pytest.param(APP, "serverFarmId: plan.id\n", "serverFarmId: plan.id\n    state: 'Running'\n", id="read-only"),
        pytest.param(APP, "app.properties.defaultHostName", "app.properties.defaultHostname", id="read misspelt"),
        pytest.param(STORAGE, "name: redundancy", "names: redundancy", id="misspelt and so missing"),
        pytest.param(STORAGE, "'TLS1_2'", "'TLS1.2'", id="no such TLS version"),
        pytest.param(STORAGE, "isPrivate ? 'Deny' : 'Allow'", "isPrivate ? 'Deny' : 'None'", id="in a branch"),
        pytest.param(STORAGE, "{ enabled: true, days", "{ enabled: true, day", id="in a variable"),
        pytest.param(STORAGE, "action: 'Allow'", "action: 'Permit'", id="in a loop"),
        pytest.param(STORAGE, "blobTypes: ['blockBlob']", "blobTypes: 'blockBlob'", id="text for a list"),
        pytest.param(STORAGE, "@minLength(3)\n@maxLength(24)\n", "", id="perhaps too short"),
        pytest.param(STORAGE, "@maxLength(24)\n", "@maxLength(25)\n", id="perhaps too long"),
        pytest.param(STORAGE, "kind: 'StorageV2'", "kind: name == 'x' ? 'StorageV2' : 'StorageV3'", id="open choice"),
        pytest.param("modules/network.bicep", "serviceName:", "service:", id="deep in lists"),
        pytest.param("main.bicep", "resourceGroups@2025-04-01", "resourceGroups@2030-01-01", id="unknown version"),
    ],
)
def test_what_azure_does_not_know_is_found(path: str, old: str, new: str) -> None:
    assert check(changed(path, old, new), known_types())


def test_main_reads_as_a_list_of_parts() -> None:
    """It declares the resource group and leaves all else to modules: the identity first, the app last."""
    main = TEMPLATES["main.bicep"]
    assert [each.name for each in main.of("resource").values()] == ["group"]
    order = list(main.of("module"))
    assert (order[0], order[-1]) == ("identity", "app")


def test_the_app_waits_for_its_roles_and_its_network() -> None:
    """It names outputs of every module that assigns a role, and the network, which has none."""
    app = text_of(TEMPLATES["main.bicep"].of("module")["app"].value)
    for module in ("identity", "monitoring", "dataStorage", "hostStorage"):
        assert f"{module}.outputs." in app
    assert "dependsOn: [network]" in app
