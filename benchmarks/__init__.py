"""Measurements side by side in one run, as tables; never a test."""
