"""How many micro-batches make an update, where that number may change in the course of a training.

An optimizer counts micro-batches. All else follows from that one number, so that there is nothing
more to save, to restore or to exchange. A phase is a time in which the steps stay the same::

    updates = first_update + (micro_batches - first_micro_batch) // steps
    is_last = (micro_batches - first_micro_batch + 1) % steps == 0

Counts are integers, or integer tensors of any backend. Nothing here knows of optimizers.
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
    """From which update and which micro-batch on so many micro-batches make an update."""

    first_update: int
    first_micro_batch: int
    steps: int

    def updates(self, micro_batches: Tensor) -> Tensor:
        """How many updates are done after so many micro-batches, in this phase."""
        done = self._since_its_beginning(micro_batches) // self.steps
        return done + self.first_update if self.first_update else done

    def is_last(self, micro_batches: Tensor) -> Tensor:
        """Whether the micro-batch after so many is the last of an update, in this phase."""
        return (self._since_its_beginning(micro_batches) + 1) % self.steps == 0

    def micro_batches(self, updates: int) -> int:
        """How many micro-batches so many updates take, in this phase."""
        return self.first_micro_batch + (updates - self.first_update) * self.steps

    def _since_its_beginning(self, micro_batches: Tensor) -> Tensor:
        # Without a 0 in the graph, where one number of steps is all there is.
        return micro_batches - self.first_micro_batch if self.first_micro_batch else micro_batches


class Accumulation(Mapping[int, int]):
    """The steps of each phase by its first update, as a dictionary that nobody can change."""

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
        """How many updates are done after so many micro-batches."""
        first, *later = self._phases
        found = first.updates(micro_batches)
        for phase in later:
            has_begun = micro_batches >= phase.first_micro_batch
            found = _chosen(has_begun, phase.updates(micro_batches), found)
        return found

    def due(self, micro_batches: Tensor) -> dict[int, Tensor]:
        """For each number of steps, whether the micro-batch after so many ends such an update.

        A program has a branch for each of them, which divides by a constant: a tensor in its place
        would make other bits of an update than the integer does.
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
        """How many micro-batches so many updates take."""
        return self._phase_of(updates).micro_batches(updates)

    def steps_of(self, update: int) -> int:
        """How many micro-batches the update after so many others takes."""
        return self._phase_of(update).steps

    def _phase_of(self, update: int) -> Phase:
        return [phase for phase in self._phases if phase.first_update <= update][-1]


def of(steps: int | Mapping[int, int] | None) -> Accumulation:
    """The accumulation of a number of steps, or of a dictionary; without any, of 1 step."""
    if isinstance(steps, Accumulation):
        return steps
    return Accumulation(steps if isinstance(steps, Mapping) else {0: steps or 1})


def plain(steps: int | Mapping[int, int] | None) -> int | dict[int, int] | None:
    """As a configuration has it."""
    return dict(steps) if isinstance(steps, Mapping) else steps


def _chosen(condition: Tensor, one: Tensor, other: Tensor) -> Tensor:
    if isinstance(condition, bool):
        return one if condition else other
    return ops.where(condition, one, other)


def steps(*, minimum: int, none: bool = False) -> Check:
    """An integer from `minimum`, or a dictionary, of which an `Accumulation` is made."""
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
    """JSON has strings in the place of a dictionary's numbers."""
    if isinstance(update, str) and re.fullmatch("[0-9]{1,10}", update):
        return int(update)
    return update
