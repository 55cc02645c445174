"""Whose tokens count: the settings of a Microsoft Entra tenant, or of another OpenID provider.

Facts. Entra writes access tokens of two versions, as the registration of the API says, and both are signed with the
same keys. Version 1 comes from the security token service of the cloud, version 2 from the authority; both name the
tenant in `iss` and in `tid`. The US Government's cloud shares the first with the public one, that in China does not.

Other providers have one issuer, and say in their OpenID configuration where their keys are (OpenID Connect Discovery
1.0 §4). A provider that is Entra after all must be named as a tenant: the rules for its tokens are stricter.
"""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from shared.auth.documents import may_be_asked
from shared.config import Settings
from shared.errors import SettingError

_GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

#: Where tokens of version 1 say they come from, by the host of the authority; elsewhere it is that of the public cloud.
_TOKEN_SERVICES = {
    "login.partner.microsoftonline.cn": "https://sts.chinacloudapi.cn",
    "login.chinacloudapi.cn": "https://sts.chinacloudapi.cn",
}
_PUBLIC_CLOUD = "https://sts.windows.net"

#: Hosts of Entra in all clouds.
_ENTRA = {
    "login.microsoftonline.com",
    "login.microsoftonline.us",
    "login.windows.net",
    "sts.windows.net",
    "sts.chinacloudapi.cn",
    *_TOKEN_SERVICES,
}


@dataclass(frozen=True, slots=True)
class Trust:
    """Which tokens count."""

    #: What `iss` may be.
    issuers: tuple[str, ...]
    #: What `aud` may be; the first stands in challenges.
    audiences: tuple[str, ...]
    #: What `tid` must be, and empty where there are no tenants.
    tenant: str
    #: Where a client gets a token, for challenges.
    authority: str
    #: Where the keys are, and empty where the issuer's OpenID configuration has to be asked.
    keys_url: str


def trust_of(settings: Settings) -> Trust:
    """What the settings say. Raises SettingError naming the one that is missing or malformed, without its value."""
    audiences = _audiences(settings.auth_audience)
    keys_url = _url("AUTH_JWKS_URL", settings.auth_jwks_url) if settings.auth_jwks_url else ""
    if settings.auth_tenant_id and settings.auth_issuer:
        raise SettingError("AUTH_TENANT_ID and AUTH_ISSUER are both set: tokens come from one of them")
    if settings.auth_tenant_id:
        return _tenant(settings, audiences, keys_url)
    if settings.auth_issuer:
        return _provider(settings, audiences, keys_url)
    raise SettingError(
        "AUTH_TENANT_ID is empty: set it to the id of the tenant whose tokens count, or set AUTH_ISSUER, or set "
        "AUTHENTICATION to disabled"
    )


def _tenant(settings: Settings, audiences: tuple[str, ...], keys_url: str) -> Trust:
    tenant = settings.auth_tenant_id.lower()
    if not _GUID.fullmatch(tenant):
        raise SettingError("AUTH_TENANT_ID must be a GUID: tokens hold the id of their tenant, not its name")
    authority = _url("AUTH_AUTHORITY", settings.auth_authority).rstrip("/")
    if urlsplit(authority).path:
        raise SettingError("AUTH_AUTHORITY must be a URL without a path: the tenant is that of AUTH_TENANT_ID")
    token_service = _TOKEN_SERVICES.get(urlsplit(authority).hostname or "", _PUBLIC_CLOUD)
    return Trust(
        issuers=(f"{authority}/{tenant}/v2.0", f"{token_service}/{tenant}/"),
        audiences=audiences,
        tenant=tenant,
        authority=f"{authority}/{tenant}",
        keys_url=keys_url or f"{authority}/{tenant}/discovery/v2.0/keys",
    )


def _provider(settings: Settings, audiences: tuple[str, ...], keys_url: str) -> Trust:
    issuer = _url("AUTH_ISSUER", settings.auth_issuer)
    if urlsplit(issuer).hostname in _ENTRA:
        raise SettingError("AUTH_ISSUER is Microsoft Entra: set AUTH_TENANT_ID instead")
    return Trust(issuers=(issuer,), audiences=audiences, tenant="", authority=issuer, keys_url=keys_url)


def _url(name: str, text: str) -> str:
    if not may_be_asked(text) or _spoils_quotes(text):
        raise SettingError(f"{name} must be a URL with https; http is for an issuer on the same machine")
    if "?" in text and name != "AUTH_JWKS_URL":
        raise SettingError(f"{name} must be a URL without a query")
    return text


def _audiences(text: str) -> tuple[str, ...]:
    audiences = tuple(dict.fromkeys(filter(None, (each.strip() for each in text.split(",")))))
    if not audiences:
        raise SettingError("AUTH_AUDIENCE is empty: set it to what the aud of a token for this service is")
    if any(_spoils_quotes(each) for each in audiences):
        raise SettingError("AUTH_AUDIENCE must consist of visible ASCII characters, without quotes and backslashes")
    return audiences


def _spoils_quotes(text: str) -> bool:
    """Whether a text cannot stand between the quotes of a challenge as it is (RFC 9110 §5.6.4)."""
    return not text.isascii() or not text.isprintable() or any(each in text for each in ' "\\')
