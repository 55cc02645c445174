"""What the templates must be and must not do, whatever the language allows; each rule is a function to problems."""

import re

from tree_sitter import Node

from tests.infra.bicep import Declaration, Template, at, every, items, literal, members, text_of
from tests.infra.rules import Templates, problem, resources_of

#: The built-in roles that may be assigned, and to what. Owner of blobs is for the host's own account.
ROLES = {
    "b7e6dc6d-f1e8-4753-8033-0f276bb0955b": "Storage Blob Data Owner",
    "ba92f5b4-2d11-453d-a403-e96b0029c9fe": "Storage Blob Data Contributor",
    "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3": "Storage Table Data Contributor",
    "3913510d-42f4-4e42-8a64-420c390055eb": "Monitoring Metrics Publisher",
}

#: Settings that a Flex Consumption app must not have: the plan replaces or refuses them.
FORBIDDEN_SETTINGS = frozenset(
    """
    ENABLE_ORYX_BUILD FUNCTIONS_EXTENSION_VERSION FUNCTIONS_MAX_HTTP_CONCURRENCY
    FUNCTIONS_WORKER_DYNAMIC_CONCURRENCY_ENABLED FUNCTIONS_WORKER_PROCESS_COUNT FUNCTIONS_WORKER_RUNTIME
    FUNCTIONS_WORKER_RUNTIME_VERSION SCM_DO_BUILD_DURING_DEPLOYMENT TZ WEBSITE_CONTENTAZUREFILECONNECTIONSTRING
    WEBSITE_CONTENTOVERVNET WEBSITE_CONTENTSHARE WEBSITE_DNS_SERVER WEBSITE_LOAD_CERTIFICATES
    WEBSITE_MAX_DYNAMIC_APPLICATION_SCALE_OUT WEBSITE_MOUNT_ENABLED WEBSITE_NODE_DEFAULT_VERSION
    WEBSITE_RUN_FROM_PACKAGE WEBSITE_SKIP_CONTENTSHARE_VALIDATION WEBSITE_TIME_ZONE
    WEBSITE_USE_PLACEHOLDER_DOTNETISOLATED WEBSITE_VNET_ROUTE_ALL
    """.split()
)

#: What each account of storage must say, at which path.
_STORAGE = {
    "kind": "'StorageV2'",
    "properties.allowBlobPublicAccess": "false",
    "properties.allowCrossTenantReplication": "false",
    "properties.allowSharedKeyAccess": "false",
    "properties.defaultToOAuthAuthentication": "true",
    "properties.isLocalUserEnabled": "false",
    "properties.minimumTlsVersion": "'TLS1_2'",
    "properties.supportsHttpsTrafficOnly": "true",
    "properties.networkAcls.bypass": "'None'",
}
_CONTAINER = {"properties.publicAccess": "'None'"}
_INSIGHTS = {"properties.DisableLocalAuth": "true", "properties.WorkspaceResourceId": "workspace.id"}
_WORKSPACE = {"properties.features.disableLocalAuth": "true"}
_PLAN = {"sku.name": "'FC1'", "sku.tier": "'FlexConsumption'", "properties.reserved": "true"}
_APP = {
    "kind": "'functionapp,linux'",
    "identity.type": "'UserAssigned'",
    "properties.httpsOnly": "true",
    "properties.siteConfig.ftpsState": "'Disabled'",
    "properties.siteConfig.minTlsVersion": "'1.2'",
    "properties.siteConfig.scmMinTlsVersion": "'1.2'",
    "properties.functionAppConfig.runtime.name": "'python'",
    "properties.functionAppConfig.runtime.version": "'3.13'",
    "properties.functionAppConfig.deployment.storage.authentication.type": "'UserAssignedIdentity'",
    "properties.functionAppConfig.scaleAndConcurrency.triggers.http.perInstanceConcurrency": "httpConcurrency",
}
_REQUIRED = {
    "Microsoft.Insights/components": _INSIGHTS,
    "Microsoft.OperationalInsights/workspaces": _WORKSPACE,
    "Microsoft.Storage/storageAccounts": _STORAGE,
    "Microsoft.Storage/storageAccounts/blobServices/containers": _CONTAINER,
    "Microsoft.Web/serverfarms": _PLAN,
    "Microsoft.Web/sites": _APP,
}
#: What an app must leave out: CORS is its own, this plan has other places for Python and for instances that stay.
_ABSENT = {
    "Microsoft.Web/sites": (
        "properties.siteConfig.cors",
        "properties.siteConfig.linuxFxVersion",
        "properties.siteConfig.alwaysOn",
        "properties.siteConfig.appSettings",
    )
}

