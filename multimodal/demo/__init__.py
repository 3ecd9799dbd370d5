"""A run on a page and behind an HTTP API: python -m multimodal.demo."""
