"""HookedMLP: a network of one hidden layer with TransformerLens' hooks. Importing this imports TransformerLens."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformer_lens import HookedRootModule
from transformer_lens.hook_points import HookPoint

from interp.computing import computing
from interp.config import MLPConfig
from interp.forward import activation_function
from interp.model import Weights


class HookedMLP(HookedRootModule):
    """logits = activation(x · W) · W_U over [batch, 2] tokens (a, b), x being W_x[a] and W_y[b].

    The architecture of Chughtai et al. (2023). Its hooks: hook_embed [batch, 2, d_embed], the embeddings of a and of b;
    hook_pre and hook_post [batch, d_hidden]; hook_logits [batch, d_vocab_out].
    """

    @computing()
    def __init__(self, weights: Weights, config: MLPConfig) -> None:
        super().__init__()
        self.cfg = config
        self.W_x, self.W_y, self.W, self.W_U = (
            nn.Parameter(weights[name].detach().clone()) for name in ("W_x", "W_y", "W", "W_U")
        )
        self.hook_embed, self.hook_pre, self.hook_post, self.hook_logits = (HookPoint() for _ in range(4))
        self.setup()

    def forward(self, tokens: Int[Tensor, "batch 2"]) -> Float[Tensor, "batch d_vocab_out"]:
        embed = self.hook_embed(torch.stack([self.W_x[tokens[:, 0]], self.W_y[tokens[:, 1]]], dim=1))
        x = embed.flatten(1) if self.cfg.inputs == "concatenated" else embed.sum(1)
        post = self.hook_post(activation_function(self.cfg.activation)(self.hook_pre(x @ self.W)))
        return self.hook_logits(post @ self.W_U)
