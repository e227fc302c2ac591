"""Everything that exists for speed alone. A reader of the method need not enter; `engine="plain"` does without it."""
