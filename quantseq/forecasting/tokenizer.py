"""Money to integers and back: returns become bins of their probability integral transform.

Owns what every tokenizer is (`Tokenizer`, and the saved state they share), the default one, and the
bins of auxiliary inputs. Knows nothing of networks; the reference density that turns a return into
its transform is given to it as numbers in (0, 1). Other schemes stand in `quantseq.forecasting.binning`.

Encode: ``u = F(r)`` → bin ``⌊V·u⌋`` → id ``bin + FIRST_ID``. Decode: id → bin → ``u`` drawn inside
the bin → ``r = F⁻¹(u)``. Because the bins are equal shares of the reference's probability, uniform
token probabilities are the reference itself, and ``ln V − cross-entropy`` is the skill over it.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from quantseq.errors import ConfigError, ModelFileError
from quantseq.files import fingerprint, read_json, write_json
from quantseq.market.bars import Floats, Panel
from quantseq.seq2seq.tokens import FIRST_ID

STATE_VERSION = 1
DEFAULT_SCHEME = "pit"
MAX_BINS = 4096

NARROWEST = 0.02
"""Bins below this share of a standard deviation are merged: an atom, such as the exact zeros of
returns, would otherwise fill one with a density without limit."""

MOST_EQUAL = int(1 / (NARROWEST * 0.53))
"""Equal bins of a transform that are wide enough: a Student-t with 4 degrees of freedom and unit
variance has its highest density, 0.53, in the middle."""

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Origin:
    """What a tokenizer was fitted on: part of its state and of its fingerprint.

    Parameters
    ----------
    fitted_from, fitted_until : str
        Interval of the training block, ISO dates.
    symbols : tuple of str
        The symbols of that block.
    data_hash : str
        SHA-256 of that block.
    zero_share : float
        Share of exactly zero returns in the block: an atom that a continuous density cannot show.
    """

    fitted_from: str = ""
    fitted_until: str = ""
    symbols: tuple[str, ...] = ()
    data_hash: str = ""
    zero_share: float = 0.0

    @classmethod
    def of(cls, panel: Panel) -> Self:
        """The origin of whatever is fitted on all of `panel`."""
        returns = np.concatenate([bars.log_returns()[1:] for bars in panel.values()])
        first, last = panel.sessions[[0, -1]]
        share = float(np.mean(returns == 0)) if len(returns) else 0.0
        return cls(str(first), str(last), panel.symbols, panel.sha256, share)


class Tokenizer(Protocol):
    """Numbers to token ids and back, whatever number stands for a return in the scheme."""

    scheme: ClassVar[str]

    @property
    def num_bins(self) -> int:
        """V."""
        ...

    @property
    def zero_share(self) -> float:
        """Share of exactly zero returns in the training block."""
        ...

    @classmethod
    def fit(cls, values: Floats, *, num_bins: int, origin: Origin | None = None) -> Self:
        """Fit on the values of a training block; they are all that is seen."""
        ...

    @property
    def vocab_size(self) -> int:
        """Number of ids: the bins, and the reserved PAD and EOS."""
        ...

    @property
    def edges(self) -> Floats:
        """(V + 1,) edges of the bins, increasing."""
        ...

    def encode(self, values: Floats) -> Ids:
        """Ids of values; NaN becomes the middle bin, which says nothing."""
        ...

    def decode(self, ids: Ids, inside: Floats | float = 0.5) -> Floats:
        """Values at the share `inside` ∈ [0, 1) of each id's bin; drawn uniformly, variance stays."""
        ...

    def bins(self, ids: Ids) -> Ids:
        """Bin numbers 0..V − 1 of ids; PAD and EOS have none."""
        ...

    def log_inside(self, values: Floats) -> Floats:
        """Log density of values given their bin, in nats per unit of the value."""
        ...

    @property
    def fingerprint(self) -> str:
        """Hash of everything that decides what an id means."""
        ...

    def save(self, path: Path) -> None:
        """Write the state as JSON."""
        ...


