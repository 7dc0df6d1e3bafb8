"""Money to integers and back: returns become bins of their probability integral transform.

Owns the tokenizer with its saved state. Knows nothing of networks; the reference density that turns a return into its transform is given to it as numbers in (0, 1). What other
schemes cost is measured in ``benchmarks/tokenizers.py``.

Encode: ``u = F(r)`` → bin ``⌊V·u⌋`` → id ``bin + FIRST_ID``. Decode: id → bin → ``u`` drawn inside
the bin → ``r = F⁻¹(u)``. Because the bins are equal shares of the reference's probability, uniform
token probabilities are the reference itself, and ``ln V − cross-entropy`` is the skill over it.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from quantseq.errors import ConfigError, ModelFileError, check_parameters
from quantseq.files import fingerprint, read_json, write_json
from quantseq.market.bars import Floats, Panel
from quantseq.seq2seq.tokens import FIRST_ID

STATE_VERSION = 1
MAX_BINS = 4096

NARROWEST = 0.02
"""Bins below this share of a standard deviation are merged: an atom, such as the exact zeros of
returns, would otherwise fill one with a density without limit."""

MOST_EQUAL = int(1 / (NARROWEST * 0.53))
"""Equal bins of a transform that are wide enough: a Student-t with 4 degrees of freedom and unit
variance has its highest density, 0.53, in the middle."""

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class ReturnTokenizer:
    """Equal bins of the probability integral transform, as token ids; its values are levels ``u = F(r)``.

    All but their number tells of the training block; ConfigError if that is outside its rule.

    Examples
    --------
    >>> tokenizer = ReturnTokenizer(4)
    >>> tokenizer.encode(np.array([0.1, 0.3, 0.99]))
    array([2, 3, 5])
    >>> tokenizer.decode(np.array([2, 3, 5]))
    array([0.125, 0.375, 0.875])
    """

    num_bins: int  # V, in [2, MAX_BINS]
    fitted_from: str = ""  # ISO dates
    fitted_until: str = ""
    symbols: tuple[str, ...] = ()
    data_hash: str = ""  # SHA-256 of the bars
    zero_share: float = 0.0  # exactly zero returns: an atom that a continuous density cannot show

    def __post_init__(self) -> None:
        check_parameters(self, {"num_bins": f"int [2, {MAX_BINS}]"})

    @property
    def vocab_size(self) -> int:
        """Number of ids: the bins, and the reserved PAD and EOS."""
        return self.num_bins + FIRST_ID

    def bins(self, ids: Ids) -> Ids:
        """Bin numbers 0..V − 1 of ids; ConfigError if one is PAD, EOS or beyond the vocabulary."""
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
        return {"version": STATE_VERSION, **asdict(self)}

    @classmethod
    def load(cls, path: Path, *, expected: str | None = None) -> Self:
        """Read the state back.

        ModelFileError if the file was changed, has another version, or differs from the fingerprint that is
        `expected`; CorruptFileError if it cannot be read.
        """
        state = read_json(path)
        try:
            stamp, version = state.pop("fingerprint"), state.pop("version")
            if version != STATE_VERSION:
                raise ConfigError(f"it has version {version}, this quantseq reads {STATE_VERSION}.")
            tokenizer = cls(**{**state, "symbols": tuple(state["symbols"])})
        except (TypeError, KeyError, AttributeError, ConfigError) as error:
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

    @classmethod
    def fit(cls, panel: Panel, *, num_bins: int) -> Self:
        """Equal bins for a training block: only their number is a choice, the reference was fitted.

        More bins than `MOST_EQUAL` would be narrower than `NARROWEST` and are merged to that many.
        """
        cls(num_bins)  # the rule of the number that was asked for
        returns = np.concatenate([bars.log_returns()[1:] for bars in panel.values()])
        first, last = panel.sessions[[0, -1]]
        share = float(np.mean(returns == 0)) if len(returns) else 0.0
        merged = min(num_bins, MOST_EQUAL)
        return cls(merged, str(first), str(last), panel.symbols, panel.sha256, share)

    def encode(self, values: Floats) -> Ids:
        """Ids of transforms in [0, 1], else ConfigError; NaN becomes the middle bin, which says nothing."""
        if ((values < 0) | (values > 1)).any():
            raise ConfigError("Only levels in [0, 1] have a token: pass F(r), not the return.")
        bins = np.floor(np.nan_to_num(values, nan=0.5) * self.num_bins).astype(np.int64)
        return np.minimum(bins, self.num_bins - 1) + FIRST_ID

    def decode(self, ids: Ids, inside: Floats | float = 0.5) -> Floats:
        """Levels u at position `inside` ∈ [0, 1) of each id's bin.

        Draw `inside` uniformly to keep the variance: midpoints lose some of it. ConfigError as `bins`.
        """
        return np.asarray((self.bins(ids) + inside) / self.num_bins)
