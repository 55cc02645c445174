"""What a search asks of the index."""

from dataclasses import dataclass

from shared.dicom.attributes import (
    CLASSES_IN_SERIES,
    SOP_CLASS_UID,
)
from shared.dicom.matching import Predicate
from shared.model import Level, Position, Scope


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """What is searched for: entities of `level`, below `scope` if there is one, that satisfy all `predicates`.

    Those of `after`, a position of the same level, and before it are passed over, and then `offset` more.
    """

    level: Level
    scope: Scope | None
    predicates: tuple[Predicate, ...]
    offset: int
    limit: int
    after: Position | None = None

    def at(self, level: Level) -> list[Predicate]:
        """The conditions on attributes of a level, and those that follow from the level below."""
        return [each for each in (*self.predicates, *self._implied()) if each.attribute.level is level]

    def _implied(self) -> list[Predicate]:
        """An instance of a class can only be in a series that has instances of it."""
        return [
            Predicate(CLASSES_IN_SERIES, each.test) for each in self.predicates if each.attribute.tag == SOP_CLASS_UID
        ]

    @property
    def end(self) -> int:
        """How many matches the page reaches to."""
        return self.offset + self.limit
