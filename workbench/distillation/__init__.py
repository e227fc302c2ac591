"""Distillation of VGG-19 into a small encoder: `workbench distil`, and the measurements of its result."""