_SECRETS = re.compile(
    r"\blist\w*\s*\(|\bgetSecret\s*\(|@secure\b|AccountKey=|SharedAccess|AzureWebJobsStorage\s*:|AzureWebJobsStorage'|"
    r"InstrumentationKey|\bpassword\b",
    re.IGNORECASE,
)
_GUID = re.compile(r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b")


def no_secrets(templates: Templates) -> list[str]:
    """No key, secret or password is asked for, listed or written down."""
    return [
        problem(template, number, f"{found[0]} is or gets a secret")
        for template in templates.values()
        for number, line in enumerate(text_of(template.root).splitlines(), 1)
        if not line.lstrip().startswith("//")
        for found in [_SECRETS.search(line)]
        if found
    ]


def hardening(templates: Templates) -> list[str]:
    """Accounts, app, plan and logs are set up as the tables above say."""
    found = []
    for kind, required in _REQUIRED.items():
        for template, each in resources_of(templates, kind):
            for path, value in required.items():
                if text_of(at(each.value, path)) != value:
                    found.append(problem(template, each, f"{path} of {each.name} is not {value}"))
            for path in _ABSENT.get(kind, ()):
                if at(each.value, path) is not None:
                    found.append(problem(template, each, f"{each.name} has {path}"))
    return found


def roles(templates: Templates) -> list[str]:
    """Only listed roles are assigned, each at a resource of the same file, named by where, whom and what."""
    found = [
        problem(template, node, f"{guid} is no role of the list")
        for template in templates.values()
        for node in every(template.root)
        if node.type == "string_content"
        for guid in _GUID.findall(text_of(node))
        if guid not in ROLES
    ]
    for template, each in resources_of(templates, "Microsoft.Authorization/roleAssignments"):
        scope = text_of(at(each.value, "scope"))
        target = template.of("resource").get(scope)
        if target is None or target.type.startswith("Microsoft.Resources/"):
            found.append(problem(template, each, f"{each.name} is not scoped to a resource"))
        name = text_of(at(each.value, "name"))
        role = text_of(at(each.value, "properties.roleDefinitionId"))
        principal = text_of(at(each.value, "properties.principalId"))
        chosen = re.fullmatch(r"subscriptionResourceId\('Microsoft\.Authorization/roleDefinitions', (\w+)\)", role)
        if chosen is None or name != f"guid({scope}.id, {principal}, {chosen[1]})":
            found.append(problem(template, each, f"{each.name} is not named guid(scope, principal, role)"))
        if chosen and not _roles_assigned(template, each, chosen[1]) <= ROLES.keys():
            found.append(problem(template, each, f"{each.name} assigns what is not a role of the list"))
        if at(each.value, "properties.principalType") is None:
            found.append(problem(template, each, f"{each.name} does not say what its principal is"))
    return found


def settings(templates: Templates) -> list[str]:
    """No app has a setting that its plan forbids."""
    return [
        problem(template, node, f"{name} is not for Flex Consumption")
        for template in templates.values()
        for node in every(template.root)
        if node.type == "object"
        for name in members(node)
        if name in FORBIDDEN_SETTINGS
    ]


def suppressions(templates: Templates) -> list[str]:
    """No warning of the compiler is silenced, and no type is hidden from it."""
    return [
        problem(template, number, "silences the compiler")
        for template in templates.values()
        for number, line in enumerate(text_of(template.root).splitlines(), 1)
        if "#disable" in line or re.search(r"\bany\s*\(", line)
    ]


def diagnostics(templates: Templates) -> list[str]:
    """Logs that hold URLs, and so study UIDs, are on only where a param says so."""
    found = []
    for template, each in resources_of(templates, "Microsoft.Insights/diagnosticSettings"):
        for log in items(at(each.value, "properties.logs")):
            switch = template.find(text_of(at(log, "enabled")))
            if switch is None or switch.kind != "param" or switch.type != "bool":
                found.append(problem(template, log, f"{text_of(at(log, 'category'))} is not opt-in"))
    return found


def app_settings(template: Template) -> dict[str, Node]:
    """The settings of the app, without those that a deployer adds: what `union` puts together from objects."""
    config = next(each for each in template.of("resource").values() if literal(at(each.value, "name")) == "appsettings")
    properties = at(config.value, "properties")
    found: dict[str, Node] = {}
    for part in every(properties) if properties is not None else ():
        declaration = template.find(text_of(part)) if part.type == "identifier" else None
        if declaration is not None and declaration.kind == "var":
            found |= members(declaration.value)
    return found


def _roles_assigned(template: Template, assignment: Declaration, name: str) -> set[str]:
    """The role ids behind the name in an assignment: of a var, or of the array that its loop goes through."""
    declared = template.of("var").get(name)
    if declared is not None:
        return {literal(declared.value) or "?"}
    loop = assignment.value.parent if assignment.value is not None else None
    while loop is not None and loop.type != "for_statement":
        loop = loop.parent
    looped = template.of("var").get(text_of(loop.named_children[1])) if loop is not None else None
    return {literal(each) or "?" for each in items(looped.value)} if looped is not None else {"?"}


POLICY = (no_secrets, hardening, roles, settings, suppressions, diagnostics)