@dataclass(frozen=True)
class SavedTokenizer(ABC):
    """What all tokenizers share: the number of bins, their origin, ids, and the state on disk.

    Parameters
    ----------
    num_bins : int
        V, in [2, 4096].
    fitted_from, fitted_until, symbols, data_hash, zero_share
        See `Origin`.

    Raises
    ------
    ConfigError
        If `num_bins` is outside its rule.
    """

    num_bins: int
    fitted_from: str = ""
    fitted_until: str = ""
    symbols: tuple[str, ...] = ()
    data_hash: str = ""
    zero_share: float = 0.0

    scheme: ClassVar[str]

    def __post_init__(self) -> None:
        if not isinstance(self.num_bins, int) or not 2 <= self.num_bins <= MAX_BINS:
            raise ConfigError(
                f"The 'num_bins' parameter of {type(self).__name__} must be an int in "
                f"[2, {MAX_BINS}]. Got {self.num_bins!r}."
            )

    @property
    @abstractmethod
    def edges(self) -> Floats:
        """(V + 1,) edges of the bins, increasing."""

    @property
    def vocab_size(self) -> int:
        """Number of ids: the bins, and the reserved PAD and EOS."""
        return self.num_bins + FIRST_ID

    def bins(self, ids: Ids) -> Ids:
        """Bin numbers 0..V − 1 of ids.

        Raises
        ------
        ConfigError
            If an id is PAD, EOS or beyond the vocabulary.
        """
        if ((ids < FIRST_ID) | (ids >= self.vocab_size)).any():
            raise ConfigError(
                f"Only ids {FIRST_ID} to {self.vocab_size - 1} are returns; PAD and EOS are not. "
                f"Got ids from {ids.min()} to {ids.max()}."
            )
        return ids - FIRST_ID

    @property
    def fingerprint(self) -> str:
        """Hash of everything that decides what an id means."""
        return fingerprint(self._content())

    def save(self, path: Path) -> None:
        """Write the state as JSON."""
        write_json(path, self._content() | {"fingerprint": self.fingerprint})

    def _content(self) -> dict[str, Any]:
        """The state as JSON values; a state that names no scheme has the default one."""
        named = {} if self.scheme == DEFAULT_SCHEME else {"scheme": self.scheme}
        return {"version": STATE_VERSION, **named, **asdict(self)}

    @classmethod
    def load(cls, path: Path, *, expected: str | None = None) -> Self:
        """Read the state back.

        Raises
        ------
        ModelFileError
            If the file was changed, written by a newer version, or differs from `expected`.
        CorruptFileError
            If it cannot be read.
        """
        state = read_json(path)
        if not isinstance(state, dict):
            raise ModelFileError(f"{path} is not a tokenizer. Train the model again.")
        stamp, version = state.pop("fingerprint", None), state.pop("version", None)
        if version != STATE_VERSION:
            raise ModelFileError(
                f"{path} has tokenizer version {version}; this quantseq reads {STATE_VERSION}. "
                "Train the model again."
            )
        scheme = state.pop("scheme", DEFAULT_SCHEME)
        if scheme != cls.scheme:
            raise ModelFileError(
                f"{path} holds tokens of the scheme {scheme!r}, not {cls.scheme!r}. "
                "Load it with its own tokenizer, or train the model again."
            )
        try:
            fields: dict[str, Any] = {
                name: tuple(value) if isinstance(value, list) else value
                for name, value in state.items()
            }
            tokenizer = cls(**fields)
        except (TypeError, KeyError, ConfigError) as error:
            raise ModelFileError(
                f"{path} is not a tokenizer: {error} Train the model again."
            ) from error
        if tokenizer.fingerprint != stamp or (expected is not None and stamp != expected):
            raise ModelFileError(
                f"{path} has fingerprint {str(stamp)[:12]}, its content {tokenizer.fingerprint[:12]}, "
                f"the model expects {str(expected)[:12]}. Tokens would mean something else: restore "
                "the folder or train the model again."
            )
        return tokenizer


