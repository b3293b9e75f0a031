"""What stands where: results gathered into chapters, plates numbered through the page, and the name of every link."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable
from urllib.parse import quote

from weightatlas.plate import Chart, Columns, Finding, Slides, Subject, Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from weightatlas.plate import Plate

Figure = Table | Chart | Slides | Columns
PLATES: tuple[type, ...] = (Finding, Table, Chart, Slides, Columns, Subject)


@runtime_checkable
class HasPlates(Protocol):
    """What can be drawn: anything with a source and plates."""

    @property
    def source(self) -> str:
        """The name of the chapter."""

    def plates(self) -> Sequence[Plate]:
        """What stands in it."""


@dataclass(frozen=True, slots=True)
class NumberedPlate:
    """A figure with its number and the name its links use."""

    number: int
    anchor: str
    figure: Figure


@dataclass(slots=True)
class Chapter:
    """All plates of one source.

    Attributes:
        source: as the user gave it.
        number: from 1.
        subject: what it is about.
        findings: the most important first.
        plates: in the order given.
    """

    source: str
    number: int
    subject: Subject
    findings: list[Finding] = field(default_factory=list)
    plates: list[NumberedPlate] = field(default_factory=list)

    @property
    def prefix(self) -> str:
        """What the chapter's links begin with; the first chapter's begin with nothing."""
        return "" if self.number == 1 else f"chapter-{self.number}/"

    @property
    def anchor(self) -> str:
        """Where the chapter begins."""
        return f"chapter-{self.number}"

    def plate_of(self, finding: Finding) -> NumberedPlate | None:
        """The plate that shows a finding, if it names one that is here."""
        return next((plate for plate in self.plates if plate.figure.heading.key == finding.plate), None)

    def layer_anchor(self, layer: str) -> str:
        """The link to a layer."""
        return f"{self.prefix}layer/{encoded(layer)}"


def encoded(name: str) -> str:
    """A name as part of a link; the page's scripts undo it with decodeURIComponent.

    Example:
        >>> encoded("fire9/expand3x3"), encoded('"><img src=x>')
        ('fire9%2Fexpand3x3', '%22%3E%3Cimg%20src%3Dx%3E')
    """
    return quote(name, safe="")


def gather(results: HasPlates | Iterable[HasPlates]) -> list[Chapter]:
    """Sort the plates of all results into chapters, one a source, in the order in which sources first appear.

    A result that shows again what its source's chapter shows already (the same network before and after, say) begins
    another chapter, numbered behind the name.

    Raises:
        ValueError: two plates of one result have the same key.
        TypeError: a result gives something that is no plate.
    """
    listed: list[HasPlates] = [results] if isinstance(results, HasPlates) else list(results)
    by_source: dict[str, list[list[Plate]]] = {}
    for result in listed:
        plates = list(result.plates())
        groups = by_source.setdefault(str(result.source), [])
        room = next((group for group in groups if not _keys(group) & _keys(plates)), None)
        if room is None:
            groups.append(plates)
        else:
            room.extend(plates)
    chapters: list[Chapter] = []
    count = 0
    named = (
        (source if number == 1 else f"{source} ({number})", plates)
        for source, groups in by_source.items()
        for number, plates in enumerate(groups, start=1)
    )
    for source, plates in named:
        chapter = _chapter(source, len(chapters) + 1, plates, count)
        count += len(chapter.plates)
        chapters.append(chapter)
    return chapters


def _keys(plates: Sequence[Plate]) -> set[str]:
    return {plate.heading.key for plate in plates if isinstance(plate, Figure)}


def _chapter(source: str, number: int, plates: Sequence[Plate], count: int) -> Chapter:
    chapter = Chapter(source, number, _subject(source, plates))
    keys: set[str] = set()
    for plate in plates:
        if not isinstance(plate, PLATES):
            message = f"a result of {source!r} gave a {type(plate).__name__} where a plate belongs"
            raise TypeError(message)
        if isinstance(plate, Finding):
            chapter.findings.append(plate)
        elif isinstance(plate, Figure):
            key = plate.heading.key
            if key in keys:
                message = f"two plates of {source!r} have the key {key!r}; links need one each"
                raise ValueError(message)
            keys.add(key)
            count += 1
            chapter.plates.append(NumberedPlate(count, f"{chapter.prefix}plate/{encoded(key)}", plate))
    chapter.findings.sort(key=lambda finding: -finding.importance)
    return chapter


def _subject(source: str, plates: Sequence[Plate]) -> Subject:
    """The first subject's title with the facts of all, each once."""
    subjects = [plate for plate in plates if isinstance(plate, Subject)]
    if not subjects:
        return Subject(source)
    facts = dict.fromkeys(fact for subject in subjects for fact in subject.facts)
    return Subject(subjects[0].title, tuple(facts))
