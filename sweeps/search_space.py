"""Turn the words of a search into the distributions that Optuna draws from."""

from __future__ import annotations

from typing import Any, NamedTuple

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from utils.errors import UserError

Distribution = CategoricalDistribution | FloatDistribution | IntDistribution


class Space(NamedTuple):
    """What a search may choose.

    Attributes:
        fixed: words that are the same in all jobs.
        keys: parameter -> its key with the `+` that was typed.
        distributions: parameter -> its distribution. The choices of a categorical one are the values as words.
    """

    fixed: list[str]
    keys: dict[str, str]
    distributions: dict[str, Distribution]

    def words(self, params: dict[str, Any]) -> list[str]:
        """Return the words of a job with these values."""
        return [*self.fixed, *(f"{self.keys[name]}={value}" for name, value in params.items())]


def space_of(words: list[str], config_loader: Any = None) -> Space:
    """Return the space that the words of a sweep span.

    `a,b` and `choice(a,b)` are categories, also of groups and with glob(*), which Hydra's `config_loader` resolves;
    `range` and `interval` are numbers. An interval is of integers with int(...) or the tag int.

    Raises:
        UserError: a range is empty, or cannot be logarithmic.
    """
    space = Space([], {}, {})
    for override in OverridesParser.create(config_loader).parse_overrides(words):
        if not override.is_sweep_override():
            space.fixed.append(str(override.input_line))
            continue
        name = override.get_key_element().lstrip("+")
        try:
            space.distributions[name] = _distribution(override)
        except (ValueError, TypeError, IndexError) as error:
            raise UserError(f"{override.input_line}: cannot be searched ({error})") from error
        space.keys[name] = override.get_key_element()
    return space


def _distribution(override: Override) -> Distribution:
    value: Any = override._value
    if isinstance(value, IntervalSweep):
        low, high, log = value.start, value.end, "log" in value.tags
        assert low is not None and high is not None
        if isinstance(low, int) or "int" in value.tags:
            return IntDistribution(int(low), int(high), log=log)
        return FloatDistribution(float(low), float(high), log=log)
    value.shuffle = False  # Optuna draws at random, and needs the same order each time
    values = list(dict.fromkeys(override.sweep_string_iterator()))
    if not values:
        raise ValueError("it is empty")
    if not isinstance(value, RangeSweep):
        return CategoricalDistribution(values)
    if "log" in value.tags:
        raise ValueError("the tag log is for interval(...)")
    numbers = sorted(float(text) for text in values)
    step = abs(value.step)
    if all(isinstance(number, int) for number in (value.start, value.stop, value.step)):
        return IntDistribution(int(numbers[0]), int(numbers[-1]), step=int(step))
    return FloatDistribution(numbers[0], numbers[-1], step=float(step))
