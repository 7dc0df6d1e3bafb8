"""What one writes first: an attentive LSTM encoder-decoder in eager PyTorch. The reference to beat.

`nn.LSTM` reads, an `nn.LSTMCell` answers step by step, Bahdanau attention is its formula with tanh, draws
come from `torch.multinomial`. Nothing is clever and nothing is deliberately slow.
"""

import torch
from torch import Tensor, nn

EOS = 1


class PlainAttentive(nn.Module):
    """Encoder-decoder with additive attention.

    Parameters
    ----------
    vocabulary, hidden : int
        Ids, and features of embeddings and states.
    bidirectional : bool
        Whether the encoder also reads backwards.
    """

    def __init__(self, vocabulary: int, hidden: int, *, bidirectional: bool) -> None:
        super().__init__()
        memory = hidden * (2 if bidirectional else 1)
        self.embedding = nn.Embedding(vocabulary, hidden)
        self.encoder = nn.LSTM(hidden, hidden, bidirectional=bidirectional)
        self.bridge_hidden = nn.Linear(memory, hidden)
        self.bridge_cell = nn.Linear(memory, hidden)
        self.query = nn.Linear(hidden, hidden, bias=False)
        self.key = nn.Linear(memory, hidden)
        self.score = nn.Linear(hidden, 1, bias=False)
        self.cell = nn.LSTMCell(hidden + memory, hidden)
        self.projection = nn.Linear(hidden + memory, vocabulary)

    def encode(self, source: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Memory (B, S, M) and first state for source (S, B)."""
        outputs, (hidden, cell) = self.encoder(self.embedding(source))
        first = (
            self.bridge_hidden(torch.cat(list(hidden), dim=1)),
            self.bridge_cell(torch.cat(list(cell), dim=1)),
        )
        return outputs.transpose(0, 1), first

    def step(
        self, ids: Tensor, state: tuple[Tensor, Tensor], memory: Tensor, keys: Tensor
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Logits (B, V) and the next state for ids (B,)."""
        scores = self.score(torch.tanh(self.query(state[0]).unsqueeze(1) + keys)).squeeze(2)
        context = (torch.softmax(scores, dim=1).unsqueeze(2) * memory).sum(dim=1)
        state = self.cell(torch.cat((self.embedding(ids), context), dim=1), state)
        logits: Tensor = self.projection(torch.cat((state[0], context), dim=1))
        return logits, state

    def forward(self, source: Tensor, target_in: Tensor) -> Tensor:
        """Teacher-forced logits (T, B, V)."""
        memory, state = self.encode(source)
        keys = self.key(memory)
        rows = []
        for ids in target_in:
            logits, state = self.step(ids, state, memory, keys)
            rows.append(logits)
        return torch.stack(rows)

    @torch.no_grad()
    def sample(self, source: Tensor, paths: int, steps: int, *, encode_once: bool) -> Tensor:
        """Draw ids (B * N, T): each path with its own encoding, or with a copy of a shared one."""
        if encode_once:
            memory, state = self.encode(source)
            memory = memory.repeat_interleave(paths, dim=0)
            state = (state[0].repeat_interleave(paths, 0), state[1].repeat_interleave(paths, 0))
        else:
            memory, state = self.encode(source.repeat_interleave(paths, dim=1))
        keys = self.key(memory)
        ids = torch.full((memory.shape[0],), EOS)
        rows = []
        for _ in range(steps):
            logits, state = self.step(ids, state, memory, keys)
            ids = torch.multinomial(torch.softmax(logits, dim=1), 1).squeeze(1)
            rows.append(ids)
        return torch.stack(rows, dim=1)
