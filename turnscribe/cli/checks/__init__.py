"""The checks of `python -m scripts.doctor`: packages, models, what the Hub lets be read, the machine."""
