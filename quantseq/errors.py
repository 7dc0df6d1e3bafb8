"""Every error that quantseq raises on purpose, drawn before it is defined.

::

    QuantseqError                      exit code 1
    ├── ConfigError (ValueError)       2   a parameter or configuration is outside its rule
    ├── DataError                      3   something is wrong with the prices at hand
    │   ├── BarsError                      bars break a rule: NaN, order, duplicates, negative prices
    │   ├── SymbolNotFoundError        31  nobody knows this symbol
    │   ├── NoDataError                32  the symbol is known, the range holds no bars
    │   ├── IntervalError                  bars of another interval than this work takes
    │   ├── NotEnoughDataError             too little history for the task
    │   ├── CorruptFileError               a data file cannot be read back
    │   └── StorageError                   the disk or folder refuses
    ├── SourceError                    4   the provider of prices failed
    │   ├── SourceUnavailableError     41  no network, timeout, 5xx; worth another try
    │   ├── RateLimitedError           42  asked too often; worth another try later
    │   └── BadResponseError           43  an answer that makes no sense
    ├── ModelError                     5   something is wrong with a model
    │   ├── ModelFileError                 damaged, truncated, mismatched or newer files
    │   ├── TrainingError                  the loss left the numbers
    │   └── GateError                      the architecture has not mastered the copy task
    ├── LeakageError                   6   the future would reach the past
    ├── RunError                       7   a run folder is incomplete or damaged
    │   └── VerificationError          71  what is printed is not what the data give
    └── BatchError                     8   parts of a batch failed, and not all for the same reason

A class without a code of its own has its parent's. A batch whose failures are all of one class leaves
with that class's code, any other with that of `BatchError`.

A message says *what*, the *value*, the *rule* and the *remedy*, in one line. The command line prints
it after ``error:`` and leaves with the class's ``exit_code``; 1 is left for what was not foreseen.
`check_parameters` words the commonest of them, `visible` and `one_line` say how words of others are shown.
This module knows nothing else of the project.
"""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, ClassVar


class QuantseqError(Exception):
    """Base of everything quantseq raises on purpose."""

    exit_code: ClassVar[int] = 1


class ConfigError(QuantseqError, ValueError):
    """A parameter or configuration value is outside its rule."""

    exit_code = 2


class DataError(QuantseqError):
    """Something is wrong with the prices at hand."""

    exit_code = 3


class BarsError(DataError):
    """Bars break a rule: NaN, unsorted or duplicate sessions, non-positive prices."""


class SymbolNotFoundError(DataError):
    """No bars are known under this symbol."""

    exit_code = 31


class NoDataError(DataError):
    """The symbol is known, but the asked range holds no bars."""

    exit_code = 32


class IntervalError(DataError):
    """Bars have another interval than what they are given to can take."""


class NotEnoughDataError(DataError):
    """There is too little history for what was asked."""


class CorruptFileError(DataError):
    """A data file cannot be read back."""


class StorageError(DataError):
    """The disk or folder refuses: not writable, full, or locked by somebody else."""


class SourceError(QuantseqError):
    """The provider of prices failed."""

    exit_code = 4


class SourceUnavailableError(SourceError):
    """No network, a timeout or a server error: worth another try later."""

    exit_code = 41


class RateLimitedError(SourceError):
    """The provider refuses because it was asked too often."""

    exit_code = 42


class BadResponseError(SourceError):
    """The provider answered with something that makes no sense."""

    exit_code = 43


class ModelError(QuantseqError):
    """Something is wrong with a model."""

    exit_code = 5


class ModelFileError(ModelError):
    """A model folder is damaged, truncated, mismatched or written by a newer version."""


class TrainingError(ModelError):
    """Training left the numbers: the loss is not finite."""


class GateError(ModelError):
    """The architecture has not mastered the copy task."""


class LeakageError(QuantseqError):
    """The future would reach the past."""

    exit_code = 6


class RunError(QuantseqError):
    """A run folder is incomplete or damaged."""

    exit_code = 7


class VerificationError(RunError):
    """A printed figure, a file or a page is not what the data give."""

    exit_code = 71


class BatchError(QuantseqError):
    """Parts of a batch failed, and not all for the same reason."""

    exit_code = 8


_HARMLESS = frozenset(
    "\n\t\u00a0\u2009\u202f\u200c\u200d"
)  # joiners belong to Persian and to emoji
_MOST_CHARACTERS = 1_000


def visible(text: str) -> str:
    r"""The text with its control characters spelled out: what people name can neither colour, clear nor turn a line.

    Examples
    --------
    >>> print(visible("A\x1b[31mB\u202eC−1"))
    A\x1b[31mB\u202eC−1
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in _HARMLESS else ascii(c)[1:-1] for c in text)


def one_line(text: str) -> str:
    """The text visible, in one line, and without its middle where it is long: what is meant stands at its ends."""
    line = visible(" ".join(text.split()))
    if len(line) <= _MOST_CHARACTERS:
        return line
    return f"{line[: _MOST_CHARACTERS // 2]} ... {line[-_MOST_CHARACTERS // 2 :]}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The nearest known name as a question, or all of them."""
    near = get_close_matches(name, list(known), n=1)
    return f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(known)}."


def check_parameters(owner: object, rules: Mapping[str, Any], *, of: str = "") -> None:
    """Refuse the first parameter of `owner`, called `of` or by its class, that breaks its rule.

    A rule is a tuple of choices, `bool`, or a text: an interval of numbers, or of whole numbers after
    ``int``; perhaps after ``None or``; words behind it end up in the message.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> check_parameters(SimpleNamespace(cost=-1), {"cost": "[0, 100] basis points"}, of="Costs")
    Traceback (most recent call last):
    quantseq.errors.ConfigError: The 'cost' parameter of Costs must be a number in [0, 100] basis points. Got -1.

    Raises
    ------
    ConfigError
        With the value, the rule, and the nearest choice.
    """
    for name, rule in rules.items():
        value, hint = getattr(owner, name), ""
        if isinstance(rule, tuple):
            good, words = value in rule, f"one of {', '.join(map(repr, rule))}"
            near = get_close_matches(str(value), [str(one) for one in rule], n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
        elif rule is bool:
            good, words = isinstance(value, bool), "true or false"
        else:
            parts = re.match(r"(None or )?(int )?([\[(])(\S+), (\S+)([\])])", rule)
            assert parts is not None
            none, whole, opening, low, high, closing = parts.groups(default="")
            good = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
            good = good and (value > float(low) or (opening == "[" and value == float(low)))
            good = good and (value < float(high) or (closing == "]" and value == float(high)))
            good = good or bool(none and value is None)
            kind = "an int" if whole else "a number"
            words = f"{none}{kind} in {rule.removeprefix(none).removeprefix(whole)}"
        if not good:
            raise ConfigError(
                f"The {name!r} parameter of {of or type(owner).__name__} must be {words}. Got {value!r}.{hint}"
            )
