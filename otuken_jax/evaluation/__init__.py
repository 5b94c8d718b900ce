"""Measures trained models from words alone, beside baselines, a floor and a ceiling."""
