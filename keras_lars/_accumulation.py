"""The number of micro-batches in an update, which may change in the course of training.

An optimizer counts micro-batches. Everything else follows from that count, so nothing more has to
be saved, restored or exchanged. During a phase, the number of steps for each update is constant::

    updates = first_update + (micro_batches - first_micro_batch) // steps
    is_last = (micro_batches - first_micro_batch + 1) % steps == 0

Counts are integers, or integer tensors of any backend. Nothing here knows about optimizers.
"""

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from keras import ops

from keras_lars import _arguments
from keras_lars._arguments import LARGEST_STEP, Check
from keras_lars._types import Tensor

_DICTIONARY = "a dictionary of steps by the update at which they begin, such as {0: 1, 500: 4}"


class Phase(NamedTuple):
    """A phase: its first update and micro-batch, and the micro-batches (steps) for each update."""

    first_update: int
    first_micro_batch: int
    steps: int

    def updates(self, micro_batches: Tensor) -> Tensor:
        """The number of updates after this many micro-batches, which end in this phase."""
        done = self._since_its_beginning(micro_batches) // self.steps
        return done + self.first_update if self.first_update else done

    def is_last(self, micro_batches: Tensor) -> Tensor:
        """Whether the next micro-batch after this many, in this phase, is the last of an update."""
        return (self._since_its_beginning(micro_batches) + 1) % self.steps == 0

    def micro_batches(self, updates: int) -> int:
        """The number of micro-batches after this many updates, which end in this phase."""
        return self.first_micro_batch + (updates - self.first_update) * self.steps

    def _since_its_beginning(self, micro_batches: Tensor) -> Tensor:
        # With a single phase, the graph does not subtract a 0.
        return micro_batches - self.first_micro_batch if self.first_micro_batch else micro_batches


class Accumulation(Mapping[int, int]):
    """An immutable dictionary with the steps of each phase, by its first update."""

    def __init__(self, steps: Mapping[int, int]):
        phases = [Phase(0, 0, steps[0])]
        for update in sorted(steps)[1:]:
            phases.append(Phase(update, phases[-1].micro_batches(update), steps[update]))
        self._phases = tuple(phases)

    def __getitem__(self, update: int) -> int:
        return {phase.first_update: phase.steps for phase in self._phases}[update]

    def __iter__(self) -> Iterator[int]:
        return (phase.first_update for phase in self._phases)

    def __len__(self) -> int:
        return len(self._phases)

    def __repr__(self) -> str:
        return repr(dict(self))

    @property
    def most(self) -> int:
        """The steps of the largest update."""
        return max(self.values())

    @property
    def last(self) -> int:
        """The steps of the last phase."""
        return self._phases[-1].steps

    def updates(self, micro_batches: Tensor) -> Tensor:
        """The number of updates after this many micro-batches."""
        first, *later = self._phases
        found = first.updates(micro_batches)
        for phase in later:
            has_begun = micro_batches >= phase.first_micro_batch
            found = _chosen(has_begun, phase.updates(micro_batches), found)
        return found

    def due(self, micro_batches: Tensor) -> dict[int, Tensor]:
        """For each number of steps, whether the micro-batch after this many ends such an update.

        A program has a branch for each number, which divides by a constant. Division by a tensor
        would round differently.
        """
        found: dict[int, Tensor] = {}
        ends = [phase.first_micro_batch for phase in self._phases[1:]]
        for phase, end in itertools.zip_longest(self._phases, ends):
            is_due = phase.is_last(micro_batches)
            if phase.first_micro_batch:
                is_due = is_due & (micro_batches >= phase.first_micro_batch)
            if end is not None:
                is_due = is_due & (micro_batches < end)
            is_due_before = found.get(phase.steps)
            found[phase.steps] = is_due if is_due_before is None else is_due | is_due_before
        return found

    def micro_batches(self, updates: int) -> int:
        """The number of micro-batches after this many updates."""
        return self._phase_of(updates).micro_batches(updates)

    def steps_of(self, update: int) -> int:
        """The number of micro-batches in the update that follows this many updates."""
        return self._phase_of(update).steps

    def _phase_of(self, update: int) -> Phase:
        return [phase for phase in self._phases if phase.first_update <= update][-1]


def of(steps: int | Mapping[int, int] | None) -> Accumulation:
    """The `Accumulation` for a number of steps or a dictionary; for None, 1 step."""
    if isinstance(steps, Accumulation):
        return steps
    return Accumulation(steps if isinstance(steps, Mapping) else {0: steps or 1})


def plain(steps: int | Mapping[int, int] | None) -> int | dict[int, int] | None:
    """The steps in the form that a configuration holds."""
    return dict(steps) if isinstance(steps, Mapping) else steps


def _chosen(condition: Tensor, one: Tensor, other: Tensor) -> Tensor:
    if isinstance(condition, bool):
        return one if condition else other
    return ops.where(condition, one, other)


def steps(*, minimum: int, none: bool = False) -> Check:
    """A check for an integer >= `minimum`, or for a dictionary, which becomes an `Accumulation`."""
    of_integer = _arguments.integer(
        minimum=minimum, maximum=LARGEST_STEP, none=none, otherwise=_DICTIONARY
    )

    def check(name: str, value: object) -> int | Accumulation | None:
        if isinstance(value, Accumulation):
            return value
        return _checked(name, value) if isinstance(value, Mapping) else of_integer(name, value)

    return check


def _checked(name: str, value: Mapping[object, object]) -> Accumulation:
    key, number = (_arguments.integer(minimum=least, maximum=LARGEST_STEP) for least in (0, 1))
    try:
        table = {key("", _unquoted(update)): number("", each) for update, each in value.items()}
    except ValueError:
        table = {}
    if 0 not in table or len(table) < len(value):
        rule = f"{_DICTIONARY}, with 0 and other integers >= 0 as keys and integers >= 1 as values"
        raise _arguments.refusal(name, rule, value)
    found = Accumulation(table)
    if found._phases[-1].first_micro_batch > LARGEST_STEP:
        rule = f"{_DICTIONARY}, all within 2**31 micro-batches, the limit of the counters"
        raise _arguments.refusal(name, rule, value)
    return found


def _unquoted(update: object) -> object:
    """The key as an integer if it is one: JSON turns the numbers of keys into strings."""
    if isinstance(update, str) and re.fullmatch("[0-9]{1,10}", update):
        return int(update)
    return update
