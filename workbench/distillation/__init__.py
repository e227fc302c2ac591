"""Teaching a small encoder what VGG-19 tells of a picture: `workbench distil`, and the measurements of its result."""