@dataclass(frozen=True)
class ReturnTokenizer(SavedTokenizer):
    """Equal bins of the probability integral transform, as token ids.

    Its values are levels ``u = F(r)``; parameters as in `SavedTokenizer`.

    Examples
    --------
    >>> tokenizer = ReturnTokenizer(4)
    >>> tokenizer.encode(np.array([0.1, 0.3, 0.99]))
    array([2, 3, 5])
    >>> tokenizer.decode(np.array([2, 3, 5]))
    array([0.125, 0.375, 0.875])
    """

    scheme = DEFAULT_SCHEME

    @classmethod
    def fit(cls, values: Floats, *, num_bins: int, origin: Origin | None = None) -> Self:
        """Equal bins need no fit: `values` are not looked at, the reference was fitted instead.

        More bins than `MOST_EQUAL` would be narrower than `NARROWEST` and are merged to that many.
        """
        cls(num_bins)  # the rule of the number that was asked for
        return cls(min(num_bins, MOST_EQUAL), **vars(origin or Origin()))

    @property
    def edges(self) -> Floats:
        """(V + 1,) edges of the bins in [0, 1]."""
        return np.arange(self.num_bins + 1) / self.num_bins

    def encode(self, values: Floats) -> Ids:
        """Ids of transforms in [0, 1]; NaN becomes the middle bin, which says nothing.

        Raises
        ------
        ConfigError
            If a level lies outside [0, 1].
        """
        if ((values < 0) | (values > 1)).any():
            raise ConfigError("Only levels in [0, 1] have a token: pass F(r), not the return.")
        bins = np.floor(np.nan_to_num(values, nan=0.5) * self.num_bins).astype(np.int64)
        return np.minimum(bins, self.num_bins - 1) + FIRST_ID

    def decode(self, ids: Ids, inside: Floats | float = 0.5) -> Floats:
        """Levels u at position `inside` ∈ [0, 1) of each id's bin.

        Draw `inside` uniformly to keep the variance: midpoints lose some of it.

        Raises
        ------
        ConfigError
            If an id is PAD, EOS or beyond the vocabulary.
        """
        bins = self.bins(ids)
        return np.asarray((bins + inside) / self.num_bins)

    def log_inside(self, values: Floats) -> Floats:
        """Log density of levels given their bin: ``ln V`` everywhere."""
        return np.full(np.shape(values), np.log(self.num_bins))


@dataclass(frozen=True)
class StreamBins:
    """Equal-mass bins of an auxiliary input (range, volume, market): edges fitted on train only.

    Parameters
    ----------
    edges : tuple of float
        Inner edges, strictly increasing; ties in the data merge bins.
    """

    edges: tuple[float, ...]

    @classmethod
    def fit(cls, values: Floats, *, num_bins: int) -> Self:
        """Quantiles of the finite `values`; without any, a single bin."""
        finite = values[np.isfinite(values)]
        if not len(finite):
            return cls(())
        inner = np.quantile(finite, np.arange(1, num_bins) / num_bins)
        return cls(tuple(np.unique(inner).tolist()))

    @property
    def vocab_size(self) -> int:
        """Number of ids: the bins, one for "unknown", and the reserved PAD and EOS."""
        return len(self.edges) + 2 + FIRST_ID

    def encode(self, values: Floats) -> Ids:
        """Ids of `values`; NaN becomes the id of "unknown"."""
        ids = np.searchsorted(np.array(self.edges), values, side="right") + FIRST_ID + 1
        return np.where(np.isfinite(values), ids, FIRST_ID).astype(np.int64)

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Self:
        """Rebuild from ``dataclasses.asdict``."""
        return cls(tuple(state["edges"]))
