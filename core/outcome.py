"""What became of a builder's inputs: no more than a few may be lost without a word.

A builder counts in one Counter by reason, as it always did. For each reason it gives a `Hint`:
which option changes it, and whether such inputs are dropped or only changed (clipped, cut, joined,
resampled). The rest happens here:

    HINTS = {
        "too long": Hint("--longest 20000 keeps longer ones"),
        "resampled": Hint("--rate 44100 keeps theirs", changed=True),
    }
    write_splits(..., dropped=dropped, hints=HINTS, strict=strict)
    report(out, manifests, HINTS)        # its last line is Outcome.line()

A builder that writes without `write_splits` makes an `Outcome`, calls `check` inside of
`new_folder` (so that `--strict` leaves nothing behind) and prints `line` last. `--strict` stands
without a value: `command(shards, plain_options(sys.argv[1:], flags=FLAGS))`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from core.errors import UserError
from core.manifest import Manifest

TOLERATED = 0.1
"""Share of the inputs that may be dropped without a word, and changed under --strict."""
FLAGS = {"--strict": "--strict"}
"""For `core.cli.plain_options`: the option stands without a value."""
CHANGED = "changed"
"""Key of a manifest's card: counts of inputs that were kept, but not as they were."""


@dataclass(frozen=True)
class Hint:
    """What there is to know about a reason for which inputs are counted."""

    way_out: str
    """The option that changes it, or what else can be done: "--longest 20000 keeps them"."""
    changed: bool = False
    """Such inputs are written, but clipped, cut, joined or resampled."""
    loss: bool = True
    """Such inputs could have been samples; a file of notes beside pictures could not."""


Hints = Mapping[str, Hint]
"""Reason -> hint."""
COMMON: Hints = {
    "duplicate": Hint("equal samples are written once"),
    "undecodable": Hint("open one of them to see why, then save or convert it again"),
    "other kind of file": Hint("they are not of the kinds that are read", loss=False),
    "link to a folder that is read anyway": Hint("nothing is lost", loss=False),
    "broken link": Hint("mount or copy what they lead to"),
    "damaged archive": Hint("copy or pack it again; what came before the damage is taken"),
    "damaged table": Hint("save it again"),
    "damaged row group": Hint("save its table again"),
    "named file is missing": Hint("paths are taken from the folder of the table"),
    "unread kind of file": Hint("convert them to a kind that is read; --help names them"),
}
"""Hints for the reasons that several builders have; a builder's own come first."""


@dataclass(frozen=True)
class Outcome:
    """How many inputs became samples, and what happened to the others."""

    samples: int
    """Samples written."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Inputs left out, by reason."""
    changed: Mapping[str, int] = field(default_factory=dict)
    """Inputs written but not as they were, by reason; one may be counted for several reasons."""
    hints: Hints = field(default_factory=dict)
    """What changes it."""
    inputs: int | None = None
    """Inputs in all; by default the samples and what was dropped."""

    @property
    def total(self) -> int:
        """How many inputs there were."""
        lost = sum(self._lost().values())
        return max(1, self.samples + lost if self.inputs is None else self.inputs)

    def line(self, name: Path | str) -> str:
        """Return the last line of a builder: what was written, and what was lost in writing it."""
        written = f"{name}: {self.samples} samples of {self.total} inputs"
        return "; ".join([written, *self._told()])

    def check(self, name: Path | str) -> None:
        """Raise if more than a tenth was dropped or changed: what `--strict` asks for."""
        if self._much_dropped() or any(self._much(count) for count in self.changed.values()):
            raise UserError(
                f"{name} is not written, as --strict allows a tenth of {self.total} inputs to be "
                f"lost or changed: {'; '.join(self._told())}; change that, or leave out --strict"
            )

    def _told(self) -> list[str]:
        told = []
        if self._much_dropped():
            lost = self._lost()
            told.append(f"dropped {sum(lost.values())}: {self._by_reason(lost)}")
        if self.changed:
            told.append(f"changed: {self._by_reason(self.changed)}")
        return told

    def _lost(self) -> dict[str, int]:
        return {reason: n for reason, n in self.dropped.items() if n and self._hint(reason).loss}

    def _much_dropped(self) -> bool:
        return self._much(sum(self._lost().values()))

    def _much(self, count: int) -> bool:
        return count > TOLERATED * self.total

    def _by_reason(self, counts: Mapping[str, int]) -> str:
        often = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        return ", ".join(self._one(reason, count) for reason, count in often if count)

    def _one(self, reason: str, count: int) -> str:
        way_out = self._hint(reason).way_out
        return f"{count} {reason} ({way_out})" if way_out else f"{count} {reason}"

    def _hint(self, reason: str) -> Hint:
        return self.hints.get(reason) or COMMON.get(reason) or Hint("")


def parted(counts: Mapping[str, int], hints: Hints) -> tuple[dict[str, int], dict[str, int]]:
    """Part a builder's counts: those of inputs that were dropped, and of those only changed."""
    changed = {reason for reason, hint in hints.items() if hint.changed}
    return (
        {reason: count for reason, count in counts.items() if reason not in changed},
        {reason: count for reason, count in counts.items() if reason in changed and count},
    )


def outcome_of(manifests: Mapping[str, Manifest], hints: Hints) -> Outcome:
    """Return what the manifests of one data set's splits say, which all tell of the whole."""
    samples = sum(manifest.samples for manifest in manifests.values())
    one = next(iter(manifests.values()))
    return Outcome(samples, one.dropped, one.card.get(CHANGED, {}), hints)
