"""Who asks, and what they may do."""

from dataclasses import dataclass
from enum import Enum


class Action(Enum):
    """What an operation does to the archive: a data action of the original service."""

    READ = "read"
    WRITE = "write"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request: opaque ids for the audit log, never a name or an address, and what they may do."""

    subject: str
    application: str
    actions: frozenset[Action]

    def may(self, action: Action) -> bool:
        """Whether the caller has the right to do this."""
        return action in self.actions
