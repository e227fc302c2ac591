"""Whole diffusion models from their configurations, small and with random weights, as folders: nothing comes from a hub."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from workbench.diffusion.base import library, quiet
from workbench.errors import require

BEGIN, END = "<|startoftext|>", "<|endoftext|>"
LONGEST = 77
"""Tokens of a prompt, as in CLIP."""


def write(
    folder: str | Path,
    *,
    xl: bool = False,
    widths: Sequence[int] = (16, 32),
    attention: Sequence[int] = (1,),
    vae_widths: Sequence[int] = (8, 8, 8, 16),
    latent: int = 4,
    text_width: int = 16,
    text_layers: int = 2,
    words: Sequence[str] = (),
    prediction: Literal["epsilon", "v_prediction"] = "epsilon",
    seed: int = 0,
) -> Path:
    """Write a diffusion model to `folder`, in the layout of diffusers; returns the folder.

    Args:
        xl: as SDXL is: two text encoders, and the sizes of pictures as conditions.
        widths: channels of the UNet by level, multiples of 8; attention: levels with cross-attention.
        vae_widths: channels of the autoencoder by level: a latent is smaller than a picture by 2 to the number of levels - 1.
        latent: channels of a latent.
        text_width, text_layers: of the text encoders.
        words: what the tokenizer knows as one token each; all else is spelt in bytes.
    """
    diffusers = library("diffusers")
    require(all(width % 8 == 0 for width in widths), f"widths = {tuple(widths)}: give multiples of 8")
    torch.manual_seed(seed)
    tokenizer = _tokenizer(words)
    text = [_text_encoder(tokenizer, text_width, text_layers, projection=xl and k == 1) for k in range(2 if xl else 1)]
    crosses = [level in attention for level in range(len(widths))]
    more: dict[str, Any] = {}
    if xl:
        more = {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 8,
            "projection_class_embeddings_input_dim": text_width + 6 * 8,
        }
    unet = diffusers.UNet2DConditionModel(
        block_out_channels=tuple(widths),
        down_block_types=tuple("CrossAttnDownBlock2D" if cross else "DownBlock2D" for cross in crosses),
        up_block_types=tuple("CrossAttnUpBlock2D" if cross else "UpBlock2D" for cross in reversed(crosses)),
        layers_per_block=1,
        in_channels=latent,
        out_channels=latent,
        sample_size=16,
        cross_attention_dim=text_width * len(text),
        attention_head_dim=2,
        norm_num_groups=8,
        **more,
    )
    vae = diffusers.AutoencoderKL(
        block_out_channels=tuple(vae_widths),
        down_block_types=("DownEncoderBlock2D",) * len(vae_widths),
        up_block_types=("UpDecoderBlock2D",) * len(vae_widths),
        layers_per_block=1,
        latent_channels=latent,
        norm_num_groups=4,
        sample_size=16 * 2 ** (len(vae_widths) - 1),
        force_upcast=False,
    )
    _even_out(vae)
    scheduler = diffusers.DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type=prediction,
    )
    common = {"vae": vae, "text_encoder": text[0], "tokenizer": tokenizer, "unet": unet, "scheduler": scheduler}
    if xl:
        pipe = diffusers.StableDiffusionXLPipeline(**common, text_encoder_2=text[1], tokenizer_2=_tokenizer(words))
    else:
        pipe = diffusers.StableDiffusionPipeline(
            **common, safety_checker=None, feature_extractor=None, requires_safety_checker=False
        )
    with quiet():
        pipe.save_pretrained(folder, safe_serialization=True)
    return Path(folder)


@torch.no_grad()
def _even_out(vae: Any) -> None:
    """Let the latents of pictures of all colours have mean 0 and, scaled, variance 1, as those of Stable Diffusion about do."""
    vae.quant_conv.bias[vae.config.latent_channels :] -= 10.0  # log-variances: a latent is nearly its mean
    colours = torch.rand(64, 3, 1, 1).expand(-1, -1, vae.config.sample_size, vae.config.sample_size)
    means = torch.cat([vae.encode(2 * colour - 1).latent_dist.mean for colour in colours.split(8)])
    vae.quant_conv.bias[: vae.config.latent_channels] -= means.mean(dim=(0, 2, 3))
    vae.register_to_config(scaling_factor=float(1 / means.std(dim=0).mean()))


def _tokenizer(words: Sequence[str]) -> Any:
    """CLIP's tokenizer with a vocabulary of single bytes and `words`, each put together from left to right."""
    alphabet = _bytes()
    vocabulary = [*alphabet, *(f"{letter}</w>" for letter in alphabet)]
    merges = []
    for word in words:
        letters = [*word.lower()[:-1], f"{word.lower()[-1]}</w>"]
        for k in range(1, len(letters)):
            merges.append(("".join(letters[:k]), letters[k]))
            vocabulary.append("".join(letters[: k + 1]))
    vocabulary = list(dict.fromkeys([*vocabulary, BEGIN, END]))
    return library("transformers").CLIPTokenizer(
        vocab={token: k for k, token in enumerate(vocabulary)}, merges=list(dict.fromkeys(merges)), model_max_length=LONGEST
    )


def _bytes() -> list[str]:
    """The 256 characters that byte-level BPE writes bytes as (Radford et al. 2019)."""
    printed = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printed]
    return [chr(byte) for byte in printed] + [chr(256 + k) for k in range(len(others))]


def _text_encoder(tokenizer: Any, width: int, layers: int, *, projection: bool) -> Any:
    transformers = library("transformers")
    config = transformers.CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=2,
        max_position_embeddings=LONGEST,
        projection_dim=width,
        bos_token_id=tokenizer.convert_tokens_to_ids(BEGIN),
        eos_token_id=tokenizer.convert_tokens_to_ids(END),
        pad_token_id=tokenizer.convert_tokens_to_ids(END),
    )
    return (transformers.CLIPTextModelWithProjection if projection else transformers.CLIPTextModel)(config)
