"""Masks: what a file stores, and which class that means."""
