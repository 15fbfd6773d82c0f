"""The river itself: stages, prefetch, run."""
