"""Search over the options of any trainer: python -m core.sweep."""
