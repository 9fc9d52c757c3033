"""The names of activations and initial weights, in a module without torch, so that the shell can offer them quickly."""

from typing import Literal, get_args

TransformerActivation = Literal["relu", "gelu", "gelu_new"]  # those of TransformerLens
Activation = Literal[TransformerActivation, "square"]
Init = Literal["paper", "transformer_lens"]

TRANSFORMER_ACTIVATIONS: tuple[TransformerActivation, ...] = get_args(TransformerActivation)
ACTIVATIONS: tuple[Activation, ...] = get_args(Activation)
INITS: tuple[Init, ...] = get_args(Init)
