"""A student that is no transformer: a bidirectional LSTM over the teacher's tokens (Tang et al. 2019)."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

WEIGHTS_FILE = "bilstm.safetensors"


class BiLstm(nn.Module):
    """Embeddings of the teacher's, an LSTM each way, the last state of both, a ReLU layer, a classifier.

    The widths are those of Tang et al. 2019, "Distilling Task-Specific Knowledge from BERT into Simple Neural
    Networks", section 4.3.
    """

    def __init__(
        self, *, vocab_size: int, embedding_size: int, num_labels: int, width: int = 150, hidden: int = 200
    ) -> None:
        super().__init__()
        self.embeddings = nn.Embedding(vocab_size, embedding_size)
        self.lstm = nn.LSTM(embedding_size, width, batch_first=True, bidirectional=True)
        self.hidden = nn.Linear(2 * width, hidden)
        self.classifier = nn.Linear(hidden, num_labels)

    @classmethod
    def from_embeddings(cls, embeddings: Tensor, num_labels: int) -> "BiLstm":
        """Return one that begins with a teacher's token embeddings, (vocab_size, embedding_size)."""
        torch.manual_seed(0)
        model = cls(vocab_size=embeddings.shape[0], embedding_size=embeddings.shape[1], num_labels=num_labels)
        with torch.no_grad():
            model.embeddings.weight.copy_(embeddings)
        return model

    @classmethod
    def load(cls, directory: Path) -> "BiLstm":
        """Return what `save` has written."""
        weights = load_file(directory / WEIGHTS_FILE)
        vocab_size, embedding_size = weights["embeddings.weight"].shape
        model = cls(
            vocab_size=vocab_size,
            embedding_size=embedding_size,
            num_labels=weights["classifier.bias"].shape[0],
            width=weights["lstm.weight_hh_l0"].shape[1],
            hidden=weights["hidden.bias"].shape[0],
        )
        model.load_state_dict(weights)
        return model.eval()

    def save(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        save_file(self.state_dict(), directory / WEIGHTS_FILE)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return logits (batch, num_labels) of token ids (batch, width)."""
        lengths = attention_mask.sum(dim=1).cpu()
        packed = pack_padded_sequence(
            self.embeddings(input_ids), lengths, batch_first=True, enforce_sorted=False
        )
        _, (last, _) = self.lstm(packed)
        both = torch.cat([last[0], last[1]], dim=1)
        logits: Tensor = self.classifier(self.hidden(both).relu())
        return logits
