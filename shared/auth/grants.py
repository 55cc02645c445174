"""From what a token says of its bearer to what the bearer may do.

    roles   the claim of AUTH_ROLES_CLAIM: given to a user or an application. They grant.
    scope   RFC 9068 §2.2.3: what the issuer lets this client do for this user. They grant.
    scp     Entra: what an application was consented to do for whoever signs in to it. They only limit: a token that has
            it grants what both roles and scopes allow.

Names that AUTH_ROLES does not have grant nothing, so taking a role or a scope away never adds a right. Why `scp` does
not grant is in docs/adr/0016-tokens.md.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from shared.auth.actions import Action
from shared.errors import SettingError

_EVERYTHING = "*"
_WORDS = {each.value: frozenset({each}) for each in Action} | {_EVERYTHING: frozenset(Action)}


class Grants:
    """What roles and scopes allow."""

    def __init__(self, roles: str, roles_claim: str) -> None:
        """`roles` and `roles_claim` are as in the settings. Raises SettingError naming the one that is malformed."""
        self._allowed = _parsed(roles)
        if not all(roles_claim.split(".")):
            raise SettingError("AUTH_ROLES_CLAIM must name a claim, or claims with a dot between each two")
        self._claim = roles_claim

    def actions(self, claims: Mapping[str, Any]) -> frozenset[Action]:
        """What the bearer of a token with these claims may do."""
        granted = self._of(_at(claims, self._claim)) | self._of(claims.get("scope"))
        return granted & self._of(claims["scp"]) if "scp" in claims else granted

    def _of(self, value: Any) -> frozenset[Action]:
        return frozenset().union(*(self._allowed.get(name, frozenset()) for name in _names(value)))


def _names(value: Any) -> Iterable[str]:
    """Roles or scopes: a list, or a text with blanks between them."""
    if isinstance(value, str):
        return value.split()
    return (each for each in value if isinstance(each, str)) if isinstance(value, list) else ()


def _at(claims: Any, path: str) -> Any:
    """A claim, or one within another. A name may hold dots itself: providers use URLs for claims of their own."""
    while isinstance(claims, Mapping):
        if path in claims:
            return claims[path]
        head, _, path = path.partition(".")
        claims = claims.get(head)
    return None


def _parsed(text: str) -> Mapping[str, frozenset[Action]]:
    """AUTH_ROLES: entries `name=words`, separated by commas. Errors count entries: the text may reach anybody."""
    allowed: dict[str, frozenset[Action]] = {}
    for number, entry in enumerate(filter(str.strip, text.split(",")), 1):
        name, sign, words = (each.strip() for each in entry.partition("="))
        if not (name and sign and words):
            raise SettingError(
                f"AUTH_ROLES must be a list such as Dicom.Reader=read, but entry {number} is not like that"
            )
        if not set(words.split()) <= _WORDS.keys():
            raise SettingError(f"AUTH_ROLES: entry {number} must allow {', '.join(_WORDS)} and nothing else")
        if name in allowed:
            raise SettingError(f"AUTH_ROLES: entry {number} names a role that an entry before it names")
        allowed[name] = frozenset().union(*(_WORDS[word] for word in words.split()))
    if not allowed:
        raise SettingError("AUTH_ROLES is empty: nobody could do anything")
    return allowed
