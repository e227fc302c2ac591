"""Latent diffusion: a base model, LoRA of an artist trained by DreamBooth, and photographs restyled with it.

diffusers, transformers and peft are an extra and take seconds to import: every function imports what it needs.
"""
